//! The functions of ArrayFire's C interface that the `arrayfire` crate declares with the features
//! that the trainer uses, each passed on to the library that is open. Codes that the crate's list
//! of errors does not know are told as 999, as it would make an impossible value of them; the
//! library's own code stays at hand.

use std::cell::Cell;
use std::ffi::{c_double, c_int, c_longlong, c_uint, c_ulonglong, c_void};
use std::sync::OnceLock;

use libloading::Library;

use crate::NOT_LOADED;

/// Every pointer and handle: for passing them on it makes no difference to what they point.
type Pointer = *mut c_void;

thread_local! {
    static LAST_CODE: Cell<i32> = const { Cell::new(0) };
}

/// What the library itself gave when it last failed on this thread; 0 if it never did.
#[must_use]
pub fn last_code() -> i32 {
    LAST_CODE.get()
}

/// The errors of the `arrayfire` crate.
const KNOWN: [c_int; 16] =
    [101, 102, 103, 201, 202, 203, 204, 205, 207, 208, 301, 302, 401, 402, 998, 999];

fn told(code: c_int) -> c_int {
    if code == 0 {
        return 0;
    }
    LAST_CODE.set(code);
    if KNOWN.contains(&code) { code } else { 999 }
}

macro_rules! signature {
    (($($name:ident: $type:ty),*)) => { unsafe extern "C" fn($($type),*) -> c_int };
}

macro_rules! forwarder {
    ($function:ident ($($name:ident: $type:ty),*)) => {
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $function($($name: $type),*) -> c_int {
            let Some(table) = TABLE.get() else {
                return told(NOT_LOADED);
            };
            // SAFETY: the caller keeps what the function's documentation asks of it; it is the
            // function of that name, with the arguments that ArrayFire's headers give it since 3.8.
            told(unsafe { (table.$function)($($name),*) })
        }
    };
}

/// Takes groups of functions with the same arguments.
macro_rules! forward {
    ($($arguments:tt { $($function:ident)* })*) => {
        struct Table {
            $($($function: signature!($arguments),)*)*
            af_get_last_error: unsafe extern "C" fn(Pointer, Pointer),
            af_get_revision: unsafe extern "C" fn() -> Pointer,
        }

        impl Table {
            /// Gives the name of the first function that is missing.
            ///
            /// # Safety
            /// `library` is ArrayFire's, and is never closed.
            unsafe fn of(library: &Library) -> Result<Self, &'static str> {
                $($(let $function = {
                    let name = stringify!($function);
                    // SAFETY: the type is that of the function in ArrayFire's headers.
                    *unsafe { library.get::<signature!($arguments)>(name.as_bytes()) }
                        .map_err(|_| name)?
                };)*)*
                // SAFETY: as above.
                let af_get_last_error =
                    *unsafe { library.get(b"af_get_last_error\0") }.map_err(|_| "af_get_last_error")?;
                // SAFETY: as above.
                let af_get_revision =
                    *unsafe { library.get(b"af_get_revision\0") }.map_err(|_| "af_get_revision")?;
                Ok(Self { $($($function,)*)* af_get_last_error, af_get_revision })
            }
        }

        $($(forwarder! { $function $arguments })*)*
    };
}

static TABLE: OnceLock<Table> = OnceLock::new();

/// From now on passes calls on to `library`.
///
/// # Safety
/// `library` is ArrayFire's, and is never closed.
pub(crate) unsafe fn fill(library: &Library) -> Result<(), &'static str> {
    // SAFETY: as the caller says.
    let table = unsafe { Table::of(library)? };
    assert!(TABLE.set(table).is_ok(), "a process opens one library");
    Ok(())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn af_get_last_error(text: Pointer, length: Pointer) {
    if let Some(table) = TABLE.get() {
        // SAFETY: as for all functions: the caller keeps what ArrayFire asks.
        unsafe { (table.af_get_last_error)(text, length) }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn af_get_revision() -> Pointer {
    match TABLE.get() {
        // SAFETY: it takes nothing, and gives a text that lives as long as the library.
        Some(table) => unsafe { (table.af_get_revision)() },
        None => c"".as_ptr().cast_mut().cast(),
    }
}

/// Only the library for CUDA has it, and the trainer has no use for it: products stay in 32 bits.
#[unsafe(no_mangle)]
unsafe extern "C" fn afcu_cublasSetMathMode(_: c_int) -> c_int {
    told(NOT_LOADED)
}

forward! {
    (a: Pointer, b: Pointer, c: c_uint, d: Pointer, e: c_uint) { af_create_array af_device_array }
    (a: Pointer, b: c_uint, c: Pointer, d: c_uint) { af_create_handle af_identity }
    (a: Pointer, b: Pointer) {
        af_get_elements af_get_type af_get_numdims af_is_empty af_is_scalar af_is_row af_is_column
        af_is_vector af_is_complex af_is_real af_is_double af_is_single af_is_half af_is_integer
        af_is_bool af_is_realfloating af_is_floating af_is_linear af_is_owner af_is_sparse
        af_get_data_ptr af_retain_array af_copy_array af_get_backend_id af_get_device_id
        af_get_offset af_get_device_ptr af_get_allocated_bytes af_flat af_not af_abs af_arg
        af_sign af_ceil af_round af_trunc af_floor af_sin af_cos af_tan af_asin af_acos af_atan
        af_cplx af_real af_imag af_conjg af_sinh af_cosh af_tanh af_asinh af_acosh af_atanh
        af_pow2 af_exp af_sigmoid af_expm1 af_erf af_erfc af_log af_log1p af_log10 af_log2 af_sqrt
        af_rsqrt af_cbrt af_factorial af_tgamma af_lgamma af_iszero af_isinf af_isnan af_bitnot
        af_where
    }
    (a: Pointer, b: Pointer, c: Pointer, d: Pointer, e: Pointer) { af_get_dims af_get_strides }
    (a: Pointer) {
        af_eval af_get_manual_eval_flag af_release_array af_lock_array af_unlock_array
        af_create_indexers af_release_indexers af_free_host af_create_event af_delete_event
        af_mark_event af_enqueue_wait_event af_block_event af_get_backend_count
        af_get_available_backends af_get_active_backend af_get_device_count af_get_device
        af_get_mem_step_size af_free_pinned
    }
    (a: c_int, b: Pointer) { af_eval_multiple }
    (a: c_int) { af_set_manual_eval_flag af_set_device af_sync }
    (a: Pointer, b: Pointer, c: c_int) {
        af_print_array_gen af_diag_create af_diag_extract af_sum af_product af_min af_max
        af_all_true af_any_true af_count af_accum af_diff1 af_diff2
    }
    (a: Pointer, b: Pointer, c: c_uint) { af_cast af_flip }
    (
        a: Pointer, b: Pointer, c: c_longlong, d: c_uint, e: Pointer, f: Pointer, g: c_uint,
        h: c_uint
    ) { af_create_strided_array }
    (a: Pointer, b: c_double, c: c_uint, d: Pointer, e: c_uint) { af_constant }
    (a: Pointer, b: c_double, c: c_double, d: c_uint, e: Pointer, f: c_uint) { af_constant_complex }
    (a: Pointer, b: c_longlong, c: c_uint, d: Pointer) { af_constant_long }
    (a: Pointer, b: c_ulonglong, c: c_uint, d: Pointer) { af_constant_ulong }
    (a: Pointer, b: c_uint, c: Pointer, d: c_int, e: c_uint) { af_range }
    (a: Pointer, b: c_uint, c: Pointer, d: c_uint, e: Pointer, f: c_uint) { af_iota }
    (a: Pointer, b: c_int, c: Pointer, d: Pointer) { af_join }
    (a: Pointer, b: c_int, c: c_uint, d: Pointer) { af_join_many }
    (a: Pointer, b: Pointer, c: c_uint, d: c_uint, e: c_uint, f: c_uint) { af_tile af_reorder }
    (a: Pointer, b: Pointer, c: c_int, d: c_int, e: c_int, f: c_int) { af_shift }
    (a: Pointer, b: Pointer, c: c_uint, d: Pointer) { af_moddims af_index }
    (a: Pointer, b: Pointer, c: bool) { af_lower af_upper af_set_unique af_transpose }
    (a: Pointer, b: Pointer, c: Pointer, d: Pointer) {
        af_select af_device_info af_device_mem_info af_imin_all af_imax_all
    }
    (a: Pointer, b: Pointer, c: c_double, d: Pointer) { af_select_scalar_l }
    (a: Pointer, b: Pointer, c: Pointer, d: c_double) {
        af_select_scalar_r af_sum_nan_all af_product_nan_all
    }
    (a: Pointer, b: Pointer, c: Pointer) {
        af_replace af_get_version af_sum_all af_product_all af_min_all af_max_all af_all_true_all
        af_any_true_all af_count_all
    }
    (a: Pointer, b: Pointer, c: c_double) { af_replace_scalar }
    (a: Pointer, b: Pointer, c: c_uint, d: Pointer, e: c_uint, f: Pointer, g: c_uint) { af_pad }
    (a: Pointer, b: Pointer, c: c_longlong) { af_set_array_indexer }
    (a: Pointer, b: Pointer, c: c_longlong, d: bool) { af_set_seq_indexer }
    (a: Pointer, b: Pointer, c: Pointer, d: c_uint) { af_lookup }
    (a: Pointer, b: Pointer, c: c_uint, d: Pointer, e: Pointer) { af_assign_seq }
    (a: Pointer, b: Pointer, c: c_longlong, d: Pointer) { af_index_gen }
    (a: Pointer, b: Pointer, c: c_longlong, d: Pointer, e: Pointer) { af_assign_gen }
    (a: Pointer, b: c_uint) { af_get_size_of }
    (a: Pointer, b: c_longlong) { af_alloc_host af_alloc_pinned }
    (a: Pointer, b: Pointer, c: Pointer, d: bool) {
        af_add af_sub af_mul af_div af_lt af_gt af_le af_ge af_eq af_or af_neq af_and af_rem
        af_mod af_bitand af_bitor af_bitxor af_bitshiftl af_bitshiftr af_minof af_maxof af_hypot
        af_atan2 af_cplx2 af_root af_pow af_set_union af_set_intersect
    }
    (a: Pointer, b: Pointer, c: Pointer, d: Pointer, e: bool) { af_clamp }
    (a: u8) { af_set_backend }
    () { af_info af_init af_device_gc }
    (a: Pointer, b: bool) { af_info_string af_transpose_inplace }
    (a: Pointer, b: c_int) { af_get_dbl_support af_print_mem_info af_get_half_support }
    (a: usize) { af_set_mem_step_size }
    (a: Pointer, b: Pointer, c: c_int, d: c_double) { af_sum_nan af_product_nan }
    (a: Pointer, b: Pointer, c: Pointer, d: c_int) { af_imin af_imax }
    (a: Pointer, b: Pointer, c: c_uint, d: bool) { af_sort }
    (a: Pointer, b: Pointer, c: Pointer, d: c_uint, e: bool) { af_sort_index }
    (a: Pointer, b: Pointer, c: Pointer, d: Pointer, e: c_uint, f: bool) { af_sort_by_key }
    (a: Pointer, b: Pointer, c: c_int, d: c_uint, e: bool) { af_scan }
    (a: Pointer, b: Pointer, c: Pointer, d: c_int, e: c_uint, f: bool) { af_scan_by_key }
    (a: Pointer, b: Pointer, c: Pointer, d: Pointer, e: c_int) {
        af_all_true_by_key af_any_true_by_key af_count_by_key af_max_by_key af_min_by_key
        af_product_by_key af_sum_by_key af_max_ragged
    }
    (a: Pointer, b: Pointer, c: Pointer, d: Pointer, e: c_int, f: c_double) {
        af_product_by_key_nan af_sum_by_key_nan
    }
    (a: Pointer, b: c_uint, c: c_uint, d: Pointer, e: Pointer, f: Pointer, g: Pointer) { af_gemm }
    (a: Pointer, b: Pointer, c: Pointer, d: c_uint, e: c_uint) { af_matmul af_dot }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_the_crate_does_not_know_are_told_as_unknown() {
        assert_eq!(told(0), 0);
        assert_eq!((told(101), last_code()), (101, 101));
        assert_eq!((told(501), last_code()), (999, 501));
        assert_eq!((told(-7), last_code()), (999, -7));
        assert_eq!(told(0), 0);
        assert_eq!(last_code(), -7, "a success forgets no failure");
    }

    #[test]
    fn without_a_library_a_call_fails() {
        // SAFETY: without a library it looks at nothing.
        assert_eq!(unsafe { af_device_gc() }, NOT_LOADED);
        assert_eq!(last_code(), NOT_LOADED);
    }
}

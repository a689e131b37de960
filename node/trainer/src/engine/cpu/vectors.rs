//! Sixteen values at once, on what vectors the processor has; which is found out at run time.
//!
//! A kernel is written once over [`Vector`] and compiled for each [`Level`]. Values side by side
//! never meet, so that the width of the registers changes no bit; only whether a product is
//! rounded before it is added does, and all levels but [`Level::Plain`] leave that out.

use std::sync::LazyLock;

pub(super) use super::lanes::LANES;

/// Rows and columns of a square that is turned at once.
pub(super) const TURNED: usize = 8;

/// Values side by side in registers.
pub(super) trait Vector: Copy {
    /// Whether there are registers for tiles of sixteen vectors.
    const MANY: bool;

    fn zero() -> Self;

    /// The same value in all places.
    fn splat(value: f32) -> Self;

    fn load(values: &[f32; LANES]) -> Self;

    fn store(self, values: &mut [f32; LANES]);

    fn plus(self, other: Self) -> Self;

    /// `self * factor + addend`.
    fn times_plus(self, factor: Self, addend: Self) -> Self;

    /// The columns of a square that is given in rows.
    fn turned(rows: [&[f32; TURNED]; TURNED]) -> [[f32; TURNED]; TURNED];
}

/// Work that is compiled for each level. To be inlined always, or else it is compiled for none.
pub(super) trait Kernel {
    fn run<V: Vector>(self);
}

/// What a processor can do, of what kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// What every processor of this architecture can.
    Plain,
    /// 8 values in each of 16 registers, and fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 16 values in each of 32 registers.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    pub(super) fn of_processor() -> Self {
        static FOUND: LazyLock<Level> = LazyLock::new(find);
        *FOUND
    }

    /// Does the work with what this level has.
    pub(super) fn run(self, kernel: impl Kernel) {
        assert!(self <= Self::of_processor(), "the processor has what the level asks for");
        match self {
            Self::Plain => kernel.run::<Plain>(),
            // SAFETY: the processor has it; see above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { on_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { on_avx512(kernel) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn on_avx2(kernel: impl Kernel) {
    kernel.run::<Avx2>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn on_avx512(kernel: impl Kernel) {
    kernel.run::<Avx512>();
}

#[cfg(target_arch = "x86_64")]
fn find() -> Level {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    match avx2 {
        true if is_x86_feature_detected!("avx512f") => Level::Avx512,
        true => Level::Avx2,
        false => Level::Plain,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn find() -> Level {
    Level::Plain
}

/// Functions whose loops work on wider registers where the processor has some. A compiler never
/// fuses or reorders what Rust says, so that no bit depends on it.
macro_rules! wide {
    ($($(#[$attribute:meta])* $visible:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?)
        $(-> $result:ty)? $body:block)*) => {
        $($(#[$attribute])* $visible fn $name($($argument: $kind),*) $(-> $result)? {
            #[inline(always)]
            fn body($($argument: $kind),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($argument: $kind),*) $(-> $result)? {
                body($($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            if $crate::engine::cpu::vectors::Level::of_processor()
                != $crate::engine::cpu::vectors::Level::Plain
            {
                // SAFETY: the processor has what the function asks for.
                return unsafe { avx2($($argument),*) };
            }
            body($($argument),*)
        })*
    };
}
pub(super) use wide;

/// For [`Level::Plain`]: the compiler makes of it what it can.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; LANES]);

impl Vector for Plain {
    const MANY: bool = false;

    #[inline(always)]
    fn zero() -> Self {
        Self([0.0; LANES])
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        Self(*values)
    }

    #[inline(always)]
    fn store(self, values: &mut [f32; LANES]) {
        *values = self.0;
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        let mut result = self.0;
        result.iter_mut().zip(other.0).for_each(|(sum, value)| *sum += value);
        Self(result)
    }

    #[inline(always)]
    fn times_plus(self, factor: Self, addend: Self) -> Self {
        /// Where every processor has a fused multiply-add, it is used as on x86-64.
        const FUSED: bool = cfg!(target_arch = "aarch64");
        let mut result = addend.0;
        for ((sum, value), factor) in result.iter_mut().zip(self.0).zip(factor.0) {
            *sum = if FUSED { value.mul_add(factor, *sum) } else { *sum + value * factor };
        }
        Self(result)
    }

    #[inline(always)]
    fn turned(rows: [&[f32; TURNED]; TURNED]) -> [[f32; TURNED]; TURNED] {
        std::array::from_fn(|column| rows.map(|row| row[column]))
    }
}

#[cfg(target_arch = "x86_64")]
use x86::{Avx2, Avx512};

/// Functions of these types are drawn into kernels that ask for the same of the processor; nobody
/// else uses them.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_permute2f128_ps,
        _mm256_set1_ps, _mm256_setzero_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps,
        _mm256_unpacklo_ps, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps,
        _mm512_setzero_ps, _mm512_storeu_ps,
    };

    use super::{LANES, TURNED, Vector};

    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512(__m512);

    impl Vector for Avx512 {
        const MANY: bool = true;

        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: only kernels for `Level::Avx512` use this type.
            Self(unsafe { _mm512_setzero_ps() })
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: as for `zero`.
            Self(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        fn load(values: &[f32; LANES]) -> Self {
            // SAFETY: as for `zero`; the array has all the values that are read.
            Self(unsafe { _mm512_loadu_ps(values.as_ptr()) })
        }

        #[inline(always)]
        fn store(self, values: &mut [f32; LANES]) {
            // SAFETY: as for `zero`; the array has room for all the values.
            unsafe { _mm512_storeu_ps(values.as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            // SAFETY: as for `zero`.
            Self(unsafe { _mm512_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn times_plus(self, factor: Self, addend: Self) -> Self {
            // SAFETY: as for `zero`.
            Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, addend.0) })
        }

        #[inline(always)]
        fn turned(rows: [&[f32; TURNED]; TURNED]) -> [[f32; TURNED]; TURNED] {
            Avx2::turned(rows)
        }
    }

    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2([__m256; 2]);

    impl Vector for Avx2 {
        const MANY: bool = false;

        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: only kernels for `Level::Avx2` use this type.
            Self([unsafe { _mm256_setzero_ps() }; 2])
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: as for `zero`.
            Self([unsafe { _mm256_set1_ps(value) }; 2])
        }

        #[inline(always)]
        fn load(values: &[f32; LANES]) -> Self {
            let at = values.as_ptr();
            // SAFETY: as for `zero`; the array has all the values that are read.
            Self(unsafe { [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(LANES / 2))] })
        }

        #[inline(always)]
        fn store(self, values: &mut [f32; LANES]) {
            let at = values.as_mut_ptr();
            // SAFETY: as for `zero`; the array has room for all the values.
            unsafe {
                _mm256_storeu_ps(at, self.0[0]);
                _mm256_storeu_ps(at.add(LANES / 2), self.0[1]);
            }
        }

        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            let half = |index: usize| {
                // SAFETY: as for `zero`.
                unsafe { _mm256_add_ps(self.0[index], other.0[index]) }
            };
            Self([half(0), half(1)])
        }

        #[inline(always)]
        fn times_plus(self, factor: Self, addend: Self) -> Self {
            let half = |index: usize| {
                // SAFETY: as for `zero`.
                unsafe { _mm256_fmadd_ps(self.0[index], factor.0[index], addend.0[index]) }
            };
            Self([half(0), half(1)])
        }

        #[inline(always)]
        fn turned(rows: [&[f32; TURNED]; TURNED]) -> [[f32; TURNED]; TURNED] {
            // SAFETY: as for `zero`; rows and columns have all the values that are read and written.
            unsafe {
                let [a, b, c, d, e, f, g, h] = rows.map(|row| _mm256_loadu_ps(row.as_ptr()));
                let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
                let (ef, gh) = (_mm256_unpacklo_ps(e, f), _mm256_unpacklo_ps(g, h));
                let first = _mm256_shuffle_ps::<LOWER>(ab, cd);
                let second = _mm256_shuffle_ps::<UPPER>(ab, cd);
                let fifth = _mm256_shuffle_ps::<LOWER>(ef, gh);
                let sixth = _mm256_shuffle_ps::<UPPER>(ef, gh);
                let (ab, cd) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
                let (ef, gh) = (_mm256_unpackhi_ps(e, f), _mm256_unpackhi_ps(g, h));
                let third = _mm256_shuffle_ps::<LOWER>(ab, cd);
                let fourth = _mm256_shuffle_ps::<UPPER>(ab, cd);
                let seventh = _mm256_shuffle_ps::<LOWER>(ef, gh);
                let eighth = _mm256_shuffle_ps::<UPPER>(ef, gh);
                let halves = [(first, fifth), (second, sixth), (third, seventh), (fourth, eighth)];
                let mut columns = [[0.0; TURNED]; TURNED];
                for (index, (upper, lower)) in halves.into_iter().enumerate() {
                    let [left, right] = [
                        _mm256_permute2f128_ps::<FIRST_HALVES>(upper, lower),
                        _mm256_permute2f128_ps::<SECOND_HALVES>(upper, lower),
                    ];
                    _mm256_storeu_ps(columns[index].as_mut_ptr(), left);
                    _mm256_storeu_ps(columns[index + TURNED / 2].as_mut_ptr(), right);
                }
                columns
            }
        }
    }

    /// For shuffles: the first two values of every four of both operands, and the last two.
    const LOWER: i32 = 0b01_00_01_00;
    const UPPER: i32 = 0b11_10_11_10;

    /// For permutations of halves: the first of both operands, and the second.
    const FIRST_HALVES: i32 = 0x20;
    const SECOND_HALVES: i32 = 0x31;
}

#[cfg(test)]
pub(super) mod tests;

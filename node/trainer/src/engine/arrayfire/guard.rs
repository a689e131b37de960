//! Between the panics of the `arrayfire` crate and the results of an engine. A call of the library
//! that fails unwinds with its code, past the panic hook, so that nothing is printed of what the
//! engine's caller will hear as an error.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;

use arrayfire::{AfError, Callback, get_last_error, register_error_handler};

use crate::engine::EngineError;

/// What a failed call unwinds with.
struct Fault {
    code: i32,
    message: String,
}

impl Fault {
    /// Some drivers take memory when it is first used, and some libraries of products take their
    /// own: what those refuse comes as an internal error with their code in its words.
    fn is_lack_of_memory(&self) -> bool {
        self.code == NO_MEMORY || REFUSALS.iter().any(|words| self.message.contains(words))
    }
}

/// `AF_ERR_NO_MEM`.
const NO_MEMORY: i32 = 101;

/// `CL_MEM_OBJECT_ALLOCATION_FAILURE`, `CL_OUT_OF_RESOURCES` and `CL_OUT_OF_HOST_MEMORY`, of OpenCL
/// and of CLBlast; `CUBLAS_STATUS_ALLOC_FAILED`.
const REFUSALS: [&str; 4] = ["Error (-4)", "Error (-5)", "Error (-6)", "CUBLAS Error (3)"];

/// From now on failed calls unwind with a [`Fault`].
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| register_error_handler(Callback::new(raise)));
}

fn raise(error: AfError) {
    if error == AfError::SUCCESS {
        return;
    }
    // Where the crate's list does not have the library's code, that tells more.
    let unknown = error == AfError::ERR_UNKNOWN;
    let code = if unknown { cyxwiz_arrayfire::last_code() } else { error as i32 };
    resume_unwind(Box::new(Fault { code, message: plain(&get_last_error()) }));
}

/// Runs `work`, whose result has so many values, and makes an error of what the library says.
pub(super) fn guarded<R>(values: usize, work: impl FnOnce() -> R) -> Result<R, EngineError> {
    let failed = match attempt(work) {
        Ok(result) => return Ok(result),
        Err(fault) => fault,
    };
    if failed.is_lack_of_memory() {
        // What the library keeps for later may be what a smaller batch lacks. If even that fails,
        // the next call will tell.
        attempt(arrayfire::device_gc).ok();
        return Err(EngineError::OutOfMemory { bytes: values as u64 * 4 });
    }
    Err(EngineError::Device { code: failed.code, message: failed.message })
}

fn attempt<R>(work: impl FnOnce() -> R) -> Result<R, Fault> {
    // Operations replace a tensor only when the new one is there.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| match panic.downcast::<Fault>() {
        Ok(fault) => *fault,
        Err(bug) => resume_unwind(bug),
    })
}

/// The library's words without its C++ frames: one line, and not a long one.
fn plain(text: &str) -> String {
    const CHARS: usize = 300;
    let own = |line: &&str| {
        let frame = line.starts_with("In f") || line.trim_start_matches(' ').starts_with("0#");
        !line.is_empty() && !frame
    };
    let until_frames = text.lines().map(str::trim).take_while(|line| !line.starts_with("0#"));
    let lines: Vec<&str> = until_frames.filter(own).collect();
    lines.join(" ").chars().take(CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_librarys_words_lose_their_frames() {
        let text = "ArrayFire Exception (Invalid input size:203):\nIn function af_err af_matmul()\n\
                    In file src/api/c/blas.cpp:12\nInvalid dimension for argument 1\n\n 0# frame\n 1# x";
        let expected =
            "ArrayFire Exception (Invalid input size:203): Invalid dimension for argument 1";
        assert_eq!(plain(text), expected);
    }

    #[test]
    fn memory_that_a_driver_misses_late_is_lack_of_memory() {
        let fault = |code, message: &str| Fault { code, message: message.to_owned() };
        let late = "OpenCL Error (-5): Out of Resources when calling clEnqueueNDRangeKernel";
        assert!(fault(998, late).is_lack_of_memory());
        let products = "CLBlast Error (-4): CL_MEM_OBJECT_ALLOCATION_FAILURE";
        assert!(fault(998, products).is_lack_of_memory());
        assert!(fault(NO_MEMORY, "").is_lack_of_memory());
        let other = "OpenCL Error (-54): Invalid Work Group Size when calling clEnqueueNDRange";
        assert!(!fault(998, other).is_lack_of_memory());
    }

    #[test]
    fn only_faults_of_the_library_become_errors() {
        let failed = guarded(3, || {
            resume_unwind(Box::new(Fault { code: 203, message: "size".to_owned() }));
        });
        let error = failed.unwrap_err();
        assert!(matches!(&error, EngineError::Device { code: 203, .. }), "{error}");
        let bug = catch_unwind(|| guarded(3, || resume_unwind(Box::new("a bug"))).ok());
        assert_eq!(bug.unwrap_err().downcast_ref::<&str>(), Some(&"a bug"));
    }
}

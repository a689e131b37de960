//! Libraries that stand between a program and the system, to emulate hardware that fails.

use std::{path::Path, process::Command};

use crate::Place;

/// Builds `source`, a file of this workspace, as `library`. Says why, when this machine has no
/// compiler to do that with.
///
/// # Panics
///
/// When it has one, which refuses.
pub(crate) fn build(source: &str, library: &Path) -> Result<(), String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let options = ["-std=gnu11", "-O1", "-shared", "-fPIC", "-o"];
    let mut compiler = Command::new("cc");
    let built = compiler.args(options).arg(library).arg(&source).arg("-ldl").status();
    let built = built.map_err(|error| format!("cc: {error}"))?;
    assert!(built.success(), "{} does not compile", source.display());
    Ok(())
}

/// Where programs run with `library` before them, and with these paths in their surroundings.
pub(crate) fn place(library: &Path, paths: &[(&str, &Path)]) -> Place {
    let set = |(name, path): &(&str, &Path)| format!("{name}={}", path.display());
    let words = ["env".to_owned(), set(&("LD_PRELOAD", library))];
    let prefix = words.into_iter().chain(paths.iter().map(set)).collect();
    Place { prefix, ..Place::default() }
}

//! Where the libraries of ArrayFire lie: where its own installers put them, and where a system
//! keeps those of its packages.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::Backend;

/// Files in which the library of `backend` may be, in the order in which they are tried. The first
/// are below the environment's `AF_PATH`, which is the folder that ArrayFire is installed in.
#[must_use]
pub fn candidates(backend: Backend) -> Vec<PathBuf> {
    let named = std::env::var_os("AF_PATH");
    let name = file_name(backend);
    folders(named.as_deref()).into_iter().map(|folder| folder.join(&name)).collect()
}

fn file_name(backend: Backend) -> String {
    let stem = match backend {
        Backend::Cuda => "afcuda",
        Backend::OpenCl => "afopencl",
        Backend::Cpu => "afcpu",
    };
    if cfg!(windows) {
        format!("{stem}.dll")
    } else if cfg!(target_os = "macos") {
        format!("lib{stem}.3.dylib")
    } else {
        format!("lib{stem}.so.3")
    }
}

fn folders(named: Option<&OsStr>) -> Vec<PathBuf> {
    let named = named.filter(|root| !root.is_empty()).map(PathBuf::from);
    let installed = match cfg!(windows) {
        true => r"C:\Program Files\ArrayFire\v3",
        false => "/opt/arrayfire",
    };
    let roots = named.into_iter().chain([PathBuf::from(installed)]);
    let mut folders: Vec<_> =
        roots.flat_map(|root| [root.join("lib64"), root.join("lib")]).collect();
    if !cfg!(windows) {
        folders.push(PathBuf::from("/usr/local/lib"));
    }
    if cfg!(target_os = "linux") {
        let triple = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        folders.extend([PathBuf::from("/usr/lib64"), PathBuf::from(triple), "/usr/lib".into()]);
    }
    let mut seen = std::collections::BTreeSet::new();
    folders.retain(|folder| seen.insert(folder.clone()));
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_named_folder_comes_first_and_none_twice() {
        let first = &folders(Some(OsStr::new("/home/me/af")))[..2];
        assert_eq!(first, [PathBuf::from("/home/me/af/lib64"), PathBuf::from("/home/me/af/lib")]);
        let usual = folders(None);
        assert_eq!(usual[0], PathBuf::from("/opt/arrayfire/lib64"));
        assert_eq!(usual, folders(Some(OsStr::new(""))));
        assert_eq!(usual, folders(Some(OsStr::new("/opt/arrayfire"))));
        assert!(usual.iter().all(|folder| folder.is_absolute()));
        assert_eq!(file_name(Backend::OpenCl), "libafopencl.so.3");
    }
}

//! Power cuts of a whole machine: what its node did not sync is gone.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Place, preload};

/// A machine on which everything that a node writes below one folder is lost until it is synced.
#[derive(Clone, Debug)]
pub struct Mains {
    folder: PathBuf,
    /// What would be left of it.
    shadow: PathBuf,
    place: Place,
}

impl Mains {
    /// For the node whose data directory is `folder`; the emulation keeps its own beside it. Says
    /// why, when this machine has no compiler to build the emulation with.
    pub fn new(folder: &Path) -> Result<Self, String> {
        let folder = made(folder).canonicalize().expect("it was just made");
        let shadow = made(&folder.with_extension("shadow"));
        let library = folder.with_extension("so");
        preload::build("../node/tests/power_loss.c", &library)?;
        let paths = [("POWER_LOSS_DIR", &*folder), ("POWER_LOSS_SHADOW", &*shadow)];
        let place = preload::place(&library, &paths);
        Ok(Self { folder, shadow, place })
    }

    /// Whoever starts here hangs on this power.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Puts in place of the folder what a power cut has left of it. Whoever wrote there was killed.
    ///
    /// # Panics
    ///
    /// When nobody did.
    pub fn lose(&self) {
        let names = fs::read_to_string(self.shadow.join("names")).expect("somebody wrote there");
        fs::remove_dir_all(&self.folder).expect("it is ours");
        made(&self.folder);
        for line in names.lines() {
            let mut parts = line.split('\t');
            let mut part = || parts.next().expect("each line has three parts");
            let (kind, path, content) = (part(), self.folder.join(part()), part());
            if kind == "d" {
                made(&path);
            } else if fs::copy(self.shadow.join(content), &path).is_err() {
                // The name was kept and the content never.
                fs::write(&path, "").expect("the folder can be written to");
            }
        }
        fs::remove_dir_all(&self.shadow).expect("it is ours");
        made(&self.shadow);
    }
}

fn made(folder: &Path) -> PathBuf {
    fs::create_dir_all(folder).expect("there is room for a folder");
    folder.to_owned()
}

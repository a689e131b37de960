//! A disk that stands still for as long as a test likes.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::{Place, preload};

/// The disk of whoever runs at its place.
#[derive(Clone, Debug)]
pub struct StuckDisk {
    /// There as long as the disk stands still.
    mark: PathBuf,
    place: Place,
}

impl StuckDisk {
    /// One that moves for now; what it needs itself is kept beside `folder`. Says why, when this
    /// machine has no compiler to build the emulation with.
    pub fn new(folder: &Path) -> Result<Self, String> {
        let (library, mark) = (folder.with_extension("so"), folder.with_extension("stuck"));
        preload::build("stuck_disk.c", &library)?;
        let place = preload::place(&library, &[("STUCK_DISK", &mark)]);
        Ok(Self { mark, place })
    }

    /// Whoever starts here has it.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// From now on nothing reaches it, and whoever waits for that waits.
    pub fn hold(&self) {
        File::create(&self.mark).expect("the folder can be written to");
    }

    /// Lets it go on.
    pub fn release(&self) {
        fs::remove_file(&self.mark).expect("it was held");
    }
}

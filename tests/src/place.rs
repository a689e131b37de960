//! Where a process runs, when that is not simply this machine.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Command,
};

use crate::Node;

/// Where a process runs.
#[derive(Clone, Debug)]
pub struct Place {
    /// A command that becomes the one that is given to it, there.
    pub prefix: Vec<String>,
    /// The same for commands that ask a node there, and shall not be part of what happens to it.
    pub visitors: Vec<String>,
    /// The address at which others reach it.
    pub address: IpAddr,
}

impl Default for Place {
    /// This machine as it is, on loopback.
    fn default() -> Self {
        Self { prefix: Vec::new(), visitors: Vec::new(), address: Ipv4Addr::LOCALHOST.into() }
    }
}

/// Who enters a user namespace loses the tie to its parent, and ties itself anew.
pub(crate) const ENDS_WITH_TEST: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];

/// A small disk that only the processes of one place see, and that is gone with them.
#[derive(Clone, Debug)]
pub struct SmallDisk {
    folder: PathBuf,
    place: Place,
}

impl SmallDisk {
    /// One of `mebibytes` at `folder`, or why this machine has none to give.
    pub fn new(folder: &Path, mebibytes: u32) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mount = format!("mount -t tmpfs -o size={mebibytes}m tmpfs \"$0\" && exec \"$@\"");
        let unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c", &mount];
        let folder = folder.to_owned();
        let at = [folder.to_string_lossy().into_owned()];
        let words = unshare.iter().map(|&word| word.to_owned()).chain(at);
        let prefix: Vec<_> = words.chain(ENDS_WITH_TEST.map(str::to_owned)).collect();
        let tried = Command::new(&prefix[0]).args(&prefix[1..]).arg("true").output();
        let tried = tried.map_err(|error| format!("unshare: {error}"))?;
        if !tried.status.success() {
            return Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned());
        }
        Ok(Self { folder, place: Place { prefix, ..Place::default() } })
    }

    /// Whoever starts here has it.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Takes `mebibytes` of it away from `node`, which runs there.
    pub fn fill(&self, node: &Node, mebibytes: usize) {
        let bytes = vec![0x5a; mebibytes << 20];
        fs::write(self.ballast(node), bytes).expect("there is room for the ballast");
    }

    /// Gives it back.
    pub fn clear(&self, node: &Node) {
        fs::remove_file(self.ballast(node)).expect("the ballast is there");
    }

    fn ballast(&self, node: &Node) -> PathBuf {
        let seen = format!("/proc/{}/root{}/ballast", node.pid(), self.folder.display());
        PathBuf::from(seen)
    }
}

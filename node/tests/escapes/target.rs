//! What a hostile trainer is after: stand-ins for the node's key, its sockets and its process.

use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

/// As the job tells it to the hostile trainer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) attempt: String,
    pub(crate) home: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) abstract_name: String,
    pub(crate) tcp: u16,
    pub(crate) udp: u16,
    /// A process of the same user.
    pub(crate) victim: i64,
}

impl Target {
    /// The process group of the victim.
    pub(crate) fn group(&self) -> i64 {
        self.victim
    }
}

/// The other side of the stand-ins; they end with this value.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) key: PathBuf,
    /// A content-addressed file that is an input of the run.
    pub(crate) input: PathBuf,
    pub(crate) home: PathBuf,
    socket: PathBuf,
    abstract_name: String,
    tcp: TcpListener,
    udp: UdpSocket,
    _unix: [UnixListener; 2],
    victim: Child,
}

impl Stage {
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let home = folder.join("home");
        fs::create_dir(&home)?;
        let (key, input, socket) = (home.join("key"), home.join("input"), home.join("api.sock"));
        fs::write(&key, "the secret")?;
        fs::write(&input, CONTENT)?;
        let abstract_name = format!("cyxwiz-escape-{}", folder.display());
        let address = SocketAddr::from_abstract_name(&abstract_name)?;
        let unix = [UnixListener::bind(&socket)?, UnixListener::bind_addr(&address)?];
        let victim = Command::new(std::env::current_exe()?)
            .arg(crate::VICTIM)
            .env("SECRET", "in the environment")
            .process_group(0)
            .stdin(Stdio::piped())
            .spawn()?;
        Ok(Self {
            key,
            input,
            home,
            socket,
            abstract_name,
            tcp: TcpListener::bind("127.0.0.1:0")?,
            udp: UdpSocket::bind("127.0.0.1:0")?,
            _unix: unix,
            victim,
        })
    }

    pub(crate) fn target(&self, attempt: &str) -> io::Result<Target> {
        Ok(Target {
            attempt: attempt.to_owned(),
            home: self.home.clone(),
            key: self.key.clone(),
            socket: self.socket.clone(),
            abstract_name: self.abstract_name.clone(),
            tcp: self.tcp.local_addr()?.port(),
            udp: self.udp.local_addr()?.port(),
            victim: self.victim.id().into(),
        })
    }

    /// Whether everything is as it was.
    pub(crate) fn is_untouched(&mut self) -> bool {
        let names = fs::read_dir(&self.home).map_or(0, Iterator::count);
        let secret = fs::read_to_string(&self.key).is_ok_and(|text| text == "the secret");
        let input = fs::read_to_string(&self.input).is_ok_and(|text| text == CONTENT);
        names == 3 && secret && input && matches!(self.victim.try_wait(), Ok(None))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // It may have been killed by what it is there for.
        self.victim.kill().ok();
        self.victim.wait().ok();
    }
}

const CONTENT: &str = "rows";

//! The well-known peer of a network: through it others find each other, and behind it those
//! that cannot be reached are relayed.
//!
//! [`run`] keeps its key and the network's charter in a directory, listens, tells its address
//! and the network's invite, and then only introduces peers to each other. It takes part in no
//! job and holds nothing that the network would miss: peers that know each other go on without it.
//!
//! Never: has a role in jobs, overwrites a key file, or writes the coordinators' ticket to its
//! output.

mod health;
mod invite;
mod key_file;
mod options;
mod print;
mod run;

pub use key_file::KeyFileError;
pub use options::Options;
pub use print::printer;
pub use run::{Announcement, BootstrapError, run};

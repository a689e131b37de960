//! The well-known peer of a network: through it others find each other, and behind it those
//! that cannot be reached are relayed.
//!
//! [`run`] keeps its key and the network's charter in a directory, listens, tells its address
//! and the network's invite, and then only introduces peers to each other. It takes part in no
//! job: peers that know each other go on without it. Once in the life of a network it decides:
//! the first coordinator that asks begins the committee, and every other one is told so.
//!
//! [`ask_founding`] is the coordinator's side of that question.
//!
//! Never: has a role in jobs, overwrites a key file, lets two coordinators begin a committee, or
//! writes the coordinators' ticket to its output.

mod founding;
mod health;
mod invite;
mod key_file;
mod options;
mod print;
mod run;

pub use founding::{
    AskError, ConfirmError, DecisionError, FOUNDING, ask_founding, confirm_new_committee,
};
pub use key_file::KeyFileError;
pub use options::Options;
pub use print::printer;
pub use run::{Announcement, BootstrapError, run};

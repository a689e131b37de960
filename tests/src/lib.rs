//! Networks of real processes on loopback, for the tests beside this crate: programs as a user
//! starts them, spoken to as a user speaks to them.
//!
//! - [`Network`] and [`Node`] are the processes; [`Cli`] runs one command of `cyxwiz` and keeps
//!   its exit code and what it wrote.
//! - [`Committee`] is several coordinators, and knows who leads; [`Chance`] decides who is hit when.
//! - [`Place`] is where a process runs: a machine of a [`Lan`], one with a [`SmallDisk`] or
//!   a [`StuckDisk`], one on [`Mains`].
//! - [`Job`] writes job files; [`eventually`] waits for a condition and tells the state when it
//!   does not come.
//!
//! Never does a process outlive the value that stands for it, a port get chosen by a test, or a
//! wait go without a deadline.

mod chance;
mod cli;
mod committee;
mod job;
mod lan;
mod network;
mod place;
mod power;
mod preload;
mod process;
mod program;
mod running;
mod stuck_disk;
mod waiting;

pub use chance::Chance;
pub use cli::{Cli, Command, Outcome};
pub use committee::{Committee, Leader};
pub use job::{Job, examples};
pub use lan::{Cut, Lan};
pub use network::{Network, Node, free_port};
pub use place::{Place, SmallDisk};
pub use power::Mains;
pub use process::{Process, Stop};
pub use running::{Held, is_alive, processes_of, trainers_of};
pub use stuck_disk::StuckDisk;
pub use waiting::{SOON, TRAINED, eventually};

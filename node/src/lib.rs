//! A CyxWiz node: everything around the protocol's peer that touches the world.
//!
//! - [`node`] puts the parts together; [`driver`] is the one loop; [`membership`] says which
//!   network a data directory belongs to; `founding` asks whether it begins the committee.
//! - [`store`], [`identity`], [`address_book`] and [`artifacts`] are what is on disk.
//! - [`tasks`] carries out what the protocol asks for; [`executor`] runs a training job in a
//!   process of its own; [`hardware`] says what this machine has, [`engines`] what jobs compute
//!   with; `estimate` tells beforehand what a job is expected to take.
//! - [`api`] is the local interface that the command line ([`cli`]) and programs share.
//!   Its `demo` and `bench` run whole networks on this machine.
//!
//! Never does a node tell anyone what is not on disk, run a job in its own process, or overwrite a
//! file that it cannot read.

pub mod address_book;
pub mod api;
pub mod artifacts;
pub mod cli;
pub mod clock;
pub mod driver;
pub mod engines;
mod estimate;
pub mod executor;
mod founding;
pub mod hardware;
pub mod identity;
pub mod job_file;
pub mod membership;
pub mod model_file;
pub mod node;
pub mod recording;
pub mod settings;
pub mod store;
pub mod tasks;

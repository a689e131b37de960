//! The protocol from outside: bytes of the wire, roles as tables of inputs and effects, and a
//! small network in virtual time.

mod coordinator;
mod council;
mod harness;
mod network;
mod register;
mod submitter;
mod wire;
mod worker;

//! What a replica's store says, for a simulator that looks at disks: the records that the
//! committee writes, opened for reading and for nothing else.

use crate::{
    Ballot, Key, PeerId, RecordError, StoreId,
    committee::{Register, SeatRecord},
    job::JobRecord,
    message::replication::Seating,
};

/// A job's register as it is on one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterOnDisk {
    pub ballot: Ballot,
    pub version: u64,
    pub record: JobRecord,
}

/// What a replica has promised, and who sits as far as its disk knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatOnDisk {
    pub promised: Ballot,
    pub seating: Option<SeatingOnDisk>,
}

/// Who sits, and how new that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatingOnDisk {
    pub age: SeatingAge,
    /// The members, and while they change those who take over: each side must agree.
    pub sides: Vec<Vec<(PeerId, StoreId)>>,
}

/// Orders seatings as replicas do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeatingAge {
    pub generation: u32,
    pub ballot: Ballot,
    pub epoch: u64,
}

/// Reads the value of a [`Key::Register`].
pub fn register(key: Key, value: &[u8]) -> Result<RegisterOnDisk, RecordError> {
    let Register { ballot, version, record } = key.read(value)?;
    Ok(RegisterOnDisk { ballot, version, record })
}

/// Reads the value of [`Key::Seat`].
pub fn seat(value: &[u8]) -> Result<SeatOnDisk, RecordError> {
    let SeatRecord { promised, seating, .. } = Key::Seat.read(value)?;
    let seating = seating.map(|register| {
        let Seating { founding, epoch, members, joining, .. } = register.seating;
        let generation = founding.generation;
        let age = SeatingAge { generation, ballot: register.ballot, epoch };
        let sides = [members, joining].into_iter().filter(|side| !side.is_empty());
        let names = sides.map(|side| side.iter().map(|it| (it.peer, it.store)).collect());
        SeatingOnDisk { age, sides: names.collect() }
    });
    Ok(SeatOnDisk { promised, seating })
}

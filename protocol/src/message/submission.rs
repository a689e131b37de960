//! Handing a job in, and wanting it stopped.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    JobId, PeerId, RequestId,
    codec::bounded,
    limits,
    message::query::RefusedWorker,
    signed::Signed,
    spec::{CancelOrder, JobSpec, SpecError},
};

/// Steps of the conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Submission {
    Submit {
        request: RequestId,
        spec: Signed<JobSpec>,
    },
    /// The job is on the disks of a majority: it will not be lost.
    Accepted {
        request: RequestId,
        job: JobId,
    },
    /// The job was not taken, and is not known to the committee.
    Refused {
        request: RequestId,
        job: JobId,
        refusal: Refusal,
    },
    /// Ask this peer instead.
    Redirect {
        request: RequestId,
        leader: Option<PeerId>,
    },
    Cancel {
        request: RequestId,
        order: Signed<CancelOrder>,
    },
    /// The wish is on the disks of a majority, or the job had ended before.
    CancelNoted {
        request: RequestId,
        job: JobId,
    },
    /// The job ended: come for the result. A hint; the submitter asks for the state itself.
    Ended {
        job: JobId,
    },
}

/// Why a job was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    Spec(SpecError),
    /// The definition or the data do not hold up; in the trainer's words.
    Workload(#[serde(deserialize_with = "bounded::text::<_, { limits::TEXT_BYTES }>")] String),
    /// The input files could not be fetched from the submitter.
    Inputs(#[serde(deserialize_with = "bounded::text::<_, { limits::TEXT_BYTES }>")] String),
    /// Workers are here, and none of them could ever run it.
    NobodyCould {
        workers: u32,
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::REFUSALS }>")]
        reasons: Vec<RefusedWorker>,
    },
    /// A job of this id with other content is known.
    OtherContent,
    /// The spec's author is not who sent it, or its signature is wrong.
    NotSigned,
    /// A limit is reached; try again later.
    Full(Full),
    /// No job of this id is known.
    Unknown,
    /// Only the submitter may do this.
    NotYours,
}

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Full {
    Jobs,
    JobsOfSubmitter,
    Admissions,
    Disk,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(error) => error.fmt(f),
            Self::Workload(text) => f.write_str(text),
            Self::Inputs(text) => write!(f, "the input files could not be fetched: {text}"),
            Self::NobodyCould { workers, reasons } => {
                let noun = if *workers == 1 { "worker" } else { "workers" };
                write!(f, "none of {workers} {noun} could ever run it")?;
                for reason in reasons {
                    write!(f, "; {reason}")?;
                }
                Ok(())
            }
            Self::OtherContent => f.write_str("another job has this id"),
            Self::NotSigned => f.write_str("the spec is not signed by the peer that sent it"),
            Self::Full(full) => match full {
                Full::Jobs => f.write_str("the committee has as many jobs as it can hold"),
                Full::JobsOfSubmitter => f.write_str("you have as many unfinished jobs as one may"),
                Full::Admissions => f.write_str("too many submissions at this moment"),
                Full::Disk => f.write_str("the coordinator's disk is full"),
            },
            Self::Unknown => f.write_str("no such job"),
            Self::NotYours => f.write_str("only the peer that submitted the job may do this"),
        }
    }
}

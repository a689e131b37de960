//! The wire: for every message, document and record its bytes, its way back, its limits, and
//! what becomes of hostile ones.

mod hostile;
mod limits;
pub(crate) mod newcomer;
mod samples;
mod snapshots;

use cyxwiz_protocol::{
    Digest,
    message::submission::Submission,
    message::{Gossip, Message, auction::Auction, decode_gossip, decode_message},
    message::{
        membership::Membership,
        pausing::Pausing,
        query::{Answer, Query},
        replication::{Copied, Step},
        run::RunStep,
    },
    signed::{Document, Signed},
};

use crate::harness::network_id;

/// Bytes of a frame before its body: version and network.
const HEAD: usize = 18;

/// The digest of the document within a frame, if the frame can be read and the document is
/// believed. None when it is not; `Some(None)` when the frame holds no document.
fn believed(name: &str, bytes: &[u8]) -> Option<Option<Digest>> {
    fn check<T: Document>(signed: &Signed<T>) -> Option<Option<Digest>> {
        let verified = signed.verify(network_id()).ok()?;
        Some(Some(verified.signed().digest()))
    }
    fn copied(copies: &[Copied]) -> Option<Option<Digest>> {
        let Some(spec) = copies.first().and_then(|copy| copy.spec.as_ref()) else {
            return Some(None);
        };
        check(spec)
    }
    if name.starts_with("gossip") {
        return match decode_gossip(network_id(), bytes).ok()? {
            Gossip::Announcement(signed) => check(&signed),
            Gossip::Report(signed) => check(&signed),
            Gossip::Committee(signed) => check(&signed),
        };
    }
    match decode_message(network_id(), bytes).ok()? {
        Message::Membership(Membership::Committee(signed)) => check(&signed),
        Message::Submission(Submission::Submit { spec, .. }) => check(&spec),
        Message::Submission(Submission::Cancel { order, .. }) => check(&order),
        Message::Auction(Auction::Bids(signed)) => check(&signed),
        Message::Auction(Auction::Invitation(signed)) => check(&signed),
        // Two documents: one name for both.
        Message::Auction(Auction::Award { award, spec }) => {
            let (award, spec) = (check(&award)??, check(&spec)??);
            Some(Some(Digest::of(&[award.0, spec.0].concat())))
        }
        Message::Run(RunStep::Receipt(signed)) => check(&signed),
        Message::Query(Query::Answer { answer, .. }) => match *answer {
            Answer::Job(Some(detail)) => check(&detail.spec),
            Answer::Job(None) | Answer::Jobs(_) | Answer::Workers(_) => Some(None),
        },
        Message::Pausing(Pausing::Order { order, .. }) => check(&order),
        Message::Membership(_)
        | Message::Pausing(_)
        | Message::Submission(_)
        | Message::Auction(_)
        | Message::Run(_)
        | Message::Query(_) => Some(None),
        Message::Replication(replication) => match replication.step {
            Step::Fetched { copies, .. } => copied(&copies),
            Step::Accept(accept) => copied(&accept.copies),
            Step::Canvass { .. }
            | Step::Supported { .. }
            | Step::Prepare { .. }
            | Step::Promise { .. }
            | Step::Refused { .. }
            | Step::Fetch { .. }
            | Step::Accepted { .. }
            | Step::Beat { .. }
            | Step::Heard { .. }
            | Step::Stand { .. } => Some(None),
        },
    }
}

//! The lines that bring others into the network: the public invite, and the coordinators', which
//! carries a ticket and goes to a private file only.

use std::time::Duration;

use cyxwiz_net::Multiaddr;
use cyxwiz_protocol::charter::{Invite, Ticket};
use cyxwiz_protocol::{Identity, Network, UnixMillis};

use crate::founding::unix_now;

/// The line for everybody: network and addresses.
pub(crate) fn invite_line(network: &Network, addresses: &[Multiaddr]) -> String {
    invite(network, addresses, None).to_string()
}

/// The line for coordinators: whoever holds it may take a seat until it expires.
pub(crate) fn coordinator_line(
    network: &Network,
    addresses: &[Multiaddr],
    charter: &Identity,
    secret: [u8; 32],
) -> String {
    let life = u64::try_from(TICKET_LIFE.as_millis()).unwrap_or(u64::MAX);
    let until = UnixMillis(unix_now().0.saturating_add(life));
    let ticket = Ticket::issue(charter, network, secret, until);
    invite(network, addresses, Some(ticket)).to_string()
}

fn invite(network: &Network, addresses: &[Multiaddr], ticket: Option<Ticket>) -> Invite {
    let addresses = addresses.iter().take(MAX_ADDRESSES).map(ToString::to_string).collect();
    Invite { network: network.clone(), addresses, ticket }
}

/// An invite is to be read aloud or pasted; four addresses are choice enough.
const MAX_ADDRESSES: usize = 4;

/// A coordinator set up within a month of the last start of the bootstrap peer is seated.
const TICKET_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

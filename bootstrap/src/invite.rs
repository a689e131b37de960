//! The lines that bring others into the network: the public invite, and the coordinators', which
//! carries a ticket and goes to a private file only.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use cyxwiz_net::Multiaddr;
use cyxwiz_protocol::charter::{Invite, Ticket};
use cyxwiz_protocol::{Identity, Network, UnixMillis};

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
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let until = u64::try_from((now + TICKET_LIFE).as_millis()).unwrap_or(u64::MAX);
    let ticket = Ticket::issue(charter, network, secret, UnixMillis(until));
    invite(network, addresses, Some(ticket)).to_string()
}

fn invite(network: &Network, addresses: &[Multiaddr], ticket: Option<Ticket>) -> Invite {
    let addresses = addresses.iter().take(MAX_ADDRESSES).map(ToString::to_string).collect();
    Invite { network: network.clone(), addresses, ticket }
}

/// The addresses worth telling, best first: the given ones, those of the network, then, only if
/// there is nothing else, those of this machine alone.
pub(crate) fn dialable(addresses: Vec<Multiaddr>, external: &[Multiaddr]) -> Vec<Multiaddr> {
    let is_external = |it: &Multiaddr| {
        external.iter().any(|known| it.to_string().starts_with(&known.to_string()))
    };
    let mut ranked: Vec<_> = addresses
        .into_iter()
        .map(|it| {
            let rank = if is_external(&it) { 0 } else { 1 + u8::from(is_loopback(&it)) };
            (rank, it)
        })
        .collect();
    ranked.sort();
    let best = ranked.first().map_or(0, |(rank, _)| *rank);
    ranked.into_iter().filter(|(rank, _)| best == 2 || *rank < 2).map(|(_, it)| it).collect()
}

fn is_loopback(address: &Multiaddr) -> bool {
    let text = address.to_string();
    let mut parts = text.split('/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("ip4"), Some(ip)) => ip.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback()),
        (Some("ip6"), Some(ip)) => ip.parse().is_ok_and(|ip: Ipv6Addr| ip.is_loopback()),
        _ => false,
    }
}

/// An invite is to be read aloud or pasted; four addresses are choice enough.
const MAX_ADDRESSES: usize = 4;

/// A coordinator set up within a month of the last start of the bootstrap peer is seated.
const TICKET_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_reach_comes_first_and_loopback_only_alone() {
        let address = |text: &str| text.parse::<Multiaddr>().unwrap();
        let local = address("/ip4/127.0.0.1/tcp/1");
        let lan = address("/ip4/10.0.0.7/tcp/1");
        let public = address("/dns4/boot.example.org/tcp/1");
        let all = vec![local.clone(), lan.clone(), public.clone()];
        assert_eq!(dialable(all, std::slice::from_ref(&public)), [public, lan]);
        assert_eq!(dialable(vec![local.clone()], &[]), [local]);
    }
}

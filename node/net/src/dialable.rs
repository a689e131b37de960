//! Which of a peer's addresses are worth telling others.

use std::net::{Ipv4Addr, Ipv6Addr};

use libp2p::Multiaddr;

/// The addresses worth telling, best first: the given ones, those of the network, then, only if
/// there is nothing else, those of this machine alone.
#[must_use]
pub fn dialable(addresses: Vec<Multiaddr>, external: &[Multiaddr]) -> Vec<Multiaddr> {
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

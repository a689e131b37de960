//! Who may coordinate. A network is a name and a charter key; the charter signs tickets, a
//! ticket signs seats. A sybil can mint peers, never seats.
//!
//! A [`Ticket`] is a secret, like the join token of a manager in other cluster software: whoever
//! holds it may coordinate until it expires. The [`Invite`] that carries none is public.

mod question;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use question::{FoundingAnswer, FoundingQuestion, FoundingRefusal};

use crate::{
    Identity, NetworkId, PeerId, StoreId, UnixMillis,
    codec::encode,
    signed::{RawSignature, verify_raw},
};

#[cfg(feature = "simulation")]
use crate::simulated;

const NETWORK_DOMAIN: &[u8] = b"cyxwiz/network/1\0";
const TICKET_DOMAIN: &[u8] = b"cyxwiz/ticket/1\0";
const SEAT_DOMAIN: &[u8] = b"cyxwiz/seat/1\0";
const FOUNDING_DOMAIN: &[u8] = b"cyxwiz/founding/1\0";

/// The longest name of a network, in bytes.
const NAME_BYTES: usize = 32;
/// What a simulated network's name begins with: nothing that [`Network::new`] lets through, so
/// that no invite leads into one.
#[cfg(feature = "simulation")]
const SIMULATED_NAME: char = '~';
/// Addresses that an invite carries.
const INVITE_ADDRESSES: usize = 16;

/// A network or an invite could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CharterError {
    #[error("'{0}' cannot name a network: use 1 to 32 of a-z, 0-9 and '-'")]
    Name(String),
    #[error("an invite looks like cyxwiz:NAME:KEY@ADDRESS[,ADDRESS]; this one lacks {0}")]
    Invite(&'static str),
    #[error("the charter key of the invite is damaged: ask for the line again, whole")]
    Key,
    #[error("the coordinator ticket of the invite is damaged or of another network")]
    Ticket,
    #[error("the coordinator ticket has expired; ask the bootstrap peer for a new one")]
    Expired,
    #[error("the founding is not signed by the charter of this network")]
    Founding,
}

/// A network: two with the same name never mix, because their charter keys differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    name: String,
    charter: PeerId,
}

impl Network {
    /// A network called `name` whose seats are given by the holder of `charter`'s secret.
    pub fn new(name: &str, charter: PeerId) -> Result<Self, CharterError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(fits) {
            return Err(CharterError::Name(name.chars().take(64).collect()));
        }
        Ok(Self { name: name.to_owned(), charter })
    }

    /// One in which documents are signed by the cheap scheme of simulations. No other network
    /// can have its name, and so none its id.
    #[cfg(feature = "simulation")]
    pub fn simulated(name: &str, charter: PeerId) -> Result<Self, CharterError> {
        let Self { name, charter } = Self::new(name, charter)?;
        Ok(Self { name: format!("{SIMULATED_NAME}{name}"), charter })
    }

    /// Who signs with `secret` in this network.
    #[must_use]
    pub fn identity(&self, secret: [u8; 32]) -> Identity {
        #[cfg(feature = "simulation")]
        if self.is_simulated() {
            return Identity::simulated(secret);
        }
        Identity::from_seed(secret)
    }

    #[cfg(feature = "simulation")]
    fn is_simulated(&self) -> bool {
        self.name.starts_with(SIMULATED_NAME)
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key that gives seats.
    #[must_use]
    pub const fn charter(&self) -> PeerId {
        self.charter
    }

    /// What every document of this network is bound to.
    #[must_use]
    pub fn id(&self) -> NetworkId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(NETWORK_DOMAIN).update(self.name.as_bytes()).update(&[0]);
        hasher.update(&self.charter.0);
        let hash = hasher.finalize();
        let id = NetworkId(hash.as_bytes()[..16].try_into().expect("16 of 32 bytes"));
        #[cfg(feature = "simulation")]
        if self.is_simulated() {
            return simulated::marked(id);
        }
        id
    }

    /// Name and start of the id: what topics and protocol names carry.
    #[must_use]
    pub fn slug(&self) -> String {
        format!("{}-{}", self.name, hex::encode(&self.id().0[..8]))
    }

    /// What a peer says of its network to those who dial it, so that an address alone is enough
    /// to join: `/cyxwiz/1/NAME/KEY`.
    #[must_use]
    pub fn fact(&self) -> String {
        format!("/cyxwiz/1/{}/{}", self.name, bs58::encode(self.charter.0).into_string())
    }

    /// Reads [`Self::fact`].
    pub fn from_fact(fact: &str) -> Result<Self, CharterError> {
        let rest = fact.strip_prefix("/cyxwiz/1/").ok_or(CharterError::Invite("'/cyxwiz/1/'"))?;
        let (name, key) = rest.split_once('/').ok_or(CharterError::Invite("a key"))?;
        Self::new(name, charter_key(key)?)
    }
}

/// The right to take a seat, for whoever holds the secret, until it expires.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    secret: [u8; 32],
    expires: UnixMillis,
    signature: RawSignature,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Ticket {
    /// Made by the holder of the charter's secret; `secret` must be random.
    #[must_use]
    pub fn issue(
        charter: &Identity,
        network: &Network,
        secret: [u8; 32],
        expires: UnixMillis,
    ) -> Self {
        let holder = network.identity(secret).id();
        let signature = charter.sign_raw(TICKET_DOMAIN, &encode(&(network.id(), holder, expires)));
        Self { secret, expires, signature }
    }

    /// Seats `peer`.
    #[must_use]
    pub fn seat(&self, network: &Network, peer: PeerId) -> Credential {
        let holder = network.identity(self.secret);
        Credential {
            ticket: holder.id(),
            expires: self.expires,
            ticket_signature: self.signature,
            seat_signature: holder.sign_raw(SEAT_DOMAIN, &encode(&(network.id(), peer))),
        }
    }

    fn to_text(&self) -> String {
        let mut bytes = self.secret.to_vec();
        bytes.extend(self.expires.0.to_le_bytes());
        bytes.extend(self.signature.0);
        bytes.extend(self.signature.1);
        bs58::encode(bytes).into_string()
    }

    fn from_text(text: &str) -> Result<Self, CharterError> {
        let damaged = CharterError::Ticket;
        let bytes = bs58::decode(text).into_vec().map_err(|_bad_digit| damaged.clone())?;
        let bytes: [u8; 104] = bytes.try_into().map_err(|_bad_length| damaged)?;
        let part =
            |from: usize| -> [u8; 32] { bytes[from..from + 32].try_into().expect("32 bytes") };
        let expires = u64::from_le_bytes(bytes[32..40].try_into().expect("8 bytes"));
        Ok(Self {
            secret: part(0),
            expires: UnixMillis(expires),
            signature: RawSignature(part(40), part(72)),
        })
    }
}

/// A peer's seat: charter → ticket → peer, for anyone to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    ticket: PeerId,
    expires: UnixMillis,
    ticket_signature: RawSignature,
    seat_signature: RawSignature,
}

impl Credential {
    /// Whether `peer` may take a seat in `network` at `now`.
    pub fn verify(
        &self,
        network: &Network,
        peer: PeerId,
        now: UnixMillis,
    ) -> Result<(), CharterError> {
        self.verify_signatures(network, peer)?;
        if self.expires < now {
            return Err(CharterError::Expired);
        }
        Ok(())
    }

    /// Whether `peer` was ever allowed to take a seat in `network`: enough for one that sits.
    pub fn verify_signatures(&self, network: &Network, peer: PeerId) -> Result<(), CharterError> {
        let id = network.id();
        let ticket = encode(&(id, self.ticket, self.expires));
        let seat = encode(&(id, peer));
        if !verify_raw(id, network.charter, TICKET_DOMAIN, &ticket, self.ticket_signature)
            || !verify_raw(id, self.ticket, SEAT_DOMAIN, &seat, self.seat_signature)
        {
            return Err(CharterError::Ticket);
        }
        Ok(())
    }
}

/// The charter's word on who begins the committee: one replica, and no other, so that there are
/// never two committees that know nothing of each other's jobs.
///
/// A committee that lost the majority of its disks for good is founded anew with the next
/// `generation`, by the decision of whoever holds the charter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    pub founder: PeerId,
    /// A peer that lost its disk is another replica and may not found again.
    pub store: StoreId,
    /// 0 for the first committee of a network; a higher one replaces all before it.
    pub generation: u32,
    pub at: UnixMillis,
    signature: RawSignature,
}

impl Founding {
    /// Signed by the holder of the charter's secret, once for each generation.
    #[must_use]
    pub fn sign(
        charter: &Identity,
        network: &Network,
        (founder, store): (PeerId, StoreId),
        generation: u32,
        at: UnixMillis,
    ) -> Self {
        let bytes = founding_bytes(network, founder, store, generation, at);
        let signature = charter.sign_raw(FOUNDING_DOMAIN, &bytes);
        Self { founder, store, generation, at, signature }
    }

    /// Whether the charter of `network` said so.
    pub fn verify(&self, network: &Network) -> Result<(), CharterError> {
        let Self { founder, store, generation, at, signature } = *self;
        let bytes = founding_bytes(network, founder, store, generation, at);
        if verify_raw(network.id(), network.charter, FOUNDING_DOMAIN, &bytes, signature) {
            Ok(())
        } else {
            Err(CharterError::Founding)
        }
    }
}

fn founding_bytes(
    network: &Network,
    founder: PeerId,
    store: StoreId,
    generation: u32,
    at: UnixMillis,
) -> Vec<u8> {
    encode(&(network.id(), founder, store, generation, at))
}

/// One line that brings a machine into a network: `cyxwiz:NAME:KEY@ADDRESS[,ADDRESS][#TICKET]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    pub network: Network,
    /// Multiaddrs with `/p2p/…`, at least one.
    pub addresses: Vec<String>,
    /// Present in a coordinator's invite, which must be kept secret.
    pub ticket: Option<Ticket>,
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = bs58::encode(self.network.charter.0).into_string();
        write!(f, "cyxwiz:{}:{key}@{}", self.network.name, self.addresses.join(","))?;
        match &self.ticket {
            Some(ticket) => write!(f, "#{}", ticket.to_text()),
            None => Ok(()),
        }
    }
}

impl FromStr for Invite {
    type Err = CharterError;

    fn from_str(text: &str) -> Result<Self, CharterError> {
        let rest = text.trim().strip_prefix("cyxwiz:").ok_or(CharterError::Invite("'cyxwiz:'"))?;
        let (name, rest) = rest.split_once(':').ok_or(CharterError::Invite("a name"))?;
        let (key, rest) = rest.split_once('@').ok_or(CharterError::Invite("an address"))?;
        let (addresses, ticket) = match rest.split_once('#') {
            Some((addresses, ticket)) => (addresses, Some(Ticket::from_text(ticket)?)),
            None => (rest, None),
        };
        let network = Network::new(name, charter_key(key)?)?;
        let addresses: Vec<_> = addresses
            .split(',')
            .filter(|address| address.starts_with('/'))
            .take(INVITE_ADDRESSES)
            .map(str::to_owned)
            .collect();
        if addresses.is_empty() {
            return Err(CharterError::Invite("an address that starts with '/'"));
        }
        Ok(Self { network, addresses, ticket })
    }
}

fn charter_key(text: &str) -> Result<PeerId, CharterError> {
    let bytes = bs58::decode(text).into_vec().map_err(|_bad_digit| CharterError::Key)?;
    Ok(PeerId(bytes.try_into().map_err(|_bad_length| CharterError::Key)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: UnixMillis = UnixMillis(2_000);
    const NOW: UnixMillis = UnixMillis(1_000);

    #[test]
    fn a_seat_holds_for_its_peer_network_and_time_alone() {
        let charter = Identity::from_seed([1; 32]);
        let network = Network::new("lab", charter.id()).unwrap();
        let other = Network::new("lab", Identity::from_seed([2; 32]).id()).unwrap();
        let ticket = Ticket::issue(&charter, &network, [3; 32], LATER);
        let peer = PeerId([9; 32]);
        let seat = ticket.seat(&network, peer);
        assert_eq!(seat.verify(&network, peer, NOW), Ok(()));
        assert_eq!(seat.verify(&network, PeerId([8; 32]), NOW), Err(CharterError::Ticket));
        assert_eq!(seat.verify(&other, peer, NOW), Err(CharterError::Ticket));
        let after = UnixMillis(LATER.0 + 1);
        assert_eq!(seat.verify(&network, peer, after), Err(CharterError::Expired));

        let stranger = Identity::from_seed([4; 32]);
        let forged = Ticket::issue(&stranger, &network, [5; 32], LATER).seat(&network, peer);
        assert_eq!(forged.verify(&network, peer, NOW), Err(CharterError::Ticket));
    }

    #[test]
    fn invites_are_read_back_and_damage_is_told() {
        let charter = Identity::from_seed([1; 32]);
        let network = Network::new("lab", charter.id()).unwrap();
        let ticket = Ticket::issue(&charter, &network, [3; 32], LATER);
        let addresses = vec!["/ip4/127.0.0.1/tcp/1/p2p/x".to_owned()];
        for ticket in [None, Some(ticket)] {
            let invite = Invite { network: network.clone(), addresses: addresses.clone(), ticket };
            assert_eq!(invite.to_string().parse(), Ok(invite.clone()));
            let cut = &invite.to_string()[..20];
            assert!(cut.parse::<Invite>().is_err());
        }
        assert!("hello".parse::<Invite>().is_err());
        assert_eq!(Network::from_fact(&network.fact()), Ok(network));
        assert!(Network::new("Lab!", charter.id()).is_err());
    }
}

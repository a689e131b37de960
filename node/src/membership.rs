//! Which network a data directory belongs to, the seat that its peer may take in it, and whether
//! it is the replica that begins the committee. Written when it joins or founds; from then on a
//! start needs no invite. Asking the holder of the charter who begins is left to `founding`.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use cyxwiz_net::Multiaddr;
use cyxwiz_protocol::{
    Identity, Network, PeerId, StoreId,
    charter::{CharterError, Credential, Founding, Invite, Ticket},
};
use serde::{Deserialize, Serialize};

use crate::{clock::unix_now, store::durable};

const FILE_NAME: &str = "network.json";

/// How long a founder's own seat is valid: it signed it itself and can do so again.
const FOUNDERS_TICKET: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// The name of a network that nobody named.
pub const DEFAULT_NAME: &str = "cyxwiz";

/// How to become part of a network, as the user gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Join {
    /// An invite line: network, addresses, perhaps a seat.
    Invite(Box<Invite>),
    /// An address alone; whoever is there says which network it is.
    Address(Multiaddr),
}

impl std::str::FromStr for Join {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("cyxwiz:") {
            let invite = text.parse::<Invite>().map_err(|error| error.to_string())?;
            return Ok(Self::Invite(Box::new(invite)));
        }
        let address = text.parse::<Multiaddr>().map_err(|error| {
            format!("neither an invite (cyxwiz:…) nor an address (/ip4/…/tcp/…/p2p/…): {error}")
        })?;
        Ok(Self::Address(address))
    }
}

impl Join {
    /// The addresses that it leads to; those of an invite that are none are left out.
    #[must_use]
    pub fn addresses(&self) -> Vec<Multiaddr> {
        match self {
            Self::Invite(invite) => {
                invite.addresses.iter().filter_map(|address| address.parse().ok()).collect()
            }
            Self::Address(address) => vec![address.clone()],
        }
    }
}

/// A peer's place in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub network: Network,
    pub credential: Option<Credential>,
    /// Present on the replica that the charter lets begin the committee.
    #[serde(default)]
    pub founding: Option<Founding>,
    /// Where the holder of the charter can be asked: the addresses of a coordinator's invite.
    #[serde(default)]
    pub holders: Vec<String>,
}

impl Membership {
    const fn new(network: Network) -> Self {
        Self { network, credential: None, founding: None, holders: Vec::new() }
    }

    /// The charter's word for this very replica, if it has it.
    #[must_use]
    pub fn founding_of(&self, peer: PeerId, store: StoreId) -> Option<Founding> {
        self.founding.filter(|it| (it.founder, it.store) == (peer, store))
    }

    /// Whether the charter's word was for a store of `peer` that is not here any more.
    #[must_use]
    pub fn has_lost_store(&self, peer: PeerId, store: StoreId) -> bool {
        self.founding.is_some_and(|it| it.founder == peer && it.store != store)
    }

    /// Writes it down in the data directory `dir`.
    pub(crate) fn keep(&self, dir: &Path) -> Result<(), MembershipError> {
        let path = dir.join(FILE_NAME);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|source| MembershipError::Damaged { path: path.clone(), source })?;
        durable::replace_file(dir, FILE_NAME, &text).map_err(|source| MembershipError::Io {
            what: "write",
            path,
            source,
        })
    }
}

/// Why a peer has no place in a network.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    #[error("this machine is in no network yet")]
    NoNetwork,
    #[error("{path} belongs to the network '{has}', the invite is for '{invited}'")]
    OtherNetwork { path: PathBuf, has: String, invited: String },
    #[error("this peer has no seat in the network '{network}'")]
    NoSeat { network: String },
    #[error("the charter of the network '{network}' is not this peer's: it cannot found it anew")]
    NotCharter { network: String },
    #[error("the coordinator's seat is not valid")]
    Seat(#[source] CharterError),
    #[error("{path} is damaged; it was left as it is")]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot {what} {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the name cannot be a network's")]
    Name(#[source] CharterError),
    #[error("the peer at {address} does not say which network it is in")]
    NoFact { address: Multiaddr },
    #[error(transparent)]
    Net(#[from] cyxwiz_net::NetError),
}

impl MembershipError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoNetwork => Some(
                "join one with --join INVITE (the line that its bootstrap peer prints), or begin \
                 your own with --coordinator",
            ),
            Self::OtherNetwork { .. } => {
                Some("use another --data-dir for the other network: a peer is in one at a time")
            }
            Self::NoSeat { .. } => Some(
                "join with the coordinator's invite: `cyxwiz-bootstrap` prints it with \
                 --coordinator-invite",
            ),
            Self::NotCharter { .. } => Some(
                "run `cyxwiz-bootstrap --force-new-committee` where the network's bootstrap peer \
                 keeps the charter, then start this coordinator again without the option",
            ),
            Self::Seat(_) => Some("ask the holder of the network's charter for a new invite"),
            Self::Damaged { .. } => {
                Some("remove the file and join again with --join; the key and the jobs stay")
            }
            Self::Name(_) => Some("use 1 to 32 of a-z, 0-9 and '-'"),
            Self::NoFact { .. } => Some("is it a CyxWiz peer? try its invite line instead"),
            Self::Io { .. } | Self::Net(_) => None,
        }
    }
}

/// What the user wants to be part of.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    pub joins: &'a [Join],
    /// The name of a network to begin.
    pub name: Option<&'a str>,
    pub coordinator: bool,
    /// The replica that this peer is.
    pub store: StoreId,
    /// Begin the committee anew, which only the network's own charter may.
    pub force_new_committee: bool,
    /// Whether to go on trying when nobody can be reached.
    pub patient: bool,
}

/// The longest pause between two tries to reach an address.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The place in a network that `dir` has, or that it gets now by `wish`.
pub async fn settle(
    dir: &Path,
    identity: &Identity,
    wish: Wish<'_>,
) -> Result<Membership, MembershipError> {
    let path = dir.join(FILE_NAME);
    let before = read(&path)?;
    let invite = wish.joins.iter().find_map(|join| match join {
        Join::Invite(invite) => Some(invite.as_ref()),
        Join::Address(_) => None,
    });
    let mut membership = match (before, invite) {
        (Some(before), Some(invite)) if before.network != invite.network => {
            return Err(MembershipError::OtherNetwork {
                path: dir.to_owned(),
                has: before.network.slug(),
                invited: invite.network.slug(),
            });
        }
        (Some(before), _) => before,
        (None, Some(invite)) => Membership::new(invite.network.clone()),
        (None, None) => Membership::new(learn(identity, &wish).await?),
    };
    if let Some(invite) = invite
        && let Some(ticket) = &invite.ticket
    {
        membership.credential = Some(ticket.seat(&membership.network, identity.id()));
        membership.holders.clone_from(&invite.addresses);
    }
    if wish.coordinator {
        take_seat(&mut membership, identity)?;
        take_up_founding(&mut membership, identity, &wish)?;
    }
    membership.keep(dir)?;
    Ok(membership)
}

/// The network of `dir`, when its charter is the key of this peer; only then may it be founded
/// anew from here.
pub fn own_network(dir: &Path, id: PeerId) -> Result<Network, MembershipError> {
    let membership = read(&dir.join(FILE_NAME))?.ok_or(MembershipError::NoNetwork)?;
    let network = membership.network;
    if network.charter() == id {
        Ok(network)
    } else {
        Err(MembershipError::NotCharter { network: network.name().to_owned() })
    }
}

/// The network that an address leads to, or a new one of this peer's own.
async fn learn(identity: &Identity, wish: &Wish<'_>) -> Result<Network, MembershipError> {
    let mut addresses = wish.joins.iter().flat_map(Join::addresses).peekable();
    if addresses.peek().is_some() {
        let addresses: Vec<_> = addresses.collect();
        return ask_around(&addresses, wish.patient).await;
    }
    if wish.coordinator {
        let name = wish.name.unwrap_or(DEFAULT_NAME);
        return Network::new(name, identity.id()).map_err(MembershipError::Name);
    }
    Err(MembershipError::NoNetwork)
}

/// Asks whoever answers first which network it is in. The patient try again, more and more
/// seldom.
async fn ask_around(addresses: &[Multiaddr], patient: bool) -> Result<Network, MembershipError> {
    let mut pause = Duration::from_millis(250);
    loop {
        let mut last = None;
        for address in addresses {
            match cyxwiz_net::ask_network(address, Duration::from_secs(5)).await {
                Ok(fact) => {
                    return Network::from_fact(&fact)
                        .map_err(|_no_fact| MembershipError::NoFact { address: address.clone() });
                }
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) if !patient => return Err(error.into()),
            Some(error) => {
                let retry_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(retry_ms, "cannot join yet: {error}");
            }
            None => return Err(MembershipError::NoNetwork),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn take_seat(membership: &mut Membership, identity: &Identity) -> Result<(), MembershipError> {
    let (network, id, now) = (&membership.network, identity.id(), unix_now());
    if network.charter() == id {
        let expires = cyxwiz_protocol::UnixMillis(
            now.0 + u64::try_from(FOUNDERS_TICKET.as_millis()).unwrap_or(u64::MAX / 2),
        );
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| MembershipError::Io {
            what: "draw a key for",
            path: FILE_NAME.into(),
            source: io::Error::other(error.to_string()),
        })?;
        let ticket = Ticket::issue(identity, network, secret, expires);
        membership.credential = Some(ticket.seat(network, id));
    }
    let Some(credential) = &membership.credential else {
        return Err(MembershipError::NoSeat { network: network.name().to_owned() });
    };
    credential.verify(network, id, now).map_err(MembershipError::Seat)
}

/// A network of this peer's own is founded by it, once; in any other the holder of the charter
/// says who founds.
fn take_up_founding(
    membership: &mut Membership,
    identity: &Identity,
    wish: &Wish<'_>,
) -> Result<(), MembershipError> {
    let (id, network) = (identity.id(), &membership.network);
    if network.charter() != id {
        if wish.force_new_committee {
            return Err(MembershipError::NotCharter { network: network.name().to_owned() });
        }
        if membership.has_lost_store(id, wish.store) {
            warn_of_lost_store(NEW_COMMITTEE_THERE);
        }
        return Ok(());
    }
    let generation = match membership.founding {
        Some(before) if wish.force_new_committee => before.generation.saturating_add(1),
        // What was founded before is not known any more, but may be to others.
        None if wish.force_new_committee => 1,
        Some(before) => {
            if before.store != wish.store {
                warn_of_lost_store(NEW_COMMITTEE_HERE);
            }
            return Ok(());
        }
        None => 0,
    };
    let founding = Founding::sign(identity, network, (id, wish.store), generation, unix_now());
    membership.founding = Some(founding);
    tracing::info!(generation, "this peer begins the committee of its network");
    Ok(())
}

/// How a network is founded anew by the peer whose own it is, and by everybody else.
const NEW_COMMITTEE_HERE: &str = "`cyxwiz node run --coordinator --force-new-committee` here";
pub(crate) const NEW_COMMITTEE_THERE: &str = "`cyxwiz-bootstrap --force-new-committee` where the charter is kept, and start this peer \
     again";

/// Founding again by itself would make two committees that know nothing of each other's jobs.
pub(crate) fn warn_of_lost_store(remedy: &str) {
    tracing::warn!(
        "the store with which this peer founded the committee is gone: with its new one it is a \
         new member, and waits until a living committee takes it in. Put the old store back if \
         there is a copy; if the majority of the committee is lost for good, run {remedy}"
    );
}

fn read(path: &Path) -> Result<Option<Membership>, MembershipError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(MembershipError::Io { what: "read", path: path.to_owned(), source });
        }
    };
    let damaged = |source| MembershipError::Damaged { path: path.to_owned(), source };
    serde_json::from_slice(&text).map(Some).map_err(damaged)
}

#[cfg(test)]
mod tests;

//! Documents: what travels further than one hop, signed by its author over its exact bytes.
//!
//! The signature covers a domain string, then a [`Header`] that binds version, network, kind,
//! author, time and sequence number, then the body. The received bytes are kept and passed on as
//! they are; nothing is encoded twice. Only `verify_strict` decides (RFC 8032 with the checks of
//! Chalkias et al., "Taming the many EdDSAs", 2020): the plain check accepts small-order keys.
//! Freshness is the business of [`crate::ReplayWindow`]; the cheap scheme of simulated networks,
//! which is compiled for the simulator alone, that of `simulated`.

use std::{fmt, marker::PhantomData, ops::Deref};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned, de::Error as _};

use crate::{
    Digest, NetworkId, PeerId, UnixMillis,
    codec::{self, DecodeError, decode, encode},
};

#[cfg(feature = "simulation")]
use crate::simulated;

/// The version of everything that is signed or sent.
pub const PROTOCOL_VERSION: u16 = 2;

/// An ed25519 signature in its two halves, since serde reads no array of 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RawSignature(
    #[serde(with = "codec::bytes")] pub(crate) [u8; 32],
    #[serde(with = "codec::bytes")] pub(crate) [u8; 32],
);

impl RawSignature {
    fn of(signature: &Signature) -> Self {
        Self(*signature.r_bytes(), *signature.s_bytes())
    }

    fn open(self) -> Signature {
        Signature::from_components(self.0, self.1)
    }
}

const DOMAIN: &[u8] = b"cyxwiz/document/1\0";

/// What a document is. Signed with it, so that one kind never passes for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u16)]
pub enum Kind {
    JobSpec = 1,
    CancelOrder = 2,
    Announcement = 3,
    Bids = 4,
    Award = 5,
    Report = 6,
    Receipt = 7,
    Committee = 8,
    PauseOrder = 9,
}

/// Something that is signed.
pub trait Document: Serialize + DeserializeOwned {
    const KIND: Kind;
    /// The longest signed form, header included.
    const MAX_BYTES: usize;
}

/// What every document says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub version: u16,
    pub kind: u16,
    pub network: NetworkId,
    pub author: PeerId,
    pub issued_at: UnixMillis,
    /// Rises with every document of the author, also from one life to the next.
    pub sequence: u64,
}

const HEADER_BYTES: usize = 2 + 2 + 16 + 32 + 8 + 8;

/// A document as it travels: bytes and a signature, believed by nobody yet.
#[derive(Serialize)]
pub struct Signed<T> {
    #[serde(serialize_with = "codec::bytes::run")]
    bytes: Vec<u8>,
    signature: RawSignature,
    #[serde(skip)]
    kind: PhantomData<fn() -> T>,
}

// By hand: what a derive makes would ask the same of `T`, of which there is none in here.
impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), signature: self.signature, kind: PhantomData }
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.signature == other.signature
    }
}

impl<T> Eq for Signed<T> {}

impl<T> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({})", Digest::of(&self.bytes))
    }
}

impl<'de, T: Document> Deserialize<'de> for Signed<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let (codec::bytes::Run(bytes), signature) =
            <(codec::bytes::Run, RawSignature)>::deserialize(source)?;
        if bytes.len() > T::MAX_BYTES {
            let (length, limit) = (bytes.len(), T::MAX_BYTES);
            return Err(D::Error::custom(format_args!("{length} bytes where {limit} may be")));
        }
        Ok(Self { bytes, signature, kind: PhantomData })
    }
}

/// Why a document is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    #[error("protocol version {theirs}; this peer speaks {PROTOCOL_VERSION}")]
    Version { theirs: u16 },
    #[error("a document of another network ({theirs})")]
    Network { theirs: NetworkId },
    #[error("a document of kind {theirs} where kind {expected:?} belongs")]
    Kind { theirs: u16, expected: Kind },
    #[error("the author's key is not one that can sign")]
    Key,
    #[error("the signature is not the author's")]
    Signature,
    #[error("a document of {length} bytes where {limit} may be")]
    TooLong { length: usize, limit: usize },
    #[error("unreadable document")]
    Body(#[from] DecodeError),
}

impl<T: Document> Signed<T> {
    /// Checks everything that the bytes alone can show and opens the document.
    pub fn verify(&self, network: NetworkId) -> Result<Verified<T>, Rejection> {
        if self.bytes.len() > T::MAX_BYTES {
            return Err(Rejection::TooLong { length: self.bytes.len(), limit: T::MAX_BYTES });
        }
        let header = self.header()?;
        if header.version != PROTOCOL_VERSION {
            return Err(Rejection::Version { theirs: header.version });
        }
        if header.network != network {
            return Err(Rejection::Network { theirs: header.network });
        }
        if header.kind != T::KIND as u16 {
            return Err(Rejection::Kind { theirs: header.kind, expected: T::KIND });
        }
        check(network, header.author, DOMAIN, &self.bytes, self.signature)?;
        let body = decode(&self.bytes[HEADER_BYTES..], T::MAX_BYTES)?;
        Ok(Verified { header, body, signed: self.clone() })
    }

    /// What the document claims of itself, unverified.
    pub fn header(&self) -> Result<Header, DecodeError> {
        let head = self.bytes.get(..HEADER_BYTES).unwrap_or(&self.bytes);
        decode(head, HEADER_BYTES)
    }

    /// Its size without the signature, in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The name of these exact bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

/// A document whose author, network and kind are certain. Made by [`Signed::verify`] and
/// [`Identity::sign`] alone.
#[derive(Clone, Debug)]
pub struct Verified<T> {
    header: Header,
    body: T,
    signed: Signed<T>,
}

impl<T> Verified<T> {
    /// Who signed it.
    #[must_use]
    pub const fn author(&self) -> PeerId {
        self.header.author
    }

    /// The header that was signed with it.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The form that travels on.
    #[must_use]
    pub const fn signed(&self) -> &Signed<T> {
        &self.signed
    }

    /// Takes the travelling form.
    #[must_use]
    pub fn into_signed(self) -> Signed<T> {
        self.signed
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.body
    }
}

/// A peer's key pair: one seed serves libp2p and every signature.
#[derive(Debug)]
pub struct Identity {
    key: Key,
    id: PeerId,
}

#[derive(Debug)]
enum Key {
    Ed25519(Box<SigningKey>),
    #[cfg(feature = "simulation")]
    Simulated,
}

impl Identity {
    /// From the 32 bytes of an ed25519 secret.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&seed);
        let id = PeerId(key.verifying_key().to_bytes());
        Self { key: Key::Ed25519(Box::new(key)), id }
    }

    /// One whose signatures count in a simulated network and nowhere else.
    #[cfg(feature = "simulation")]
    #[must_use]
    pub fn simulated(seed: [u8; 32]) -> Self {
        Self { key: Key::Simulated, id: simulated::peer_id(seed) }
    }

    /// The public half.
    #[must_use]
    pub const fn id(&self) -> PeerId {
        self.id
    }

    /// Signs `body`. `sequence` must rise from call to call.
    ///
    /// # Panics
    ///
    /// When the document is longer than its kind may be: the caller checks what users give.
    pub fn sign<T: Document>(
        &self,
        network: NetworkId,
        issued_at: UnixMillis,
        sequence: u64,
        body: T,
    ) -> Verified<T> {
        let header = Header {
            version: PROTOCOL_VERSION,
            kind: T::KIND as u16,
            network,
            author: self.id,
            issued_at,
            sequence,
        };
        let mut bytes = encode(&header);
        debug_assert_eq!(bytes.len(), HEADER_BYTES);
        bytes.extend(encode(&body));
        assert!(bytes.len() <= T::MAX_BYTES, "a {:?} of {} bytes", T::KIND, bytes.len());
        let signature = self.sign_raw(DOMAIN, &bytes);
        Verified { header, body, signed: Signed { bytes, signature, kind: PhantomData } }
    }

    /// Signs bytes of another domain (charters, tickets).
    pub(crate) fn sign_raw(&self, domain: &[u8], bytes: &[u8]) -> RawSignature {
        match &self.key {
            Key::Ed25519(key) => RawSignature::of(&key.sign(&[domain, bytes].concat())),
            #[cfg(feature = "simulation")]
            Key::Simulated => simulated::signature(self.id, domain, bytes),
        }
    }
}

/// Whether `signature` is `author`'s over `bytes` in `domain`, by the scheme of `network`.
pub(crate) fn verify_raw(
    network: NetworkId,
    author: PeerId,
    domain: &[u8],
    bytes: &[u8],
    signature: RawSignature,
) -> bool {
    check(network, author, domain, bytes, signature).is_ok()
}

#[cfg_attr(
    not(feature = "simulation"),
    expect(unused_variables, reason = "every network of a build for production has one scheme")
)]
fn check(
    network: NetworkId,
    author: PeerId,
    domain: &[u8],
    bytes: &[u8],
    signature: RawSignature,
) -> Result<(), Rejection> {
    #[cfg(feature = "simulation")]
    if simulated::is_simulated(network) {
        let right = simulated::signature(author, domain, bytes) == signature;
        return if right { Ok(()) } else { Err(Rejection::Signature) };
    }
    let key = verifying_key(author).ok_or(Rejection::Key)?;
    key.verify_strict(&[domain, bytes].concat(), &signature.open())
        .map_err(|_opaque| Rejection::Signature)
}

fn verifying_key(author: PeerId) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(&author.0).ok().filter(|key| !key.is_weak())
}

//! libp2p's nested errors as one phrase that a person can act on.

use std::error::Error;
use std::io;

use libp2p::TransportError;
use libp2p::swarm::DialError;

/// Why dialling failed, e.g. `connection refused`.
pub(crate) fn dial_error(error: &DialError) -> String {
    match error {
        DialError::LocalPeerId { .. } => "that is this peer's own address".to_owned(),
        DialError::NoAddresses => "no address of that peer is known".to_owned(),
        DialError::DialPeerConditionFalse(_) => {
            "already connected to that peer or dialling it".to_owned()
        }
        DialError::Aborted => "the attempt was given up".to_owned(),
        DialError::WrongPeerId { obtained, .. } => {
            format!("another peer answered there: {obtained}; correct the /p2p/ part")
        }
        DialError::Denied { cause } => denied(cause),
        DialError::Transport(attempts) => {
            let mut reasons: Vec<_> =
                attempts.iter().map(|(_, error)| transport_error(error)).collect();
            reasons.sort();
            reasons.dedup();
            match reasons.is_empty() {
                true => "no address to try".to_owned(),
                false => reasons.join("; "),
            }
        }
    }
}

/// Why listening on or dialling one address failed.
pub(crate) fn transport_error(error: &TransportError<io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(address) => {
            format!("addresses of the form {address} are not supported")
        }
        TransportError::Other(error) => io_error(error),
    }
}

/// The phrase for the first error of the chain that has one, else what the innermost one says.
pub(crate) fn io_error(error: &io::Error) -> String {
    if let Some(phrase) = phrase(kind_of(error)) {
        return phrase.to_owned();
    }
    let innermost = chain(error).last().map(ToString::to_string).unwrap_or_default();
    if innermost.contains("imeout") || innermost.contains("imed out") {
        return NO_ANSWER.to_owned();
    }
    innermost
}

/// What the system said, wherever in the chain it stands.
pub(crate) fn kind_of(error: &io::Error) -> io::ErrorKind {
    chain(error)
        .filter_map(|error| match error.downcast_ref::<io::Error>() {
            Some(error) if error.kind() != io::ErrorKind::Other => Some(error.kind()),
            _ => system_kind(&error.to_string()),
        })
        .next()
        .unwrap_or(io::ErrorKind::Other)
}

/// Some wrappers pass on the text of the system's error but not the error itself.
fn system_kind(text: &str) -> Option<io::ErrorKind> {
    let (_, rest) = text.split_once("(os error ")?;
    let (code, _) = rest.split_once(')')?;
    Some(io::Error::from_raw_os_error(code.parse().ok()?).kind())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system's errors are many and open")]
fn phrase(kind: io::ErrorKind) -> Option<&'static str> {
    Some(match kind {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
            "the other side closed the connection"
        }
        io::ErrorKind::TimedOut => NO_ANSWER,
        io::ErrorKind::HostUnreachable => "no way to that host",
        io::ErrorKind::NetworkUnreachable => "no way to that network",
        io::ErrorKind::NetworkDown => "the network is down",
        io::ErrorKind::AddrInUse => "the port is taken by another program",
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
        io::ErrorKind::PermissionDenied => "the system does not permit it",
        _ => return None,
    })
}

fn denied(cause: &libp2p::swarm::ConnectionDenied) -> String {
    let mut words = cause.to_string();
    let mut next = cause.source();
    while let Some(error) = next {
        words = error.to_string();
        next = error.source();
    }
    format!("this peer refused it: {words}")
}

/// All errors of a chain.
fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> + 'a {
    let mut next = Some(error);
    // An error is a finite value; the bound is for those whose `source` is not honest.
    std::iter::from_fn(move || {
        let error = next?;
        next = inner(error);
        Some(error)
    })
    .take(MAX_CHAIN)
}

/// An `io::Error` that wraps another error hides it from `source()`.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(wrapping) => wrapping.get_ref().map(|it| it as &(dyn Error + 'static)),
        None => error.source(),
    }
}

const NO_ANSWER: &str = "no answer in time";
const MAX_CHAIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telling_error_is_found_however_deep() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let nested = io::Error::other(io::Error::other(refused));
        assert_eq!(io_error(&nested), "connection refused");
        assert_eq!(kind_of(&nested), io::ErrorKind::ConnectionRefused);
        assert_eq!(io_error(&io::Error::other("Timeout has been reached")), NO_ANSWER);
        assert_eq!(io_error(&io::Error::other("odd")), "odd");
        #[cfg(target_os = "linux")]
        assert_eq!(io_error(&io::Error::other("dial: (os error 111)")), "connection refused");
    }

    #[test]
    fn the_same_reason_of_several_addresses_is_said_once() {
        let attempt = || {
            let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
            (libp2p::Multiaddr::empty(), TransportError::Other(refused))
        };
        let error = DialError::Transport(vec![attempt(), attempt()]);
        assert_eq!(dial_error(&error), "connection refused");
    }
}

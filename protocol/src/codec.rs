//! Bytes of the wire and of the store: bincode with fixed-size little-endian integers, a byte
//! limit, and nothing left over. The only module that knows the format.

use serde::{Serialize, de::DeserializeOwned};

/// Bytes could not be read as what they were said to be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("{length} bytes are more than the {limit} allowed here")]
    TooLong { length: usize, limit: usize },
    #[error("{left} bytes are left over at the end")]
    LeftOver { left: usize },
    #[error("malformed bytes")]
    Malformed(#[source] Box<bincode::error::DecodeError>),
}

/// The largest thing the codec reads, whatever the caller allows: a frame.
const HARD_LIMIT: usize = crate::limits::FRAME_BYTES;

const FORMAT: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Fixint,
    bincode::config::Limit<HARD_LIMIT>,
> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<HARD_LIMIT>();

/// The bytes of `value`.
///
/// # Panics
///
/// Never for the types of this crate: none holds a map or a length that cannot be encoded.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let format = bincode::config::standard().with_little_endian().with_fixed_int_encoding();
    bincode::serde::encode_to_vec(value, format).expect("types of this crate always encode")
}

/// Reads exactly one `T` from `bytes`, of which there may be at most `limit`.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, DecodeError> {
    let limit = limit.min(HARD_LIMIT);
    if bytes.len() > limit {
        return Err(DecodeError::TooLong { length: bytes.len(), limit });
    }
    let (value, read) = bincode::serde::decode_from_slice(bytes, FORMAT)
        .map_err(|error| DecodeError::Malformed(Box::new(error)))?;
    match bytes.len() - read {
        0 => Ok(value),
        left => Err(DecodeError::LeftOver { left }),
    }
}

/// Bytes in one piece, for `#[serde(with = "…")]`: the same on the wire as serde's own form, which
/// reads and writes them one by one.
pub(crate) mod bytes {
    use std::fmt;

    use serde::{
        Deserializer, Serializer,
        de::{Error as _, SeqAccess, Visitor},
        ser::SerializeTuple as _,
    };

    /// A fixed number of them, a multiple of [`WORD`]: this format lays a `u128` out as its 16
    /// little-endian bytes.
    pub(crate) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        target: S,
    ) -> Result<S::Ok, S::Error> {
        const { assert!(N.is_multiple_of(WORD)) };
        if target.is_human_readable() {
            return target.collect_seq(bytes);
        }
        let mut words = target.serialize_tuple(N / WORD)?;
        for word in bytes.as_chunks::<WORD>().0 {
            words.serialize_element(&u128::from_le_bytes(*word))?;
        }
        words.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        source: D,
    ) -> Result<[u8; N], D::Error> {
        let human = source.is_human_readable();
        let elements = if human { N } else { N / WORD };
        source.deserialize_tuple(elements, Words::<N> { human })
    }

    const WORD: usize = size_of::<u128>();

    struct Words<const N: usize> {
        human: bool,
    }

    impl<'de, const N: usize> Visitor<'de> for Words<N> {
        type Value = [u8; N];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{N} bytes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<[u8; N], A::Error> {
            let mut bytes = [0; N];
            let short = |at| A::Error::invalid_length(at, &"a fixed number of bytes");
            if self.human {
                for (at, byte) in bytes.iter_mut().enumerate() {
                    *byte = source.next_element()?.ok_or_else(|| short(at))?;
                }
            } else {
                for (at, word) in bytes.as_chunks_mut::<WORD>().0.iter_mut().enumerate() {
                    let read: u128 = source.next_element()?.ok_or_else(|| short(at))?;
                    *word = read.to_le_bytes();
                }
            }
            Ok(bytes)
        }
    }

    /// Any number of them, behind their length.
    pub(crate) struct Run(pub(crate) Vec<u8>);

    impl<'de> serde::Deserialize<'de> for Run {
        fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
            struct Whole;

            impl Visitor<'_> for Whole {
                type Value = Run;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("bytes")
                }

                fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Run, E> {
                    Ok(Run(bytes))
                }
            }

            source.deserialize_byte_buf(Whole)
        }
    }

    /// Writes what [`Run`] reads.
    pub(crate) fn run<S: Serializer>(bytes: &[u8], target: S) -> Result<S::Ok, S::Error> {
        target.serialize_bytes(bytes)
    }
}

/// Length checks that run while a value is read, for `#[serde(deserialize_with = "…")]`.
pub(crate) mod bounded {
    use serde::{
        Deserialize, Deserializer,
        de::{Error as _, SeqAccess, Visitor},
    };
    use std::{fmt, marker::PhantomData};

    /// At most `MAX` elements; the surplus is refused before it is read.
    pub(crate) fn list<'de, D, T, const MAX: usize>(source: D) -> Result<Vec<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: Deserialize<'de>,
    {
        struct Elements<T, const MAX: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Elements<T, MAX> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} elements")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Vec<T>, A::Error> {
                if let Some(length) = source.size_hint()
                    && length > MAX
                {
                    return Err(A::Error::invalid_length(length, &self));
                }
                let mut elements = Vec::new();
                while let Some(element) = source.next_element()? {
                    if elements.len() == MAX {
                        return Err(A::Error::invalid_length(MAX + 1, &self));
                    }
                    elements.push(element);
                }
                Ok(elements)
            }
        }

        source.deserialize_seq(Elements::<T, MAX>(PhantomData))
    }

    /// At most `MAX` bytes of UTF-8.
    pub(crate) fn text<'de, D, const MAX: usize>(source: D) -> Result<String, D::Error>
    where
        D: Deserializer<'de>,
    {
        let text = String::deserialize(source)?;
        if text.len() > MAX {
            return Err(D::Error::custom(format_args!("text of more than {MAX} bytes")));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_over_and_nothing_too_long_is_read() {
        let bytes = encode(&(1_u16, "a".to_owned()));
        assert_eq!(decode::<(u16, String)>(&bytes, 64).unwrap(), (1, "a".to_owned()));
        assert!(matches!(
            decode::<(u16, String)>(&bytes, 4),
            Err(DecodeError::TooLong { limit: 4, .. })
        ));
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(
            decode::<(u16, String)>(&longer, 64),
            Err(DecodeError::LeftOver { left: 1 })
        ));
    }

    #[test]
    fn a_length_that_lies_is_refused_without_allocating() {
        let mut bytes = encode(&u64::MAX);
        bytes.extend([1, 2, 3]);
        assert!(decode::<String>(&bytes, 64).is_err());
        assert!(decode::<Vec<u8>>(&bytes, 64).is_err());
    }
}

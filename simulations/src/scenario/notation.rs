//! How values are written in scenario files: durations as `"250ms"`, spans as `"1ms..20ms"`, and
//! what is left to the seed as `{ draw = "0..100" }`.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
};

use crate::chance::Span;

/// A text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no duration: write a number and us, ms, s, m or h, as in \"250ms\"")]
pub struct DurationError(String);

/// The units, in microseconds; a unit comes before those that it ends with.
const UNITS: [(&str, f64); 6] =
    [("us", 1.0), ("µs", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7), ("h", 3.6e9)];
/// A hundred years: longer is a slip, and sums of a few still fit.
const LONGEST_US: f64 = 3.15e15;

/// Reads `"250ms"`, `"1.5s"`, `"20s"`, `"5m"`.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    let wrong = || DurationError(text.to_owned());
    let text = text.trim();
    let (number, unit) = UNITS
        .iter()
        .find_map(|(unit, micros)| Some((text.strip_suffix(unit)?, micros)))
        .ok_or_else(wrong)?;
    let number = number.trim_end();
    let plain = |byte: u8| byte.is_ascii_digit() || byte == b'.' || byte == b'_';
    if number.is_empty() || !number.bytes().all(plain) {
        return Err(wrong());
    }
    let micros = number.replace('_', "").parse::<f64>().map_err(|_not_a_number| wrong())? * unit;
    if micros > LONGEST_US {
        return Err(wrong());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative and below the bound above"
    )]
    Ok(Duration::from_micros(micros.round() as u64))
}

/// The shortest text that [`duration`] reads back as the same.
#[must_use]
pub fn text(duration: Duration) -> String {
    let micros = duration.as_micros();
    let units = [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)];
    let fitting = units.iter().find(|(_, unit)| micros > 0 && micros.is_multiple_of(*unit));
    match fitting {
        Some((name, unit)) => format!("{}{name}", micros / unit),
        None if micros == 0 => "0s".to_owned(),
        None if micros > 1_000_000 => format!("{}s", duration.as_secs_f64()),
        None => format!("{micros}us"),
    }
}

/// For `#[serde(with = "crate::scenario::notation::as_text")]` on a [`Duration`].
pub(crate) mod as_text {
    use super::{Deserialize as _, Deserializer, Duration, Serializer, de, duration, text};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&text(*value))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        duration(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [least, most] = [self.least_us, self.most_us].map(Duration::from_micros).map(text);
        if least == most { f.pad(&least) } else { f.pad(&format!("{least}..{most}")) }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SpanVisitor)
    }
}

struct SpanVisitor;

impl<'de> Visitor<'de> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration, \"1ms..20ms\" or { least = \"1ms\", most = \"20ms\" }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let [least, most] = [least, most].map(duration);
        span(least.map_err(E::custom)?, most.map_err(E::custom)?)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Span, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Ends {
            #[serde(with = "as_text")]
            least: Duration,
            #[serde(with = "as_text")]
            most: Duration,
        }
        let ends = Ends::deserialize(de::value::MapAccessDeserializer::new(map))?;
        span(ends.least, ends.most)
    }
}

fn span<E: de::Error>(least: Duration, most: Duration) -> Result<Span, E> {
    if least > most {
        return Err(E::custom(format_args!(
            "{} comes after {}: give the shorter first",
            text(least),
            text(most)
        )));
    }
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    Ok(Span { least_us: micros(least), most_us: micros(most) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (said, micros, written) in [
            ("250ms", 250_000, "250ms"),
            ("20s", 20_000_000, "20s"),
            ("5m", 300_000_000, "5m"),
            ("1.5s", 1_500_000, "1500ms"),
            ("0s", 0, "0s"),
            ("90 us", 90, "90us"),
            ("2h", 7_200_000_000, "2h"),
            ("1_000ms", 1_000_000, "1s"),
        ] {
            let read = duration(said).unwrap();
            assert_eq!(read, Duration::from_micros(micros), "{said}");
            assert_eq!(text(read), written, "{said}");
            assert_eq!(duration(&text(read)).unwrap(), read, "{said}");
        }
        for wrong in ["", "20", "s", "-1s", "1d", "1.2.3s", "infs", "NaNs", "99999999h", "1 2s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_have_an_order() {
        #[derive(Debug, Deserialize)]
        struct Holder {
            span: Span,
        }
        let read = |text: &str| toml::from_str::<Holder>(text).map(|holder| holder.span);
        assert_eq!(read("span = '1ms..20ms'").unwrap(), Span::millis(1, 20));
        assert_eq!(read("span = '5ms'").unwrap(), Span::millis(5, 5));
        assert_eq!(read("span = { least = '1ms', most = '2s' }").unwrap(), Span::millis(1, 2_000));
        for wrong in ["'20ms..1ms'", "7", "'1ms..'", "{ least = '1ms' }", "{ most = '1ms', x = 1 }"]
        {
            assert!(read(&format!("span = {wrong}")).is_err(), "{wrong}");
        }
        assert_eq!(Span::millis(1, 2_000).to_string(), "1ms..2s");
    }
}

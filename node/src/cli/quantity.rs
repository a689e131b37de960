//! Quantities as people read them: sizes, times, shares, and ids cut to what tells them apart.

use std::time::{SystemTime, UNIX_EPOCH};

/// How much of an id is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    Short,
    Whole,
}

impl Ids {
    /// A peer: its last six characters, which differ even where the first do not.
    pub(crate) fn peer(self, id: &str) -> String {
        let characters = id.chars().count();
        match self {
            Self::Short if characters > 8 => {
                format!("…{}", id.chars().skip(characters - 6).collect::<String>())
            }
            Self::Short | Self::Whole => id.to_owned(),
        }
    }

    /// A job: as much of its beginning as `among` needs to tell all ids apart, and at least the
    /// time it was made, which is the first 13 characters.
    pub(crate) fn job(self, id: &str, among: &[&str]) -> String {
        match self {
            Self::Whole => id.to_owned(),
            Self::Short => id.chars().take(distinct_length(among)).collect(),
        }
    }
}

/// A job's id where it stands alone.
pub(crate) fn short_job(id: &str) -> String {
    Ids::Short.job(id, &[])
}

fn distinct_length(ids: &[&str]) -> usize {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let shared = |pair: &[&str]| {
        pair[0].chars().zip(pair[1].chars()).take_while(|(left, right)| left == right).count()
    };
    sorted.windows(2).map(|pair| shared(pair) + 1).max().unwrap_or(0).max(TIME_OF_ID)
}

/// Unix milliseconds.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `12 s ago`; clocks of two machines differ, so a time to come is now.
pub(crate) fn ago(then: u64, now: u64) -> String {
    match now.saturating_sub(then) {
        0..1_000 => "now".to_owned(),
        past => format!("{} ago", coarse(past)),
    }
}

/// A time in one unit: `12 s`, `3 min`, `2 h`, `5 d`.
pub(crate) fn coarse(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A time in two units: `850 ms`, `4.2 s`, `1:07`, `2:13:07`.
pub(crate) fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1_000.0),
        _ => clock(ms),
    }
}

/// `0:09`, `1:07`, `2:13:07`.
pub(crate) fn clock(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1_000 % 60, ms / 60_000 % 60, ms / 3_600_000);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Bytes: `812 B`, `1.4 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1_024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1_024.0;
    let mut unit = 0;
    while value >= 1_023.95 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// MiB: `512 MiB`, `15.5 GiB`.
pub(crate) fn mebibytes(count: u32) -> String {
    match count {
        0..1_024 => format!("{count} MiB"),
        _ => bytes(u64::from(count) * 1_024 * 1_024),
    }
}

/// A count with its thousands apart: `181 258`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `1 job`, `3 jobs`.
pub(crate) fn of(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// `97.2 %` of a share from 0 to 1.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Rates and the like: `1.2M`, `45.3k`, `870`.
pub(crate) fn rate(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.1}M", value / 1e6),
        size if size >= 1e4 => format!("{:.1}k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}

/// A loss and the like, four significant digits: `0.1234`, `12.35`, `1.2e-5`.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !size.is_finite() => value.to_string(),
        size if !(1e-3..1e6).contains(&size) => format!("{value:.1e}"),
        size if size < 10.0 => format!("{value:.4}"),
        size if size < 100.0 => format!("{value:.2}"),
        _ => format!("{value:.1}"),
    }
}

/// A metric by its name: accuracies are shares, rows are counted, all others plain numbers.
pub(crate) fn metric(name: &str, value: f64) -> String {
    match name {
        // The cast saturates, and a count is whole.
        "rows" => count(value as u64),
        _ if name.ends_with("accuracy") => percent(value),
        _ => number(value),
    }
}

/// Characters of a UUID version 7 that say the millisecond.
const TIME_OF_ID: usize = 13;

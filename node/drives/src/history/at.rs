//! How people name an earlier state: a version's number or hash, a time, a tag. Pure: the time is an argument.

use p2p_identity::VersionRef;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Longest tag, in bytes.
pub const MAX_TAG_BYTES: usize = 64;

/// An earlier state of a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// The owner's version, or the head with this hash.
    Version(VersionRef),
    /// The newest version that stood at this time, in milliseconds since 1970.
    Time(u64),
    /// The version with this tag on this node.
    Tag(String),
}

impl At {
    /// Reads `12`, the beginning of a head's hash (16 to 52 characters), `yesterday`, `2 days ago`, `90 min ago`,
    /// `2026-11-25`, `2026-11-25 14:30` (UTC), or a tag. `None` for anything else, and for times that never were.
    pub fn parse(text: &str, now_ms: u64) -> Option<Self> {
        let text = text.trim();
        if let Ok(version) = text.parse::<VersionRef>() {
            return Some(Self::Version(version));
        }
        if let Some(time) = ago(&text.to_ascii_lowercase(), now_ms).or_else(|| date(text)) {
            return Some(Self::Time(time));
        }
        is_tag(text).then(|| Self::Tag(text.to_owned()))
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(VersionRef::Counter(counter)) => write!(f, "version {counter}"),
            Self::Version(VersionRef::Head(hash)) => write!(f, "version {hash}"),
            Self::Time(_) => f.write_str("a version of that time"),
            Self::Tag(name) => write!(f, "a version with the tag {name:?}"),
        }
    }
}

/// Whether a tag may be called so: a letter, then letters, digits and `-_.`, 64 bytes at most, and no word for a time
/// or a version.
pub fn is_tag(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= MAX_TAG_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(is_word)
        && !matches!(name.to_ascii_lowercase().as_str(), "yesterday" | "now" | "today")
        && name.parse::<VersionRef>().is_err()
}

/// `yesterday`: a day ago. `now`.
fn ago(text: &str, now_ms: u64) -> Option<u64> {
    match text {
        "now" => return Some(now_ms),
        "yesterday" => return now_ms.checked_sub(DAY_MS),
        _ => {}
    }
    let span = text.strip_suffix("ago")?.trim();
    let digits = span.find(|c: char| !c.is_ascii_digit()).unwrap_or(span.len());
    let (number, unit) = span.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit_ms = match unit.trim() {
        "s" | "sec" | "second" | "seconds" => SECOND_MS,
        "m" | "min" | "minute" | "minutes" => MINUTE_MS,
        "h" | "hour" | "hours" => HOUR_MS,
        "d" | "day" | "days" => DAY_MS,
        "w" | "week" | "weeks" => 7 * DAY_MS,
        "month" | "months" => 30 * DAY_MS,
        "y" | "year" | "years" => 365 * DAY_MS,
        _ => return None,
    };
    now_ms.checked_sub(number.checked_mul(unit_ms)?)
}

/// `YYYY-MM-DD`, then perhaps `hh:mm` or `hh:mm:ss` behind a space or `T`, and a `Z`. UTC. A day alone is its beginning.
fn date(text: &str) -> Option<u64> {
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let (day, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00"));
    let mut parts = day.split('-').map(|part| number(part, 4));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    if !(1..=days_of_month(year, month)).contains(&day) {
        return None;
    }
    let mut parts = time.trim().split(':').map(|part| number(part, 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_before_year(year) + (1..month).map(|m| days_of_month(year, m)).sum::<u64>() + day - 1;
    Some(days * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS)
}

/// `2026-11-25`: the day of a time in milliseconds since 1970, in UTC.
pub(crate) fn day_text(ms: u64) -> String {
    let mut days = ms / DAY_MS;
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", days + 1)
}

fn number(text: &str, most_digits: usize) -> Option<u64> {
    let is_good = (1..=most_digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_good.then(|| text.parse().ok())?
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970 to the beginning of a year.
fn days_before_year(year: u64) -> u64 {
    (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_795_000_000_000;

    fn time(text: &str) -> Option<u64> {
        match At::parse(text, NOW) {
            Some(At::Time(time)) => Some(time),
            _ => None,
        }
    }

    #[test]
    fn versions_times_and_tags() {
        assert_eq!(At::parse("3", NOW), Some(At::Version(VersionRef::Counter(3))));
        let hash = "y".repeat(16);
        assert_eq!(At::parse(&hash, NOW), Some(At::Version(VersionRef::Head(hash))));
        assert_eq!(At::parse("v1.0-final", NOW), Some(At::Tag("v1.0-final".into())));
        for nonsense in [
            "",
            "0",
            "-1",
            "a b",
            "2 fortnights ago",
            "2026-13-01",
            "2026-02-29",
            "2026-1",
            "a/b",
            "99999999999999 years ago",
        ] {
            assert_eq!(At::parse(nonsense, NOW), None, "{nonsense:?}");
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(time("yesterday"), Some(NOW - DAY_MS));
        assert_eq!(time(" 2 days ago "), Some(NOW - 2 * DAY_MS));
        assert_eq!(time("1 Week ago"), Some(NOW - 7 * DAY_MS));
        assert_eq!(time("90min ago"), Some(NOW - 90 * MINUTE_MS));
        assert_eq!(time("1970-01-01"), Some(0));
        assert_eq!(time("2000-02-29T12:30:15Z"), Some(951_827_415_000));
        assert_eq!(time("2026-11-26 08:05"), Some(1_795_680_300_000));
        assert_eq!(time("1969-12-31"), None);
    }

    proptest! {
        #[test]
        fn a_day_is_read_back(ms in 0_u64..200_000_000_000_000) {
            prop_assert_eq!(date(&day_text(ms)), Some(ms / DAY_MS * DAY_MS).filter(|_| day_text(ms).len() == 10));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,30}", now: u64) {
            let _ = At::parse(&text, now);
        }

        #[test]
        fn a_tag_is_read_back_as_itself(name in "[a-zA-Z][a-zA-Z0-9._-]{0,20}") {
            if is_tag(&name) {
                prop_assert_eq!(At::parse(&name, NOW), Some(At::Tag(name)));
            }
        }
    }
}

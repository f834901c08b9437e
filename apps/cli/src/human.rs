//! Sizes, counts, times and names for people.

use std::fmt::Write;
use std::time::Duration;

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `0 B`, `1.5 KiB`, `184 MiB`: one decimal below ten.
pub(crate) fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would print as 1024.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit = UNITS[unit];
    // 9.95 would print as 10.0.
    if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// `1,204`.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `1,204 files`.
pub(crate) fn count(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(value), if value == 1 { one } else { many })
}

/// `0.9 s`, `75 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub(crate) fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..=119 => format!("{whole} s"),
        120..=7_199 => format!("{} min {} s", whole / 60, whole % 60),
        7_200..=172_799 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// `2026-11-22 14:03`, in UTC, from nanoseconds since 1970.
pub(crate) fn date(nanoseconds: i64) -> String {
    let minutes = nanoseconds.div_euclid(60_000_000_000);
    let (days, minute) = (minutes.div_euclid(1_440), minutes.rem_euclid(1_440));
    let (year, month, day) = civil_of_days(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minute / 60, minute % 60)
}

/// Year, month and day of the days since 1970-01-01 in the Gregorian calendar. Years begin in March, so that the leap
/// day is the last of its year, and are counted in eras of 400, which all have 146,097 days.
fn civil_of_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// `drwxr-xr-x`.
pub(crate) fn mode(kind: char, mode: u16) -> String {
    let mut text = String::from(kind);
    for (at, letter) in "rwxrwxrwx".chars().enumerate() {
        text.push(if mode & (0o400 >> at) == 0 { '-' } else { letter });
    }
    text
}

/// Names come from strangers: control characters, which terminals obey, are written as escapes.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Marks that turn the direction of writing can make one name look like another.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
            }
            c if c.is_control() => safe.extend(c.escape_default()),
            c => safe.push(c),
        }
    }
    safe
}

/// `90`, `90s`, `10m`, `12h`, `7d`, `2w`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(at);
    let number: u64 = digits.parse().map_err(|_| "not a duration: 30s, 10m, 12h, 7d".to_owned())?;
    let factor = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "y" => 365 * 86_400,
        _ => return Err(format!("{unit:?} is no unit: s, m, h, d, w")),
    };
    let seconds = number.checked_mul(factor).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(|| "out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (size, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10_189, "10 KiB"),
            (184 << 20, "184 MiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(size), text, "{size}");
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!((number(0), number(999), number(1_204)), ("0".into(), "999".into(), "1,204".into()));
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(count(1, "file", "files"), "1 file");
    }

    #[test]
    fn durations_are_short() {
        for (value, text) in
            [(0.04, "0.0 s"), (0.9, "0.9 s"), (9.96, "10 s"), (200.0, "3 min 20 s"), (7_500.0, "2 h 5 min")]
        {
            assert_eq!(seconds(value), text);
        }
    }

    #[test]
    fn dates_follow_the_calendar() {
        let of_seconds = |seconds: i64| date(seconds * 1_000_000_000);
        assert_eq!(of_seconds(0), "1970-01-01 00:00");
        assert_eq!(of_seconds(-1), "1969-12-31 23:59");
        assert_eq!(of_seconds(951_782_400), "2000-02-29 00:00");
        assert_eq!(of_seconds(1_767_225_599), "2025-12-31 23:59");
        assert_eq!(of_seconds(4_107_542_400), "2100-03-01 00:00");
    }

    #[test]
    fn modes_look_as_in_ls() {
        assert_eq!(mode('-', 0o644), "-rw-r--r--");
        assert_eq!(mode('d', 0o755), "drwxr-xr-x");
    }

    proptest! {
        #[test]
        fn nothing_printed_moves_the_cursor(text: String) {
            prop_assert!(!printable(&text).chars().any(char::is_control));
        }

        #[test]
        fn every_time_and_size_has_a_text(time: i64, size: u64, length: f64) {
            prop_assert!(date(time).len() >= 16);
            prop_assert!(bytes(size).len() <= 10);
            seconds(length);
        }

        #[test]
        fn days_follow_each_other(day in -1_000_000_i64..1_000_000) {
            let (today, tomorrow) = (civil_of_days(day), civil_of_days(day + 1));
            prop_assert!(today < tomorrow);
            prop_assert!(tomorrow.2 == today.2 + 1 || (tomorrow.2 == 1 && today.2 >= 28));
        }
    }

    #[test]
    fn durations_have_units() {
        for (text, seconds) in
            [("90", 90), ("30s", 30), ("10m", 600), ("12h", 43_200), ("1d", 86_400), ("2w", 1_209_600)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "d", "1x", "0s", "-1d", "99999999999999999999d", "1.5d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}

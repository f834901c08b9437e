//! Findings about a node's clock and about what may grow.

use super::{Area, Finding, Level, count, finding, mib};
use crate::{Bound, BoundUnit, ClockCheck, Health};

/// A clock that is off by more than this misleads others, in milliseconds (specs/overlay.md, 9).
const CLOCK_OFF_MS: u64 = 60_000;

/// What a node's condition says that people want to know unasked.
pub(super) fn health(health: &Health) -> Vec<Finding> {
    let full = rooms(health).into_iter().filter(|finding| finding.level != Level::Good);
    clock(health.clock).into_iter().chain(full).collect()
}

/// How full everything is that others can make grow.
pub fn rooms(health: &Health) -> Vec<Finding> {
    health.bounds.iter().map(|bound| Finding { area: Area::Memory, ..fullness(bound) }).collect()
}

fn clock(check: ClockCheck) -> Option<Finding> {
    const TITLE: &str = "Clock beside others";
    let ahead_ms = check.ahead_ms?;
    let told = count(check.peers.into(), "peer", "peers");
    if ahead_ms.unsigned_abs() <= CLOCK_OFF_MS {
        let what = format!("the clock agrees with that of {told}, to {} ms", ahead_ms.unsigned_abs());
        return Some(finding(Level::Good, TITLE, what, None));
    }
    let way = if ahead_ms > 0 { "ahead of" } else { "behind" };
    let what = format!("the clock is {} s {way} the median of {told}", ahead_ms.unsigned_abs() / 1_000);
    Some(finding(
        Level::Bad,
        TITLE,
        format!("{what}: names seem to have expired, or not to have begun, and others refuse new versions"),
        Some("set the clock, or let the system do so: timedatectl set-ntp true"),
    ))
}

/// How full one thing is. What is full refuses, or lets the oldest go: that is what it is for, and worth a word.
fn fullness(bound: &Bound) -> Finding {
    const TITLE: &str = "Room";
    let told = |number: u64| match bound.unit {
        BoundUnit::Count => number.to_string(),
        BoundUnit::Bytes if number < 1024 * 1024 => format!("{} KiB", number / 1024),
        BoundUnit::Bytes => mib(number),
    };
    let what = format!("{}: {} of at most {}", bound.name, told(bound.used), told(bound.most));
    match bound.most > 0 && bound.used >= bound.most {
        true => finding(
            Level::Warn,
            TITLE,
            format!("{what}, so it is full"),
            Some(
                "what comes now is refused, or pushes out the oldest; p2p api GET /v1/metrics counts what was refused",
            ),
        ),
        false => finding(Level::Good, TITLE, what, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_a_minute_off_is_told() {
        let at = |ahead_ms| clock(ClockCheck { peers: 3, ahead_ms });
        assert!(at(None).is_none());
        assert_eq!(at(Some(-60_000)).unwrap().level, Level::Good);
        let behind = at(Some(-90_500)).unwrap();
        assert_eq!(behind.level, Level::Bad);
        assert!(behind.what.starts_with("the clock is 90 s behind the median of 3 peers"), "{}", behind.what);
        assert!(at(Some(i64::MIN)).unwrap().what.contains("behind"));
    }

    #[test]
    fn what_is_full_is_told() {
        let bound = |used, unit| fullness(&Bound { name: "values".into(), unit, used, most: 2 << 20 });
        let good = bound(5, BoundUnit::Count);
        assert_eq!((good.level, good.what.as_str()), (Level::Good, "values: 5 of at most 2097152"));
        let full = bound(2 << 20, BoundUnit::Bytes);
        assert_eq!((full.level, full.what.as_str()), (Level::Warn, "values: 2 MiB of at most 2 MiB, so it is full"));
    }
}

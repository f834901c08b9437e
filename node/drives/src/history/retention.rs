//! Which versions stay: everything for a day, the last of every hour for a week, the last of every day for a month, then
//! only what was tagged (specs/drives.md, 11, rule 2). Pure: the time is an argument.

use std::collections::HashMap;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Every version younger than this stays.
const ALL_MS: u64 = DAY_MS;
/// Up to this age the last version of every hour (UTC) stays.
const HOURLY_MS: u64 = 7 * DAY_MS;
/// Up to this age the last version of every day (UTC) stays.
const DAILY_MS: u64 = 30 * DAY_MS;

/// A version as retention sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retained {
    /// Its writer's counter.
    pub counter: u64,
    /// When it was made, in milliseconds since 1970. A later version of the same writer is never older.
    pub time_ms: u64,
    /// Whether it has a name that keeps it for ever.
    pub is_tagged: bool,
}

/// The counters of the versions of one writer that need not be kept any longer at `now_ms`. The newest always stays.
///
/// What is dropped does not depend on how often this was asked before: the last version of a day is also the last of its
/// hour, so it is still there when its day is all that counts.
pub fn dropped(versions: &[Retained], now_ms: u64) -> Vec<u64> {
    let newest = versions.iter().map(|version| version.counter).max();
    let last_of = |length: u64| {
        let mut last: HashMap<u64, u64> = HashMap::new();
        for version in versions {
            let counter = last.entry(version.time_ms / length).or_default();
            *counter = (*counter).max(version.counter);
        }
        last
    };
    let (hours, days) = (last_of(HOUR_MS), last_of(DAY_MS));
    let stays = |version: &&Retained| {
        let is_last =
            |last: &HashMap<u64, u64>, length| last.get(&(version.time_ms / length)) == Some(&version.counter);
        // A clock that was ahead makes a version younger than now: it stays.
        match now_ms.saturating_sub(version.time_ms) {
            _ if version.is_tagged || Some(version.counter) == newest => true,
            age if age < ALL_MS => true,
            age if age < HOURLY_MS => is_last(&hours, HOUR_MS),
            age if age < DAILY_MS => is_last(&days, DAY_MS),
            _ => false,
        }
    };
    versions.iter().filter(|version| !stays(version)).map(|version| version.counter).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Versions with rising counters and times, as one writer makes them.
    fn history() -> impl Strategy<Value = Vec<Retained>> {
        proptest::collection::vec((0..4 * HOUR_MS, any::<u8>()), 0..300).prop_map(|steps| {
            let mut time_ms = 1_000 * DAY_MS;
            let made = steps.into_iter().enumerate().map(|(index, (step, tag))| {
                time_ms += step;
                Retained { counter: index as u64 + 1, time_ms, is_tagged: tag < 8 }
            });
            made.collect()
        })
    }

    fn without(versions: &[Retained], gone: &[u64]) -> Vec<Retained> {
        versions.iter().filter(|version| !gone.contains(&version.counter)).copied().collect()
    }

    #[test]
    fn a_day_a_week_a_month() {
        let now = 1_000 * DAY_MS;
        // Every ten minutes for 40 days.
        let versions: Vec<_> = (0..40 * 24 * 6)
            .map(|n| Retained { counter: n + 1, time_ms: now - 40 * DAY_MS + n * 600_000, is_tagged: n == 0 })
            .collect();
        let kept = without(&versions, &dropped(&versions, now));
        let aged = |from, to| kept.iter().filter(|v| (from..to).contains(&(now - v.time_ms))).count();
        assert_eq!(aged(0, ALL_MS), 24 * 6 - 1, "all of a day");
        assert_eq!(aged(ALL_MS, HOURLY_MS), 6 * 24, "hourly for the rest of a week");
        assert_eq!(aged(HOURLY_MS, DAILY_MS), 23, "daily for the rest of a month");
        assert_eq!(aged(DAILY_MS, u64::MAX), 1, "then only what was tagged");
        assert!(dropped(&[], now).is_empty());
    }

    proptest! {
        #[test]
        fn the_newest_the_tagged_and_the_young_stay(versions in history(), later in 0..60 * DAY_MS) {
            let now = versions.last().map_or(0, |v| v.time_ms) + later;
            let gone = dropped(&versions, now);
            for version in &versions {
                let must_stay = version.is_tagged
                    || now - version.time_ms < ALL_MS
                    || version.counter == versions.len() as u64;
                prop_assert!(!must_stay || !gone.contains(&version.counter), "{version:?}");
            }
        }

        #[test]
        fn asking_in_between_changes_nothing(
            versions in history(),
            waits in proptest::collection::vec(0..9 * DAY_MS, 1..8),
        ) {
            let mut now = versions.last().map_or(0, |v| v.time_ms);
            let mut kept = versions.clone();
            for wait in waits {
                now += wait;
                kept = without(&kept, &dropped(&kept, now));
            }
            prop_assert_eq!(kept, without(&versions, &dropped(&versions, now)));
        }

        #[test]
        fn what_is_kept_is_bounded_by_time(versions in history(), later in 0..60 * DAY_MS) {
            let now = versions.last().map_or(0, |v| v.time_ms) + later;
            let kept = without(&versions, &dropped(&versions, now));
            let old = kept.iter().filter(|v| !v.is_tagged && now - v.time_ms >= ALL_MS).count();
            prop_assert!(old <= 7 * 24 + 31 + 1, "{old}");
        }
    }
}

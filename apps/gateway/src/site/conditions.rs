//! Conditional requests (RFC 9110, section 13). The entity tag is the hash of the content, so it is always a strong one.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, header};
use p2p_api::TreeEntry;

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer as if there were none.
    Send,
    /// The client has it (status 304).
    NotModified,
    /// What the client wants to go on with has changed (status 412).
    Failed,
}

/// The entity tag, with its quotes.
pub(crate) fn entity_tag(entry: &TreeEntry) -> String {
    format!("\"{}\"", entry.hash)
}

/// The modification time as HTTP says it, where the entry has one that can be true.
pub(crate) fn last_modified(entry: &TreeEntry, now: SystemTime) -> Option<String> {
    let nanoseconds = u64::try_from(entry.mtime).ok().filter(|time| *time > 0)?;
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))?;
    (time <= now).then(|| httpdate::fmt_http_date(time))
}

/// Weighs `If-Match`, `If-None-Match` and, only without the latter, `If-Modified-Since`.
pub(crate) fn verdict(headers: &HeaderMap, tag: &str, modified: Option<&str>) -> Verdict {
    if headers.contains_key(header::IF_MATCH) && !names(headers, &header::IF_MATCH, tag) {
        return Verdict::Failed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        let is_known = names(headers, &header::IF_NONE_MATCH, tag);
        return if is_known { Verdict::NotModified } else { Verdict::Send };
    }
    // Compared as text: an owner's clock can run backwards, so a later date proves nothing.
    let since = headers.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    match (since, modified) {
        (Some(since), Some(modified)) if since.trim() == modified => Verdict::NotModified,
        _ => Verdict::Send,
    }
}

/// Whether a range may be answered: `If-Range` is missing or names the same content. A date never does, because two
/// contents may have one.
pub(crate) fn range_is_fresh(headers: &HeaderMap, tag: &str) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|value| value.as_bytes() == tag.as_bytes())
}

fn names(headers: &HeaderMap, name: &HeaderName, tag: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|named| {
        let named = named.trim();
        named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use p2p_api::{ContentId, EntryKind};

    use super::*;

    const DATE: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

    fn check(headers: &[(HeaderName, &'static str)]) -> Verdict {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        verdict(&headers, "\"abc\"", Some(DATE))
    }

    #[test]
    fn a_known_tag_is_not_sent_again() {
        for tag in ["\"abc\"", "\"x\", \"abc\"", "W/\"abc\"", "*"] {
            assert_eq!(check(&[(header::IF_NONE_MATCH, tag)]), Verdict::NotModified, "{tag}");
        }
        for tag in ["\"ab\"", "abc", "", "\"ABC\""] {
            assert_eq!(check(&[(header::IF_NONE_MATCH, tag)]), Verdict::Send, "{tag}");
        }
    }

    #[test]
    fn a_date_counts_only_without_a_tag() {
        assert_eq!(check(&[(header::IF_MODIFIED_SINCE, DATE)]), Verdict::NotModified);
        assert_eq!(check(&[(header::IF_MODIFIED_SINCE, "Fri, 02 Jan 2026 00:00:00 GMT")]), Verdict::Send);
        assert_eq!(check(&[(header::IF_MODIFIED_SINCE, DATE), (header::IF_NONE_MATCH, "\"x\"")]), Verdict::Send);
    }

    #[test]
    fn another_content_fails_a_match() {
        assert_eq!(check(&[(header::IF_MATCH, "\"x\"")]), Verdict::Failed);
        assert_eq!(check(&[(header::IF_MATCH, "\"abc\"")]), Verdict::Send);
    }

    #[test]
    fn a_range_needs_the_same_tag() {
        let with = |value| HeaderMap::from_iter([(header::IF_RANGE, HeaderValue::from_static(value))]);
        assert!(range_is_fresh(&HeaderMap::new(), "\"abc\""));
        assert!(range_is_fresh(&with("\"abc\""), "\"abc\""));
        for other in ["\"x\"", "W/\"abc\"", DATE] {
            assert!(!range_is_fresh(&with(other), "\"abc\""), "{other}");
        }
    }

    #[test]
    fn times_that_cannot_be_true_are_not_told() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let entry = |mtime| TreeEntry {
            path: String::new(),
            kind: EntryKind::File,
            size: 0,
            mtime,
            mode: 0,
            hash: ContentId::of(b""),
        };
        assert_eq!(last_modified(&entry(1_767_225_600_000_000_000), now).as_deref(), Some(DATE));
        for mtime in [i64::MIN, -1, 0, 1_767_225_601_000_000_000, i64::MAX] {
            assert_eq!(last_modified(&entry(mtime), now), None, "{mtime}");
        }
    }
}

//! Lists in pages: `?limit=` and `?cursor=`, and the cursor of the next page with the answer (specs/overlay.md, 2.2).
//! Without a limit a list comes whole. Lists that have no bound come a line at a time instead, and need no cursor.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use crate::routes::{self, MAX_PAGE};
use crate::{ApiError, Result};

/// Bytes of a cursor: a place and the first bytes of a hash.
const CURSOR_BYTES: usize = 16;

/// Which part of a list is asked for; stands in the query of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PageQuery {
    /// At most so many items, 1 to [`MAX_PAGE`].
    pub limit: Option<u32>,
    /// What the last page's answer said.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// Reads it from a query; other parameters are left alone.
    ///
    /// # Errors
    /// `invalid_input` where the limit is no number.
    pub fn from_query(query: &str) -> Result<Self> {
        let mut page = Self::default();
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "limit" => {
                    let no_number = |_| ApiError::invalid(format!("limit={value:?} is no number"));
                    page.limit = Some(value.parse().map_err(no_number)?);
                }
                "cursor" => page.cursor = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(page)
    }
}

/// Where a page ended: the last item, and its place. The item is looked for, so that what is added or removed before it
/// moves nothing; if it is gone itself, the next one stands in its place now.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// The place.
    pub at: u64,
    after: [u8; 8],
}

impl Cursor {
    /// Behind the item with this key at this place.
    pub fn new(at: u64, key: &str) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(key.as_bytes()).as_bytes();
        Self { at, after: [a, b, c, d, e, f, g, h] }
    }

    /// The cursor of a text.
    ///
    /// # Errors
    /// `invalid_input` for anything that [`Self::to_text`] did not make.
    pub fn parse(text: &str) -> Result<Self> {
        let mut bytes = [0; CURSOR_BYTES];
        let is_one = BASE64URL_NOPAD.decode_len(text.len()) == Ok(CURSOR_BYTES)
            && BASE64URL_NOPAD.decode_mut(text.as_bytes(), &mut bytes).is_ok();
        if !is_one {
            let error = ApiError::invalid("that is no cursor");
            return Err(error.with_hint(format!("send what the header {} of the last page said", routes::NEXT_CURSOR)));
        }
        let value = u128::from_be_bytes(bytes);
        Ok(Self { at: (value >> 64) as u64, after: (value as u64).to_be_bytes() })
    }

    /// Its text, opaque to whoever gets it.
    pub fn to_text(self) -> String {
        let value = (u128::from(self.at) << 64) | u128::from(u64::from_be_bytes(self.after));
        BASE64URL_NOPAD.encode(&value.to_be_bytes())
    }

    /// Whether it stands behind the item with this key.
    pub fn is_after(self, key: &str) -> bool {
        Self::new(self.at, key).after == self.after
    }

    fn start<T>(self, items: &[T], key: impl Fn(&T) -> String) -> usize {
        let at = usize::try_from(self.at).unwrap_or(usize::MAX);
        let is_it = |item: &T| self.is_after(&key(item));
        // Usually it is where it was.
        let place = if items.get(at).is_some_and(is_it) { Some(at) } else { items.iter().position(is_it) };
        place.map_or(at, |place| place + 1)
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<'a, T> {
    /// The items.
    pub items: &'a [T],
    /// The cursor of the next page; `None` with the last.
    pub next: Option<String>,
}

impl<'a, T> Page<'a, T> {
    /// The part of a list that a query asks for. `key` tells items apart.
    ///
    /// # Errors
    /// `invalid_input` for a limit out of bounds, or a text that is no cursor.
    pub fn of(items: &'a [T], query: &PageQuery, key: impl Fn(&T) -> String) -> Result<Self> {
        let start = match &query.cursor {
            Some(cursor) => Cursor::parse(cursor)?.start(items, &key),
            None => 0,
        };
        let rest = items.get(start..).unwrap_or_default();
        let Some(limit) = query.limit else { return Ok(Self { items: rest, next: None }) };
        if limit == 0 || limit > MAX_PAGE {
            return Err(ApiError::invalid(format!("limit={limit} is not between 1 and {MAX_PAGE}")));
        }
        let some = rest.get(..limit as usize).unwrap_or(rest);
        let next = some.last().filter(|_| some.len() < rest.len());
        let next = next.map(|last| Cursor::new((start + some.len() - 1) as u64, &key(last)).to_text());
        Ok(Self { items: some, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask<'a>(items: &'a [u32], query: &str) -> Option<Page<'a, u32>> {
        Page::of(items, &PageQuery::from_query(query).ok()?, u32::to_string).ok()
    }

    fn next(items: &[u32], limit: u32, cursor: &str) -> (Vec<u32>, Option<String>) {
        let page = ask(items, &format!("limit={limit}&cursor={cursor}")).expect("a page");
        (page.items.to_vec(), page.next)
    }

    #[test]
    fn pages_make_up_the_whole() {
        let items: Vec<u32> = (0..10).collect();
        assert_eq!(ask(&items, ""), Some(Page { items: &items, next: None }));
        let first = ask(&items, "other=1&limit=4").expect("a page");
        let (mut all, mut cursor) = (first.items.to_vec(), first.next);
        assert_eq!(all.len(), 4);
        while let Some(at) = cursor {
            let (more, after) = next(&items, 4, &at);
            assert!(more.len() <= 4 && !more.is_empty());
            all.extend(more);
            cursor = after;
        }
        assert_eq!(all, items);
        assert_eq!(ask(&items, "limit=10").expect("a page").next, None, "nothing is left");
        assert_eq!(ask(&[], "limit=10"), Some(Page { items: &[], next: None }));
    }

    #[test]
    fn a_list_that_changes_meanwhile_loses_and_repeats_nothing_that_stays() {
        let cursor = ask(&[1, 2, 3, 4, 5, 6], "limit=3").expect("a page").next.expect("more");
        assert_eq!(next(&[9, 1, 2, 3, 4, 5, 6], 9, &cursor).0, [4, 5, 6], "one more before it");
        assert_eq!(next(&[2, 3, 4, 5, 6], 9, &cursor).0, [4, 5, 6], "one less before it");
        assert_eq!(next(&[1, 2, 4, 5, 6], 9, &cursor).0, [4, 5, 6], "the last one itself is gone");
        assert_eq!(next(&[1], 9, &cursor), (Vec::new(), None));
    }

    #[test]
    fn nonsense_is_refused() {
        for query in ["limit=0", "limit=1001", "limit=-1", "limit=x", "cursor=x", "cursor=e30", "limit=3&cursor=%00"] {
            assert!(ask(&[1, 2], query).is_none(), "{query}");
        }
        assert!(ask(&[1], &format!("cursor={}", "A".repeat(9_000))).is_none());
    }
}

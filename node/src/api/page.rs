//! Lists in pages: `?limit=` and `?cursor=`, and the cursor of the next page in a header of the answer (specs/overlay.md,
//! 2.2). Without a limit a list comes whole, as it always did. Lists that have no bound come a line at a time instead, and
//! need no cursor.

use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderValue, Uri};
use p2p_api::ApiError;
use p2p_api::routes::{self, MAX_PAGE};
use serde::{Deserialize, Serialize};

use super::body::{json, query};
use super::problem::Refusal;

/// Bytes of a cursor: a place and the first bytes of a hash.
const CURSOR_BYTES: usize = 16;

#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) limit: Option<u32>,
    pub(super) cursor: Option<String>,
}

/// Where a page ended: the last item, and its place. The item is looked for, so that what is added or removed before it
/// moves nothing; if it is gone itself, the next one stands in its place now.
#[derive(Clone, Copy)]
pub(super) struct Cursor {
    pub(super) at: u64,
    after: [u8; 8],
}

impl Cursor {
    pub(super) fn new(at: u64, key: &str) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(key.as_bytes()).as_bytes();
        Self { at, after: [a, b, c, d, e, f, g, h] }
    }

    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut bytes = [0; CURSOR_BYTES];
        let is_one = BASE64URL_NOPAD.decode_len(text.len()) == Ok(CURSOR_BYTES)
            && BASE64URL_NOPAD.decode_mut(text.as_bytes(), &mut bytes).is_ok();
        if !is_one {
            let error = ApiError::invalid("that is no cursor");
            let hint = format!("send what the header {} of the last page said", routes::NEXT_CURSOR);
            return Err(error.with_hint(hint).into());
        }
        let value = u128::from_be_bytes(bytes);
        Ok(Self { at: (value >> 64) as u64, after: (value as u64).to_be_bytes() })
    }

    /// Whether it stands behind the item with this key.
    pub(super) fn is_after(self, key: &str) -> bool {
        Self::new(self.at, key).after == self.after
    }

    /// Tells an answer where the next page begins.
    pub(super) fn put_into(self, answer: &mut Response) -> Result<(), Refusal> {
        let value = (u128::from(self.at) << 64) | u128::from(u64::from_be_bytes(self.after));
        let text = BASE64URL_NOPAD.encode(&value.to_be_bytes());
        let text = HeaderValue::from_str(&text).map_err(|error| ApiError::internal(error.to_string()))?;
        answer.headers_mut().insert(routes::NEXT_CURSOR, text);
        Ok(())
    }

    fn start<T>(self, items: &[T], key: impl Fn(&T) -> String) -> usize {
        let at = usize::try_from(self.at).unwrap_or(usize::MAX);
        let is_it = |item: &T| self.is_after(&key(item));
        // Usually it is where it was.
        let place = if items.get(at).is_some_and(is_it) { Some(at) } else { items.iter().position(is_it) };
        place.map_or(at, |place| place + 1)
    }
}

/// How many items a page may have.
pub(super) fn limit(asked: u32) -> Result<usize, Refusal> {
    if asked == 0 || asked > MAX_PAGE {
        return Err(ApiError::invalid(format!("limit={asked} is not between 1 and {MAX_PAGE}")).into());
    }
    Ok(asked as usize)
}

/// The page of a list that a query asks for. `key` tells items apart.
pub(super) fn page<T: Serialize>(uri: &Uri, items: &[T], key: impl Fn(&T) -> String) -> Result<Response, Refusal> {
    let Page { limit: asked, cursor } = query(uri)?;
    let start = match &cursor {
        Some(cursor) => Cursor::parse(cursor)?.start(items, &key),
        None => 0,
    };
    let rest = items.get(start..).unwrap_or_default();
    let Some(asked) = asked else { return json(&rest) };
    let some = rest.get(..limit(asked)?).unwrap_or(rest);
    let mut answer = json(&some)?;
    if let Some(last) = some.last()
        && some.len() < rest.len()
    {
        Cursor::new((start + some.len() - 1) as u64, &key(last)).put_into(&mut answer)?;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn ask(items: &[u32], query: &str) -> Option<(Vec<u32>, Option<String>)> {
        let uri = format!("/v1/x?{query}").parse().expect("a path");
        let answer = page(&uri, items, u32::to_string).ok()?;
        let next = answer.headers().get(routes::NEXT_CURSOR).map(|next| next.to_str().expect("text").to_owned());
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        Some((serde_json::from_slice(&body).expect("numbers"), next))
    }

    async fn next(items: &[u32], limit: u32, cursor: &str) -> (Vec<u32>, Option<String>) {
        ask(items, &format!("limit={limit}&cursor={cursor}")).await.expect("a page")
    }

    #[tokio::test]
    async fn pages_make_up_the_whole() {
        let items: Vec<u32> = (0..10).collect();
        assert_eq!(ask(&items, "").await, Some((items.clone(), None)));
        let (mut all, mut cursor) = ask(&items, "limit=4").await.expect("a page");
        assert_eq!(all.len(), 4);
        while let Some(at) = cursor {
            let (more, after) = next(&items, 4, &at).await;
            assert!(more.len() <= 4 && !more.is_empty());
            all.extend(more);
            cursor = after;
        }
        assert_eq!(all, items);
        assert_eq!(ask(&items, "limit=10").await.expect("a page").1, None, "nothing is left");
        assert_eq!(ask(&[], "limit=10").await, Some((Vec::new(), None)));
    }

    #[tokio::test]
    async fn a_list_that_changes_meanwhile_loses_and_repeats_nothing_that_stays() {
        let (_, cursor) = ask(&[1, 2, 3, 4, 5, 6], "limit=3").await.expect("a page");
        let cursor = cursor.expect("more");
        assert_eq!(next(&[9, 1, 2, 3, 4, 5, 6], 9, &cursor).await.0, [4, 5, 6], "one more before it");
        assert_eq!(next(&[2, 3, 4, 5, 6], 9, &cursor).await.0, [4, 5, 6], "one less before it");
        assert_eq!(next(&[1, 2, 4, 5, 6], 9, &cursor).await.0, [4, 5, 6], "the last one itself is gone");
        assert_eq!(next(&[1], 9, &cursor).await, (Vec::new(), None));
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        for query in ["limit=0", "limit=1001", "limit=-1", "limit=x", "cursor=x", "cursor=e30", "limit=3&cursor=%00"] {
            assert!(ask(&[1, 2], query).await.is_none(), "{query}");
        }
        assert!(ask(&[1], &format!("cursor={}", "A".repeat(9_000))).await.is_none());
    }
}

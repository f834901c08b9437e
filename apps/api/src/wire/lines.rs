//! Bytes into lines into values, with a bound on every line.

use bytes::{Buf, Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use serde::de::DeserializeOwned;

use super::{ErrorLine, MAX_JSON_DEPTH, is_nested_deeper};
use crate::{ApiError, Result};

/// A line is longer than the reader takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {max} bytes")]
pub struct LineTooLong {
    /// The limit, in bytes.
    pub max: usize,
}

/// Cuts bytes into lines. Holds at most one unfinished line and the bytes of the last push.
#[derive(Debug)]
pub struct LineSplitter {
    buffer: BytesMut,
    /// Bytes at the front that are known to hold no line end.
    scanned: usize,
    max: usize,
}

impl LineSplitter {
    /// Lines of at most `max` bytes, the line end not counted.
    pub fn new(max: usize) -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, max }
    }

    /// Adds bytes. Take all lines out before the next push.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete line without its end, if there is one.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        let end = self.buffer.iter().skip(self.scanned).position(|byte| *byte == b'\n');
        let Some(end) = end.map(|at| at + self.scanned) else {
            self.scanned = self.buffer.len();
            return if self.scanned > self.max { Err(self.too_long()) } else { Ok(None) };
        };
        self.scanned = 0;
        let mut line = self.buffer.split_to(end);
        self.buffer.advance(1);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        if line.len() > self.max { Err(self.too_long()) } else { Ok(Some(line.freeze())) }
    }

    /// What is left when no more bytes come: a last line without an end.
    pub fn finish(&mut self) -> Option<Bytes> {
        self.scanned = 0;
        Some(self.buffer.split().freeze()).filter(|rest| !rest.is_empty())
    }

    fn too_long(&self) -> LineTooLong {
        LineTooLong { max: self.max }
    }
}

/// The lines of a body, empty ones left out, each at most `max` bytes. The first error ends the stream.
pub fn lines<S>(body: S, max: usize) -> BoxStream<'static, Result<Bytes>>
where
    S: Stream<Item = Result<Bytes>> + Send + Unpin + 'static,
{
    let start = (Some(body), LineSplitter::new(max));
    stream::unfold(start, |(mut body, mut splitter)| async move {
        loop {
            match splitter.next_line() {
                Ok(Some(line)) if line.is_empty() => continue,
                Ok(Some(line)) => return Some((Ok(line), (body, splitter))),
                Ok(None) => {}
                Err(error) => return Some((Err(ApiError::invalid(error.to_string())), (None, LineSplitter::new(0)))),
            }
            match body.as_mut()?.next().await {
                Some(Ok(bytes)) => splitter.push(&bytes),
                Some(Err(error)) => return Some((Err(error), (None, LineSplitter::new(0)))),
                None => {
                    let rest = splitter.finish()?;
                    return Some((Ok(rest), (None, splitter)));
                }
            }
        }
    })
    .boxed()
}

/// One line as a value. Too deep or malformed JSON is an invalid input that quotes no content.
pub fn parse_line<T: DeserializeOwned>(line: &[u8]) -> Result<T> {
    if is_nested_deeper(line, MAX_JSON_DEPTH) {
        return Err(ApiError::invalid(format!("the JSON is deeper than {MAX_JSON_DEPTH} levels")));
    }
    serde_json::from_slice(line).map_err(|error| ApiError::invalid(format!("not the expected JSON: {error}")))
}

/// The values of an answer, one a line; an [`ErrorLine`] becomes the error it carries and ends the stream.
///
/// The values come from a node that the caller trusts, so their depth is left to the parser.
pub fn json_lines<T>(lines: BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<T>>
where
    T: DeserializeOwned + Send + 'static,
{
    let values = lines.map(|line| {
        let line = line?;
        if line.starts_with(br#"{"error":"#)
            && let Ok(ErrorLine { error }) = serde_json::from_slice(&line)
        {
            return Err(error.into());
        }
        serde_json::from_slice(&line)
            .map_err(|error| ApiError::internal(format!("the node's answer is not what was expected: {error}")))
    });
    let mut failed = false;
    values
        .take_while(move |value: &Result<T>| {
            let go_on = !failed;
            failed = value.is_err();
            futures::future::ready(go_on)
        })
        .boxed()
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use proptest::prelude::*;

    use super::*;
    use crate::{ErrorKind, Problem};

    fn split(chunks: &[Vec<u8>], max: usize) -> Vec<Result<Bytes>> {
        let body: Vec<Result<Bytes>> = chunks.iter().map(|chunk| Ok(Bytes::from(chunk.clone()))).collect();
        block_on(lines(stream::iter(body), max).collect())
    }

    #[test]
    fn lines_are_found_across_chunks() {
        let found = split(&[b"{\"a\":".to_vec(), b"1}\r\n\n{}".to_vec(), b"\nlast".to_vec()], 64);
        let found: Vec<Bytes> = found.into_iter().map(|line| line.unwrap()).collect();
        assert_eq!(found, [&b"{\"a\":1}"[..], b"{}", b"last"]);
    }

    #[test]
    fn a_line_beyond_the_limit_ends_the_stream() {
        for chunks in [vec![vec![b'x'; 9]], vec![b"xxxxxxxxx\nmore\n".to_vec()], vec![vec![b'x'; 5], vec![b'x'; 4]]] {
            let found = split(&chunks, 8);
            assert_eq!(found.len(), 1, "{chunks:?}");
            assert_eq!(found[0].as_ref().unwrap_err().kind, ErrorKind::InvalidInput);
        }
        assert_eq!(split(&[vec![b'x'; 8]], 8).len(), 1);
    }

    #[test]
    fn an_error_line_becomes_its_error_and_is_the_last() {
        let problem = Problem::from(ApiError::not_found("no such drive").with_hint("look again"));
        let mut body = b"1\n".to_vec();
        serde_json::to_writer(&mut body, &ErrorLine { error: problem }).unwrap();
        body.extend_from_slice(b"\n2\n");
        let body = stream::iter([Ok(Bytes::from(body))]);
        let values: Vec<Result<u32>> = block_on(json_lines(lines(body, 1024)).collect());
        let expected = ApiError::not_found("no such drive").with_hint("look again");
        assert_eq!(values, [Ok(1), Err(expected)]);
    }

    #[test]
    fn deep_json_is_refused_before_it_is_parsed() {
        let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
        assert_eq!(parse_line::<serde_json::Value>(deep.as_bytes()).unwrap_err().kind, ErrorKind::InvalidInput);
        let allowed = format!("{}{}", "[".repeat(32), "]".repeat(32));
        assert!(parse_line::<serde_json::Value>(allowed.as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_lines(text in "[a\n\r]{0,200}", cuts in prop::collection::vec(0..200usize, 0..8)) {
            let whole = split(&[text.as_bytes().to_vec()], 1000);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(text.as_bytes()[from..cut].to_vec());
                from = cut;
            }
            chunks.push(text.as_bytes()[from..].to_vec());
            prop_assert_eq!(split(&chunks, 1000), whole);
        }

        #[test]
        fn arbitrary_bytes_never_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..8)) {
            for line in split(&chunks, 32).into_iter().flatten() {
                prop_assert!(line.len() <= 32);
                let _ = parse_line::<crate::Change>(&line);
            }
        }
    }
}

//! Logical lines: comments gone, parentheses joined, words and quoted texts apart.

use super::ZoneFileError;
use crate::data::Token;

/// One entry of a zone file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Number of its first line, from 1.
    pub(super) number: usize,
    /// Whether it begins with white space: the owner is that of the line before.
    pub(super) keeps_owner: bool,
    pub(super) tokens: Vec<Token<'a>>,
}

/// Splits a file. Lines without words are left out.
pub(super) fn lines(text: &str) -> Result<Vec<Line<'_>>, ZoneFileError> {
    let mut reader = Reader { rest: text, number: 1 };
    let mut found = Vec::new();
    while !reader.rest.is_empty() {
        let line = reader.line()?;
        if !line.tokens.is_empty() {
            found.push(line);
        }
    }
    Ok(found)
}

struct Reader<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> Result<Line<'a>, ZoneFileError> {
        let number = self.number;
        let keeps_owner = self.rest.starts_with([' ', '\t']);
        let (mut tokens, mut opened_at) = (Vec::new(), Vec::new());
        while let Some(c) = self.rest.chars().next() {
            match c {
                '\n' => {
                    self.skip(1);
                    self.number += 1;
                    if opened_at.is_empty() {
                        break;
                    }
                }
                '(' => {
                    self.skip(1);
                    opened_at.push(self.number);
                }
                ')' => {
                    self.skip(1);
                    opened_at.pop().ok_or(ZoneFileError::Unbalanced { line: self.number })?;
                }
                ';' => self.skip(self.rest.find('\n').unwrap_or(self.rest.len())),
                c if c.is_whitespace() => self.skip(c.len_utf8()),
                '"' => tokens.push(self.quoted()?),
                _ => tokens.push(self.word()),
            }
        }
        match opened_at.pop() {
            Some(line) => Err(ZoneFileError::Open { line, what: "a parenthesis" }),
            None => Ok(Line { number, keeps_owner, tokens }),
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn quoted(&mut self) -> Result<Token<'a>, ZoneFileError> {
        let line = self.number;
        self.skip(1);
        let len = end(self.rest, |c| c == '"').ok_or(ZoneFileError::Open { line, what: "a quoted text" })?;
        let raw = self.take(len);
        self.number += raw.matches('\n').count();
        self.skip(1);
        Ok(Token { raw, quoted: true })
    }

    /// A word may have a quoted part behind `=`, as in `alpn="h2,h3"`.
    fn word(&mut self) -> Token<'a> {
        let mut in_quotes = false;
        let len = end(self.rest, |c| {
            in_quotes ^= c == '"';
            c == '\n' || (!in_quotes && (c.is_whitespace() || matches!(c, ';' | '(' | ')')))
        });
        Token { raw: self.take(len.unwrap_or(self.rest.len())), quoted: false }
    }
}

/// Where the first character lies that ends a token and is not escaped.
fn end(text: &str, mut ends: impl FnMut(char) -> bool) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        if c == '\\' {
            escaped = true;
        } else if ends(c) {
            return Some(at);
        }
    }
    None
}

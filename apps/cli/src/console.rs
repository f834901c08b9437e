//! Where results and messages go: text for people, JSON for scripts.

use std::fmt::Display;
use std::io::{self, Write};

use p2p_api::Skipped;
use serde::Serialize;
use serde_json::json;

use crate::environment::Streams;
use crate::failure::{Failure, Report, Result};
use crate::human::{count, printable};

/// Most skipped paths that are listed for people.
const MAX_LISTED: usize = 20;

/// The two streams of a command.
pub(crate) struct Console {
    streams: Streams,
    is_json: bool,
    is_quiet: bool,
}

impl Console {
    pub(crate) fn new(streams: Streams, is_json: bool, is_quiet: bool) -> Self {
        Self { streams, is_json, is_quiet }
    }

    /// Whether a progress bar makes sense.
    pub(crate) fn has_progress(&self) -> bool {
        self.streams.is_err_terminal && !self.is_json && !self.is_quiet
    }

    /// A line of text for people; nothing with `--json`.
    pub(crate) fn say(&mut self, line: impl Display) -> Result<()> {
        if self.is_json { Ok(()) } else { self.write(format!("{line}\n").as_bytes()) }
    }

    /// A line of JSON for scripts; nothing without `--json`.
    pub(crate) fn emit<T: Serialize>(&mut self, value: &T) -> Result<()> {
        if !self.is_json {
            return Ok(());
        }
        let mut line = serde_json::to_vec(value)
            .map_err(|error| Failure::new(p2p_api::ErrorKind::Internal, format!("cannot write JSON: {error}")))?;
        line.push(b'\n');
        self.write(&line)
    }

    /// Bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.streams.out.write_all(bytes).and_then(|()| self.streams.out.flush()).map_err(|error| broken(&error))
    }

    /// Bytes from strangers for people and pipes; nothing with `--json`. A terminal gets them without control characters.
    pub(crate) fn write_foreign(&mut self, bytes: &[u8]) -> Result<()> {
        match (self.is_json, self.streams.is_out_terminal) {
            (true, _) => Ok(()),
            (false, true) => self.say(printable(&String::from_utf8_lossy(bytes))),
            (false, false) => self.write(bytes),
        }
    }

    /// A message for people on stderr; nothing with `--json` or `-q`.
    pub(crate) fn note(&mut self, line: impl Display) {
        if !self.is_json && !self.is_quiet {
            // Nobody is left to be told when this fails.
            let _ = writeln!(self.streams.err, "{line}");
        }
    }

    /// What was left out: at most 20 paths, then a count.
    pub(crate) fn note_skipped(&mut self, skipped: &[Skipped]) {
        if skipped.is_empty() {
            return;
        }
        self.note(format!("Left out {}:", count(skipped.len() as u64, "entry", "entries")));
        for Skipped { path, reason } in skipped.iter().take(MAX_LISTED) {
            self.note(format!("  {}: {}", printable(path), printable(reason)));
        }
        if let Some(more) = skipped.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
            self.note(format!("  and {more} more; --json lists all"));
        }
    }

    /// An error on stderr, also with `-q`.
    pub(crate) fn report(&mut self, report: &Report) {
        let err = &mut self.streams.err;
        let written = if self.is_json {
            writeln!(err, "{}", json!({ "error": report }))
        } else {
            let label = if self.streams.is_err_terminal { "\u{1b}[1;31merror:\u{1b}[0m" } else { "error:" };
            writeln!(err, "{label} {}", report.message).and_then(|()| match &report.hint {
                Some(hint) => writeln!(err, "  {hint}"),
                None => Ok(()),
            })
        };
        // Nobody is left to be told when this fails.
        let _ = written;
    }

    /// Text in bold where a person reads it.
    pub(crate) fn bold(&self, text: &str) -> String {
        if self.streams.is_out_terminal { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Rows of columns, each as wide as its widest cell; the first row is the heading.
    pub(crate) fn table<const N: usize>(&mut self, heading: [&str; N], rows: Vec<[String; N]>) -> Result<()> {
        let heading = heading.map(str::to_owned);
        let rows: Vec<[String; N]> = std::iter::once(heading).chain(rows).collect();
        let mut widths = [0; N];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in rows {
            let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            self.say(cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

fn broken(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
        _ => Failure::disk("write the results", error),
    }
}

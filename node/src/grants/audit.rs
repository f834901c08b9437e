//! Refused calls of apps, so that a user can see what an app tried. Bounded: the oldest lines go.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most lines.
const MAX_LINES: usize = 10_000;
/// Longest line, in bytes.
const MAX_LINE_BYTES: usize = 512;

/// The log. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Audit {
    log: Arc<Mutex<Log>>,
}

struct Log {
    path: PathBuf,
    lines: VecDeque<String>,
    /// Lines in the file, those that are gone from memory too.
    in_file: usize,
}

impl Audit {
    /// Reads what is there.
    pub(super) fn open(path: PathBuf) -> Self {
        let mut lines = VecDeque::new();
        let mut in_file = 0;
        if let Ok(file) = std::fs::File::open(&path) {
            for line in BufReader::new(file).lines().map_while(Result::ok).take(2 * MAX_LINES) {
                in_file += 1;
                keep(&mut lines, line);
            }
        }
        Self { log: Arc::new(Mutex::new(Log { path, lines, in_file })) }
    }

    /// One more line. Blocks on the disk for a moment; it is a log, so nothing is lost with it that matters.
    pub(crate) fn write(&self, app: &str, call: &str, reason: &str) {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut line: String = format!("{seconds} {app} {call}: {reason}");
        line.retain(|c| !c.is_control());
        line.truncate(line.floor_char_boundary(MAX_LINE_BYTES));
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        keep(&mut log.lines, line);
        if let Err(error) = log.save() {
            tracing::debug!(%error, "cannot write the audit log");
        }
    }

    /// All lines, the oldest first.
    pub(crate) fn text(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

fn keep(lines: &mut VecDeque<String>, line: String) {
    if lines.len() == MAX_LINES {
        lines.pop_front();
    }
    lines.push_back(line);
}

impl Log {
    /// Appends the last line; when the file is twice as long as it should be, it is written anew.
    fn save(&mut self) -> std::io::Result<()> {
        let Some(line) = self.lines.back() else { return Ok(()) };
        let mut options = OpenOptions::new();
        options.create(true).mode(0o600);
        if self.in_file < 2 * MAX_LINES {
            self.in_file += 1;
            return writeln!(options.append(true).open(&self.path)?, "{line}");
        }
        let all: String = self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let temporary = self.path.with_extension("log.new");
        options.write(true).truncate(true).open(&temporary)?.write_all(all.as_bytes())?;
        std::fs::rename(&temporary, &self.path)?;
        self.in_file = self.lines.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_small_and_outlives_the_node() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.log");
        let audit = Audit::open(path.clone());
        audit.write("chat", "POST /v1/node/stop", "not\ngranted");
        assert!(Audit::open(path.clone()).text().ends_with(" chat POST /v1/node/stop: notgranted\n"));
        for n in 0..(2 * MAX_LINES + 5) {
            audit.write("chat", &format!("GET /{n}"), "x");
        }
        let lines = audit.text().lines().count();
        assert_eq!(lines, MAX_LINES);
        assert!(std::fs::read_to_string(&path).expect("text").lines().count() <= 2 * MAX_LINES);
        let again = Audit::open(path).text();
        assert!(again.lines().count() <= MAX_LINES && again.contains(&format!("GET /{}:", 2 * MAX_LINES + 4)));
    }
}

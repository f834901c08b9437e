//! A line that comes again and again is left out for a while, so that nobody outside can fill a disk with the log
//! (specs/overlay.md, section 7, "logs"). What is said at `debug` and `trace` is asked for, and comes as it is.
//!
//! The log goes to stderr. Its size and its age are looked after by what reads that: journald, or the shell's redirection.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// Lines of one kind that are shown within [`WINDOW`].
const MAX_LINES: u32 = 20;
/// The time within which they are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Lines by the place in the program that writes them: there are as many as the program has.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<HashMap<Identifier, Lines>>);

#[derive(Clone, Copy, Debug)]
struct Lines {
    since: Instant,
    count: u32,
}

impl Lines {
    fn admit(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= WINDOW {
            (self.since, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
        self.count <= MAX_LINES
    }
}

impl Repeats {
    fn admit(&self, metadata: &Metadata<'_>, now: Instant) -> bool {
        if *metadata.level() > Level::INFO {
            return true;
        }
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.entry(metadata.callsite()).or_insert(Lines { since: now, count: 0 }).admit(now)
    }
}

impl<S> Filter<S> for Repeats {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.admit(event.metadata(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_repeats_is_left_out_and_others_are_not() {
        let written = Written::default();
        let writer = written.clone();
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(Repeats::default()));
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..1_000 {
                tracing::warn!(n, "provoked");
                tracing::debug!(n, "asked for");
            }
            tracing::warn!("another one");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        assert_eq!((count("provoked"), count("asked for"), count("another one")), (MAX_LINES as usize, 1_000, 1));
    }

    #[test]
    fn after_a_minute_it_is_said_again() {
        let now = Instant::now();
        let mut lines = Lines { since: now, count: 0 };
        assert_eq!((0..100).filter(|_| lines.admit(now)).count(), MAX_LINES as usize);
        assert!(lines.admit(now + WINDOW));
    }
}

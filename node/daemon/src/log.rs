//! The log on stderr: `P2PNODE_LOG` wins over `-v` and `-q`; `P2PNODE_LOG_FORMAT=json` makes a JSON object of each line.

mod repeats;

use std::env;
use std::io::{self, IsTerminal};

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use self::repeats::Repeats;

/// The variable with a filter of `tracing`, e.g. `info,p2p_dht=debug`.
const VARIABLE: &str = "P2PNODE_LOG";

/// The variable with the form of lines: `text`, or `json` for programs.
const FORMAT_VARIABLE: &str = "P2PNODE_LOG_FORMAT";

/// How much to log without `-v` and `-q`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// A command that does its thing and ends: warnings.
    Command,
    /// A daemon: also what its user cares about.
    Daemon,
}

/// `P2PNODE_LOG` makes no sense.
pub type LogError = ParseError;

/// Sends the log to stderr; a line that repeats too often is left out for a while. `more` is the number of `-v` minus the number of `-q`. A second call has no effect.
pub fn init_log(verbosity: Verbosity, more: i8) -> Result<(), LogError> {
    let filter = match env::var(VARIABLE) {
        Ok(filter) if !filter.trim().is_empty() => EnvFilter::builder().parse(filter)?,
        _ => EnvFilter::builder().parse(filter(verbosity, more))?,
    };
    // It fails only if a log is set up already, and that one is as good.
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let format = env::var(FORMAT_VARIABLE).unwrap_or_default();
    let lines = match format.as_str() {
        "json" => lines.json().flatten_event(true).with_filter(Repeats::default()).boxed(),
        _ => lines.with_ansi(io::stderr().is_terminal()).with_target(false).with_filter(Repeats::default()).boxed(),
    };
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    if !matches!(format.as_str(), "" | "text" | "json") {
        tracing::warn!("{FORMAT_VARIABLE}={format:?} is neither text nor json; lines are text");
    }
    Ok(())
}

/// The number of `-v` minus the number of `-q`, as the command line understood them.
pub fn levels(verbosity: p2p_cli::Verbosity) -> i8 {
    match verbosity {
        p2p_cli::Verbosity::Quiet => -1,
        p2p_cli::Verbosity::Normal => 0,
        p2p_cli::Verbosity::Verbose => 1,
        p2p_cli::Verbosity::Debug => 2,
    }
}

/// Our own crates at the level asked for, libraries one level less: theirs is seldom news to a user.
fn filter(verbosity: Verbosity, more: i8) -> String {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let base: i8 = match verbosity {
        Verbosity::Command => 2,
        Verbosity::Daemon => 3,
    };
    let ours = usize::try_from(base.saturating_add(more).clamp(1, 5)).unwrap_or(1);
    let level = |index: usize| LEVELS.get(index).copied().unwrap_or("trace");
    // Kademlia warns whenever it has nobody to ask yet, which is how every first node begins.
    format!("{},libp2p_kad=error,p2p={}", level(ours.saturating_sub(1)), level(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_and_less_move_the_level_and_stay_in_range() {
        assert_eq!(filter(Verbosity::Command, 0), "error,libp2p_kad=error,p2p=warn");
        assert_eq!(filter(Verbosity::Daemon, 0), "warn,libp2p_kad=error,p2p=info");
        assert_eq!(filter(Verbosity::Daemon, 2), "debug,libp2p_kad=error,p2p=trace");
        assert_eq!(filter(Verbosity::Daemon, i8::MAX), "debug,libp2p_kad=error,p2p=trace");
        assert_eq!(filter(Verbosity::Command, i8::MIN), "off,libp2p_kad=error,p2p=error");
    }

    #[test]
    fn every_filter_is_one_that_tracing_takes() {
        for more in -3..4 {
            EnvFilter::builder().parse(filter(Verbosity::Daemon, more)).unwrap();
        }
    }
}

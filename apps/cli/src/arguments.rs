//! The command line of `p2p`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use p2p_api::socket::{self, SocketPath};

use crate::commands::{
    api, app, cat, clone, completions, conflicts, contact, dht, dial, diff, doctor, gc, identity, info, keystore, log,
    ls, man, name, open, ping, restore, share, sync, tag, unshare, writers,
};
use crate::environment::Verbosity;
use crate::failure::{Failure, Result};

/// Share folders, copy them, look into them: without a server, without an account.
#[derive(Debug, Parser)]
#[command(name = "p2p", version, max_term_width = 100, after_help = "Example: p2p share ./site")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Share(share::Arguments),
    /// Lists what this node shares and follows.
    #[command(after_help = "Example: p2p shares --json")]
    Shares,
    Unshare(unshare::Arguments),
    Clone(clone::Arguments),
    Sync(sync::Arguments),
    Ls(ls::Arguments),
    Cat(cat::Arguments),
    Info(info::Arguments),
    Log(log::Arguments),
    Diff(diff::Arguments),
    Restore(restore::Arguments),
    Tag(tag::Arguments),
    Conflicts(conflicts::Arguments),
    Writers(writers::Arguments),
    Open(open::Arguments),
    /// Lists the connected peers.
    #[command(after_help = "Example: p2p peers")]
    Peers,
    Dial(dial::Arguments),
    Ping(ping::Arguments),
    Doctor(doctor::Arguments),
    Dht(dht::Arguments),
    App(app::Arguments),
    Name(name::Arguments),
    Identity(identity::Arguments),
    Contact(contact::Arguments),
    Lock(keystore::Lock),
    Unlock(keystore::Unlock),
    Passphrase(keystore::Passphrase),
    /// Tells what is stored here, and for which drive.
    #[command(after_help = "Example: p2p du")]
    Du,
    Gc(gc::Arguments),
    /// Rebuilds all metadata from the folders, the index packs and the proofs; says what is lost. Ctrl-C leaves everything
    /// usable.
    #[command(after_help = "Example: p2p repair")]
    Repair,
    Api(api::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// What every command takes.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Global {
    /// Where this node keeps its keys and data [env: P2PNODE_HOME; default: p2pnode in the user's data folder].
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    pub(crate) home: Option<PathBuf>,
    /// The local socket of the node [env: P2PNODE_API].
    #[arg(long, global = true, value_name = "PATH", help_heading = "Everywhere")]
    pub(crate) api: Option<PathBuf>,
    /// One JSON object, or one a line, on stdout; nothing else there.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// Seconds to wait for the network.
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds, help_heading = "Everywhere")]
    pub(crate) timeout: Option<Duration>,
    /// More log on stderr; twice for still more. P2PNODE_LOG wins over it.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Everywhere")]
    pub(crate) verbose: u8,
    /// Errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Everywhere")]
    pub(crate) quiet: bool,
}

impl Global {
    pub(crate) fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, 1) => Verbosity::Verbose,
            (false, _) => Verbosity::Debug,
        }
    }

    /// Where the node's socket is.
    pub(crate) fn socket(&self) -> Result<SocketPath> {
        socket::default_path(self.home.as_deref(), self.api.as_deref())
            .map_err(|error| Failure::usage(error.to_string()))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if seconds.is_nan() || seconds <= 0.0 {
        return Err("not a number of seconds above 0".to_owned());
    }
    let too_long = |_| "nobody waits for so long; a day has 86400 seconds".to_owned();
    let duration = Duration::try_from_secs_f64(seconds).map_err(too_long)?;
    if duration.is_zero() { Err("no time at all".to_owned()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example:"), "{path} has no example");
            command.get_subcommands().for_each(|inner| check(inner, &path));
        }
        check(&Arguments::command(), "");
    }

    #[test]
    fn flags_for_everywhere_come_before_or_after_the_command() {
        for line in ["p2p --json --timeout 1.5 shares", "p2p shares --json --timeout 1.5"] {
            let parsed = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert!(parsed.global.json);
            assert_eq!(parsed.global.timeout, Some(Duration::from_millis(1_500)));
        }
        for bad in ["0", "-1", "nan", "x", "1e-99", "1e308", "inf"] {
            assert!(Arguments::try_parse_from(["p2p", "shares", "--timeout", bad]).is_err(), "{bad}");
        }
    }
}

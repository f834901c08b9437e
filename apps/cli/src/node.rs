//! The command line of `p2pnode`.

mod start;
mod status;
mod stop;

use clap::{Parser, Subcommand};

use crate::arguments::Global;
use crate::console::Console;
use crate::environment::NodeEnvironment;
use crate::failure::{Failure, Result};

pub use start::{GatewaySetting, RelaySetting, StartOptions};

/// The p2pnode daemon: keys instead of accounts, peers without a server.
#[derive(Debug, Parser)]
#[command(name = "p2pnode", version, max_term_width = 100, after_help = "Example: p2pnode start")]
pub(crate) struct NodeArguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the node in the foreground until SIGINT or SIGTERM.
    #[command(after_help = "Example: p2pnode start --listen /ip4/0.0.0.0/tcp/4001")]
    Start(start::Settings),
    /// Tells who and how the running node is.
    #[command(after_help = "Example: p2pnode status --json")]
    Status,
    /// Asks the running node to stop, and waits.
    #[command(after_help = "Example: p2pnode stop")]
    Stop,
    /// Prints the effective configuration with every default and its comment.
    #[command(after_help = "Example: p2pnode config > p2pnode.toml")]
    Config(start::Settings),
}

pub(crate) async fn dispatch(
    console: &mut Console,
    environment: &NodeEnvironment,
    global: Global,
    command: Command,
) -> Result<()> {
    match command {
        Command::Start(settings) => {
            let options = StartOptions::new(&global, settings)?;
            if let Some(wanted) = &options.socket.instead_of {
                let path = options.socket.path.display();
                console.note(format!("{} is too long for a socket; it is at {path} instead.", wanted.display()));
            }
            (environment.start)(options).await.map_err(|error| Failure::program(&error))
        }
        Command::Status => status::run(console, &global).await,
        Command::Stop => stop::run(console, &global).await,
        Command::Config(settings) => {
            let options = StartOptions::new(&global, settings)?;
            let text = (environment.config)(&options).map_err(|error| Failure::program(&error))?;
            console.write(text.as_bytes())
        }
    }
}

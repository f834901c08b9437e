//! The daemon: `p2pnode start`, `p2pnode config`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use p2p_api::socket::default_home;
use p2pnode_daemon::{Failure, Flags, Place, Ready, Verbosity, init_log, load_config, run_daemon};

/// How long blocking work may go on after the node has said goodbye.
const THREADS_DEADLINE: Duration = Duration::from_secs(1);

/// Runs this computer's node.
#[derive(Parser)]
#[command(name = "p2pnode", version, after_help = "Example: p2pnode start --listen /ip4/0.0.0.0/tcp/4101")]
struct Cli {
    /// Where this node keeps its keys and data [default: $P2PNODE_HOME, or p2pnode in the user's data]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// The local socket [default: $P2PNODE_API, or it follows from the home]
    #[arg(long, global = true, value_name = "PATH")]
    api: Option<PathBuf>,
    /// More log on stderr; twice for still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Less log on stderr
    #[arg(short, long, global = true, action = ArgAction::Count)]
    quiet: u8,
    /// JSON on stdout instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the node in the foreground until Ctrl-C
    #[command(after_help = "Example: p2pnode start --bootstrap /ip4/203.0.113.7/tcp/4101/p2p/12D3KooW…")]
    Start(StartArgs),
    /// Prints the settings in force, every default and its comment
    #[command(after_help = "Example: p2pnode config > config.toml")]
    Config,
}

#[derive(Args)]
struct StartArgs {
    /// Listen here instead of at the configured addresses; repeatable
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<String>,
    /// A node to start from, besides the configured ones; repeatable
    #[arg(long, value_name = "MULTIADDR")]
    bootstrap: Vec<String>,
    /// Name of the overlay network
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Do not look for nodes in the local network
    #[arg(long)]
    no_mdns: bool,
    /// Do not ask the router for ports (this version never does)
    #[arg(long)]
    no_port_mapping: bool,
    /// Serve as a relay: `trusted` or `public`
    #[arg(long, value_name = "WHOM", num_args = 0..=1, default_missing_value = "public", require_equals = true)]
    relay: Option<String>,
    /// Address of the web gateway, or `off`
    #[arg(long, value_name = "ADDR")]
    gateway: Option<String>,
    /// Another configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl From<StartArgs> for Flags {
    fn from(args: StartArgs) -> Self {
        Self {
            config: args.config,
            listen: args.listen,
            bootstrap: args.bootstrap,
            network: args.network,
            no_mdns: args.no_mdns,
            relay: args.relay,
            gateway: args.gateway.as_deref().map(Into::into),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if json {
                eprintln!("{}", failure.to_json());
            } else {
                eprintln!("{failure}");
            }
            ExitCode::from(failure.status)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let more = i8::try_from(i16::from(cli.verbose) - i16::from(cli.quiet)).unwrap_or(i8::MAX);
    init_log(Verbosity::Daemon, more).map_err(|error| {
        Failure::usage(error).with_hint("P2PNODE_LOG is a list of filters, e.g. info,p2p_dht=debug")
    })?;
    let place = Place { home: cli.home, api: cli.api };
    match cli.command {
        Command::Start(args) => start(&place, &args.into(), cli.json),
        Command::Config => config(&place, cli.json),
    }
}

fn start(place: &Place, flags: &Flags, json: bool) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::failed)?;
    let print = |ready: &Ready| if json { ready.to_json() } else { ready.to_string() };
    let ended = runtime.block_on(run_daemon(place, flags, print));
    runtime.shutdown_timeout(THREADS_DEADLINE);
    ended
}

fn config(place: &Place, json: bool) -> Result<(), Failure> {
    let home = default_home(place.home.as_deref()).map_err(Failure::usage)?;
    let (config, _) = load_config(&home, &Flags::default())?;
    if json {
        println!("{}", serde_json::to_string(&config).map_err(Failure::failed)?);
    } else {
        print!("{}", config.to_commented_toml());
    }
    Ok(())
}

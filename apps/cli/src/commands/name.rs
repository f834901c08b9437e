//! `p2p name …`: zones, records, resolution; and tools that need no node.

mod block;
mod records;
mod zone;

use clap::{Args, Subcommand};

use crate::failure::Result;
use crate::session::Context;

/// Names that nobody can take away: the GNU Name System.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p name zone create alice")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    call: Call,
}

#[derive(Debug, Subcommand)]
enum Call {
    /// Makes, lists, moves and revokes zones.
    #[command(subcommand, after_help = "Example: p2p name zone create alice")]
    Zone(zone::Zone),
    Set(records::Set),
    Rm(records::Rm),
    /// Lists the records of this node's zones.
    #[command(after_help = "Example: p2p name ls")]
    Ls {
        /// Only this zone.
        #[arg(long, value_name = "NAME")]
        zone: Option<String>,
    },
    /// Publishes a zone now. Changes are published by themselves, and again before they are forgotten.
    #[command(after_help = "Example: p2p name publish")]
    Publish {
        /// The zone; not needed where there is one.
        #[arg(long, value_name = "NAME")]
        zone: Option<String>,
    },
    Resolve(records::Resolve),
    /// Tells this node's id and its zones.
    #[command(after_help = "Example: p2p name whoami")]
    Whoami,
    /// Makes and opens blocks, to compare other implementations with this one.
    #[command(subcommand, after_help = "Example: p2p name block open --zone ZTLD --label www BLOCK_HEX")]
    Block(block::Block),
    /// Verifies revocations of zones.
    #[command(subcommand, after_help = "Example: p2p name revocation verify HEX")]
    Revocation(block::Revocation),
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    match arguments.call {
        Call::Zone(call) => zone::run(context, call).await,
        Call::Set(arguments) => records::set(context, arguments).await,
        Call::Rm(arguments) => records::rm(context, arguments).await,
        Call::Ls { zone } => records::ls(context, zone).await,
        Call::Publish { zone } => records::publish(context, zone).await,
        Call::Resolve(arguments) => records::resolve(context, arguments).await,
        Call::Whoami => records::whoami(context).await,
        Call::Block(call) => block::run_block(context, call),
        Call::Revocation(call) => block::run_revocation(context, call),
    }
}

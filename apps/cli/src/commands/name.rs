//! `p2p name …`: zones, records, resolution; and tools that need no node.

mod block;

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
    /// Makes and opens blocks, to compare other implementations with this one.
    #[command(subcommand, after_help = "Example: p2p name block open --zone ZTLD --label www BLOCK_HEX")]
    Block(block::Block),
    /// Verifies revocations of zones.
    #[command(subcommand, after_help = "Example: p2p name revocation verify HEX")]
    Revocation(block::Revocation),
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    match arguments.call {
        Call::Block(call) => block::run_block(context, call),
        Call::Revocation(call) => block::run_revocation(context, call),
    }
}

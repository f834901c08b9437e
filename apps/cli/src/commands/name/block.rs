//! `p2p name block …` and `p2p name revocation …`: tools that need no node.

use clap::Subcommand;
use p2p_api::ErrorKind;
use serde_json::Value;

use crate::environment::{MakeBlock, NameTools, OpenBlock, VerifyRevocation};
use crate::failure::{Failure, Result};
use crate::human::printable;
use crate::session::Context;

#[derive(Debug, Subcommand)]
pub(crate) enum Block {
    /// Makes a block of a zone's key, a label, an expiration and a record set.
    #[command(after_help = "Example: p2p name block make --key HEX --ztype 65556 --label www --expires \
                            2000000000000000 --rdata HEX")]
    Make {
        /// The secret key as RFC 9498 prints it: PKEY a big-endian scalar, EDKEY a seed; 64 hexadecimal digits.
        #[arg(long, value_name = "HEX")]
        key: String,
        /// 65536 for PKEY, 65556 for EDKEY.
        #[arg(long, value_name = "N")]
        ztype: u32,
        /// The label; @ for the top of the zone.
        #[arg(long, value_name = "L")]
        label: String,
        /// When the block expires, in microseconds since 1970.
        #[arg(long, value_name = "MICROSECONDS")]
        expires: u64,
        /// The record set as it is to be encrypted, padding included.
        #[arg(long, value_name = "HEX")]
        rdata: String,
    },
    /// Verifies and decrypts a block. Whether it has expired is not judged.
    #[command(after_help = "Example: p2p name block open --zone ZTLD --label www BLOCK_HEX")]
    Open {
        /// The zone's zTLD.
        #[arg(long, value_name = "ZTLD")]
        zone: String,
        /// The label; @ for the top of the zone.
        #[arg(long, value_name = "L")]
        label: String,
        /// The block in hexadecimal digits.
        #[arg(value_name = "BLOCK_HEX")]
        block: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Revocation {
    /// Verifies signature and proofs of work of a revocation.
    #[command(after_help = "Example: p2p name revocation verify HEX --difficulty 22")]
    Verify {
        /// The 372 bytes in hexadecimal digits.
        #[arg(value_name = "HEX")]
        message: String,
        /// Leading zero bits that the proofs must have on average; 22 by default.
        #[arg(long, value_name = "N")]
        difficulty: Option<u32>,
    },
}

pub(crate) fn run_block(context: &mut Context, call: Block) -> Result<()> {
    match call {
        Block::Make { key, ztype, label, expires, rdata } => {
            let asked = MakeBlock { key, ztype, label, expires, rdata };
            let made = (tools(context)?.make_block)(asked).map_err(Failure::usage)?;
            context.console.emit(&made)?;
            for field in ["block", "q"] {
                context.console.say(format!("{field:<6} {}", text(&made, field)))?;
            }
            Ok(())
        }
        Block::Open { zone, label, block } => {
            let opened = (tools(context)?.open_block)(OpenBlock { zone, label, block }).map_err(Failure::usage)?;
            context.console.emit(&opened)?;
            for field in ["valid", "reason", "expires", "rdata"] {
                say_field(context, &opened, field)?;
            }
            for record in opened["records"].as_array().into_iter().flatten() {
                let (kind, value) = (text(record, "type"), text(record, "value"));
                let (flags, expires) = (text(record, "flags"), text(record, "expires"));
                context.console.say(format!("record   {kind} {value} (flags {flags}, expires {expires})"))?;
            }
            Ok(())
        }
    }
}

pub(crate) fn run_revocation(context: &mut Context, call: Revocation) -> Result<()> {
    let Revocation::Verify { message, difficulty } = call;
    let checked = (tools(context)?.verify_revocation)(VerifyRevocation { message, difficulty });
    let checked = checked.map_err(Failure::usage)?;
    context.console.emit(&checked)?;
    for field in ["valid", "reason", "signature_valid", "average", "zone", "expires"] {
        say_field(context, &checked, field)?;
    }
    Ok(())
}

fn tools(context: &Context) -> Result<&NameTools> {
    let missing = || Failure::new(ErrorKind::Unsupported, "this program was built without the name system");
    context.environment.name_tools.as_ref().ok_or_else(missing)
}

fn say_field(context: &mut Context, from: &Value, field: &str) -> Result<()> {
    match from.get(field) {
        None | Some(Value::Null) => Ok(()),
        Some(_) => context.console.say(format!("{:<16} {}", field.replace('_', " "), text(from, field))),
    }
}

/// A field for people, without the quotes of JSON.
fn text(from: &Value, field: &str) -> String {
    match &from[field] {
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

//! The tools of the name system, as the command line is handed them.

use p2p_cli::{MakeBlock, NameTools, OpenBlock, VerifyRevocation};
use p2p_names::{DIFFICULTY, ToolError, make_block, open_block, verify_revocation};
use serde::Serialize;

/// `p2p name block make`, `block open` and `revocation verify`.
pub fn name_tools() -> NameTools {
    NameTools {
        make_block: Box::new(|asked: MakeBlock| {
            result(make_block(&asked.key, asked.ztype, &asked.label, asked.expires, &asked.rdata))
        }),
        open_block: Box::new(|asked: OpenBlock| result(open_block(&asked.zone, &asked.label, &asked.block))),
        verify_revocation: Box::new(|asked: VerifyRevocation| {
            result(verify_revocation(&asked.message, asked.difficulty.unwrap_or(DIFFICULTY)))
        }),
    }
}

fn result<T: Serialize>(made: Result<T, ToolError>) -> Result<serde_json::Value, String> {
    let made = made.map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
    serde_json::to_value(made).map_err(|error| error.to_string())
}

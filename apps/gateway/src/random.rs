//! Random texts that nobody can guess.

use data_encoding::HEXLOWER;
use p2p_api::{ApiError, Result};

/// 256 random bits in hexadecimal digits.
pub(crate) fn text() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| ApiError::internal(format!("the system has no randomness: {error}")))?;
    Ok(HEXLOWER.encode(&bytes))
}

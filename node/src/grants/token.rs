//! Tokens: 256 random bits in a file for this user only; what is kept of them is a hash.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// BLAKE3 of a token. A token is random, so the hash need not be slow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(super) fn of(token: &str) -> Self {
        Self(*blake3::hash(token.as_bytes()).as_bytes())
    }

    /// A part of it as text; tells tokens apart, and says nothing of them.
    pub(super) fn tag(&self) -> String {
        HEXLOWER.encode(self.0.get(..8).unwrap_or_default())
    }

    /// Takes the same time whatever they are.
    pub(super) fn is(&self, other: &Self) -> bool {
        blake3::Hash::from(self.0) == blake3::Hash::from(other.0)
    }
}

/// Makes a token and puts it into a file, in place of an older one.
pub(super) fn write(path: &Path) -> io::Result<TokenHash> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(random.as_mut()).map_err(io::Error::other)?;
    let token = Zeroizing::new(HEXLOWER.encode(random.as_ref()));
    let temporary = path.with_extension("new");
    let _ = std::fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(token.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    Ok(TokenHash::of(&token))
}

/// Removes the file; the token is worth nothing any more.
pub(super) fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove the file of a token that is over");
    }
}

//! Where a passphrase comes from: a prompt, a file descriptor, or a file that only its owner reads. Never the command line,
//! which everybody on the computer can see.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use p2p_api::ErrorKind;
use zeroize::Zeroizing;

use crate::failure::{Failure, Result};

/// Longest passphrase, in bytes.
const MAX_BYTES: u64 = 1024;

/// Where to read it.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Source {
    /// Read the passphrase from this file, which only you may read.
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_fd")]
    passphrase_file: Option<PathBuf>,
    /// Read the passphrase from this file descriptor.
    #[arg(long, value_name = "NUMBER")]
    passphrase_fd: Option<u32>,
}

impl Source {
    /// Whether a person is asked.
    pub(crate) fn is_a_person(&self) -> bool {
        self.passphrase_file.is_none() && self.passphrase_fd.is_none()
    }

    /// Reads it; `prompt` is what a person is asked.
    pub(crate) fn read(&self, prompt: &str) -> Result<Zeroizing<String>> {
        if let Some(path) = &self.passphrase_file {
            return from_private_file(path);
        }
        if let Some(number) = self.passphrase_fd {
            let path = PathBuf::from(format!("/dev/fd/{number}"));
            let file = File::open(&path)
                .map_err(|error| Failure::usage(format!("file descriptor {number} cannot be read: {error}")))?;
            return from_file(&path, file);
        }
        ask(prompt)
    }
}

/// Reads one from a file of mode 0600 or less.
pub(crate) fn from_private_file(path: &Path) -> Result<Zeroizing<String>> {
    let cannot = |error: std::io::Error| {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Io };
        Failure::new(kind, format!("cannot read {}: {error}", path.display()))
    };
    let file = File::open(path).map_err(cannot)?;
    let mode = file.metadata().map_err(cannot)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let message = format!("others can read {} (mode {mode:o})", path.display());
        return Err(Failure::hinted(ErrorKind::NotAllowed, message, format!("chmod 600 {}", path.display())));
    }
    from_file(path, file)
}

/// Asks a person; the terminal does not show what is typed.
pub(crate) fn ask(prompt: &str) -> Result<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::hinted(
            ErrorKind::InvalidInput,
            "a passphrase is needed, and there is no terminal to ask at".to_owned(),
            "use --passphrase-file FILE or --passphrase-fd NUMBER".to_owned(),
        ));
    }
    let text = rpassword::prompt_password(prompt)
        .map_err(|error| Failure::new(ErrorKind::Io, format!("the passphrase cannot be asked for: {error}")))?;
    checked(Zeroizing::new(text))
}

fn from_file(path: &Path, file: File) -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES as usize + 2));
    let read = file.take(MAX_BYTES + 2).read_to_string(&mut text);
    read.map_err(|error| Failure::new(ErrorKind::Io, format!("cannot read {}: {error}", path.display())))?;
    // The line end that an editor or `echo` adds is not part of it.
    let end = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(end);
    checked(text)
}

fn checked(text: Zeroizing<String>) -> Result<Zeroizing<String>> {
    if text.is_empty() || text.len() as u64 > MAX_BYTES {
        return Err(Failure::usage(format!("a passphrase has 1 to {MAX_BYTES} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_is_read_from_a_private_file_only_and_without_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        std::fs::write(&path, "two words\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(from_private_file(&path).unwrap_err().exit_status(), 5);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(from_private_file(&path).unwrap().as_str(), "two words");
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(from_private_file(&path).unwrap_err().exit_status(), 2);
        std::fs::write(&path, "x".repeat(1025)).unwrap();
        assert_eq!(from_private_file(&path).unwrap_err().exit_status(), 2);
        assert_eq!(from_private_file(&folder.path().join("none")).unwrap_err().exit_status(), 4);
    }
}

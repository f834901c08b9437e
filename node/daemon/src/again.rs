//! Beginning again as the same process: what this one had in memory is gone, also what libraries have left of keys, and so
//! is every connection and open file of it.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Tells the process that begins again that it has to wait for the passphrase.
const CLOSED: &str = "P2PNODE_CLOSED";

/// Whether this process has begun again to wait for the passphrase.
pub(crate) fn was_closed() -> bool {
    env::var_os(CLOSED).is_some()
}

/// Begins again with the same arguments, to wait for the passphrase. Returns only if that fails.
pub(crate) fn begin_closed() -> io::Error {
    let mut arguments = env::args_os();
    let name = arguments.next();
    let mut command = Command::new(match program() {
        Ok(program) => program,
        Err(error) => return error,
    });
    if let Some(name) = name {
        command.arg0(name);
    }
    command.args(arguments).env(CLOSED, "1").exec()
}

/// The file of this program; one that was replaced since is still there under the second name.
fn program() -> io::Result<PathBuf> {
    match env::current_exe()? {
        file if file.exists() => Ok(file),
        _ => Ok(PathBuf::from("/proc/self/exe")),
    }
}

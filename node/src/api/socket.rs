//! The socket file and `api.json` beside it (overlay.md 2.1).

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use p2p_api::{routes, socket};
use tokio::net::UnixListener;
use tracing::debug;

/// Sockets that this process has listened at.
static INSTANCES: AtomicU64 = AtomicU64::new(0);

/// Listens at `path` and writes `api.json` beside it. Must be called inside a tokio runtime.
///
/// The socket is for this user only (0600), unless the folder lets its group in and nobody else (0750, as a system
/// service's runtime folder can be): then for the group too (0660), whose other members need a token.
///
/// Missing folders are made with mode 0700; a socket that nobody answers at is replaced. Errors: [`ErrorKind::AddrInUse`]
/// when another node answers there; [`ErrorKind::PermissionDenied`] when the folder belongs to another user than this one
/// and root; [`ErrorKind::AlreadyExists`] when something else than a socket is in the way.
pub fn bind(path: &Path) -> io::Result<(UnixListener, SocketGuard)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    prepare_folder(folder)?;
    remove_stale(path)?;
    let listener = UnixListener::bind(path).map_err(|error| describe(&error, "cannot listen at", path))?;
    fs::set_permissions(path, Permissions::from_mode(mode_for(folder)?))?;
    let guard = SocketGuard {
        socket: path.to_owned(),
        discovery: folder.join(socket::DISCOVERY_FILE),
        instance: format!("{}.{}", process::id(), INSTANCES.fetch_add(1, Ordering::Relaxed)),
    };
    guard.write_discovery()?;
    Ok((listener, guard))
}

/// Removes the socket and `api.json` when it is dropped, unless another node put its own there meanwhile.
#[derive(Debug)]
#[must_use = "dropping it removes the socket"]
pub struct SocketGuard {
    socket: PathBuf,
    discovery: PathBuf,
    /// Tells our `api.json` from one that another node put in its place; inode numbers are used again at once.
    instance: String,
}

impl SocketGuard {
    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.socket
    }

    /// `{socket, pid, api_min, api_max, node_version, instance}`, placed by rename.
    fn write_discovery(&self) -> io::Result<()> {
        let document = serde_json::json!({
            "socket": self.socket,
            "pid": process::id(),
            "api_min": routes::API_MIN_VERSION,
            "api_max": routes::API_VERSION,
            "node_version": env!("CARGO_PKG_VERSION"),
            "instance": self.instance,
        });
        let temporary = self.discovery.with_extension("json.new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary);
        file.and_then(|mut file| writeln!(file, "{document}"))
            .and_then(|()| fs::rename(&temporary, &self.discovery))
            .map_err(|error| describe(&error, "cannot write", &self.discovery))
    }

    fn is_current(&self) -> bool {
        let written = fs::read(&self.discovery).ok().and_then(|text| serde_json::from_slice(&text).ok());
        written.is_some_and(|document: serde_json::Value| document["instance"] == self.instance)
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        if !self.is_current() {
            return;
        }
        for path in [&self.discovery, &self.socket] {
            if let Err(error) = fs::remove_file(path) {
                debug!(%error, path = %path.display(), "cannot remove a file of the local socket");
            }
        }
    }
}

fn prepare_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| describe(&error, "cannot make the folder", folder))?;
    let owner = fs::metadata(folder)?.uid();
    if owner != rustix::process::getuid().as_raw() && owner != 0 {
        let error = ErrorKind::PermissionDenied.into();
        return Err(describe(&error, "another user owns the folder of the socket,", folder));
    }
    Ok(())
}

fn mode_for(folder: &Path) -> io::Result<u32> {
    let mode = fs::metadata(folder)?.permissions().mode();
    Ok(if mode & 0o010 != 0 && mode & 0o007 == 0 { 0o660 } else { 0o600 })
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(describe(&error, "cannot look at", path)),
        Ok(found) if !found.file_type().is_socket() => {
            let error = ErrorKind::AlreadyExists.into();
            return Err(describe(&error, "something that is no socket is at", path));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| describe(&error, "cannot remove the stale socket", path))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(describe(&error, "cannot tell whether a node answers at", path)),
        Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, format!("another node answers at {}", path.display()))),
    }
}

fn describe(error: &io::Error, what: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("p2p-api-{name}-{}", process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it exists").permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn only_the_user_gets_at_the_socket() {
        let folder = Folder::new("modes");
        let path = folder.0.join("run/api.sock");
        let (_listener, guard) = bind(&path).expect("bind");
        assert_eq!(mode(&folder.0.join("run")), 0o700);
        assert_eq!(mode(&path), 0o600);
        let discovery = folder.0.join("run/api.json");
        assert_eq!(mode(&discovery), 0o600);
        let document: serde_json::Value =
            serde_json::from_slice(&fs::read(&discovery).expect("api.json")).expect("JSON");
        assert_eq!(document["socket"], path.to_str().expect("UTF-8"));
        assert_eq!(document["pid"], process::id());
        for field in ["api_min", "api_max", "node_version"] {
            assert!(document[field].is_string(), "{field}");
        }
        drop(guard);
        assert_eq!(fs::read_dir(folder.0.join("run")).expect("the folder stays").count(), 0);
    }

    #[tokio::test]
    async fn a_folder_for_a_group_has_a_socket_for_the_group() {
        let folder = Folder::new("group");
        fs::create_dir_all(&folder.0).expect("make");
        for (of_folder, of_socket) in [(0o750, 0o660), (0o755, 0o600), (0o700, 0o600)] {
            fs::set_permissions(&folder.0, Permissions::from_mode(of_folder)).expect("set");
            let path = folder.0.join("api.sock");
            let (_listener, _guard) = bind(&path).expect("bind");
            assert_eq!(mode(&path), of_socket, "{of_folder:o}");
        }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = Folder::new("stale");
        let path = folder.0.join("api.sock");
        let (listener, guard) = bind(&path).expect("bind");
        let refused = bind(&path).expect_err("a node answers there");
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        assert!(refused.to_string().contains("another node answers"), "{refused}");
        drop(listener);
        let (_listener, second) = bind(&path).expect("the socket is stale");
        drop(guard);
        assert!(path.exists(), "the guard of an old socket leaves the new one alone");
        drop(second);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_not_removed() {
        let folder = Folder::new("file");
        let path = folder.0.join("api.sock");
        fs::create_dir_all(&folder.0).expect("make");
        fs::write(&path, "precious").expect("write");
        assert_eq!(bind(&path).expect_err("a file is there").kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).expect("it is still there"), "precious");
    }
}

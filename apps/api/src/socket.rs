//! Where the local socket is (overlay.md 2.1, cli.md "Everywhere"): computed the same way by node and client.

use std::env;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Longest path of a unix socket, in bytes: 108 with the closing zero.
pub const MAX_SOCKET_PATH_BYTES: usize = 107;

/// Name of the file beside the socket that describes it.
pub const DISCOVERY_FILE: &str = "api.json";

const SOCKET_FILE: &str = "api.sock";

/// Where the socket of a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketPath {
    /// The path, absolute.
    pub path: PathBuf,
    /// The path it would have had, where that is too long for a socket: worth telling the user.
    pub instead_of: Option<PathBuf>,
}

/// There is no usable path for the socket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SocketPathError {
    /// The path that was given explicitly does not fit.
    #[error("the path of the socket is {len} bytes long, at most {MAX_SOCKET_PATH_BYTES} are possible: {path}")]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        len: usize,
    },
    /// Another user made the folder that the socket would have to be in.
    #[error("{folder} belongs to another user, so the socket in it cannot be trusted")]
    ForeignFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// Nothing says where this user's data is.
    #[error("there is no home folder: set HOME, XDG_DATA_HOME or P2PNODE_HOME, or name one with --home")]
    NoHome,
}

/// What decides about the place of the socket, read once at the rim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// `P2PNODE_API`.
    pub api: Option<PathBuf>,
    /// `P2PNODE_HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// `XDG_DATA_HOME`, or `.local/share` below `HOME`.
    pub data_home: Option<PathBuf>,
    /// The folder for temporary files.
    pub temp_dir: PathBuf,
    /// The working directory, which relative paths start from.
    pub working_dir: PathBuf,
    /// This process's user.
    pub uid: u32,
}

impl Places {
    /// Those of this process.
    pub fn from_env() -> Self {
        let var = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let absolute = |path: &PathBuf| path.is_absolute();
        Self {
            api: var("P2PNODE_API"),
            home: var("P2PNODE_HOME"),
            // The XDG specification says that relative paths in these two are to be ignored.
            runtime_dir: var("XDG_RUNTIME_DIR").filter(absolute),
            data_home: var("XDG_DATA_HOME")
                .filter(absolute)
                .or_else(|| var("HOME").map(|home| home.join(".local/share"))),
            temp_dir: env::temp_dir(),
            working_dir: env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            uid: rustix::process::getuid().as_raw(),
        }
    }

    /// Where the node keeps its keys and data: `home` if given, else `P2PNODE_HOME`, else `p2pnode` in the user's data.
    pub fn home(&self, home: Option<&Path>) -> Result<PathBuf, SocketPathError> {
        match home.or(self.home.as_deref()) {
            Some(home) => Ok(self.absolute(home)),
            None => self.data_home.as_ref().map(|data| data.join("p2pnode")).ok_or(SocketPathError::NoHome),
        }
    }

    /// The socket of the node with `home`, or `explicit`. Touches no file.
    pub fn socket(&self, home: Option<&Path>, explicit: Option<&Path>) -> Result<SocketPath, SocketPathError> {
        if let Some(explicit) = explicit.or(self.api.as_deref()) {
            let path = self.absolute(explicit);
            let len = path.as_os_str().len();
            return match fits(&path) {
                true => Ok(SocketPath { path, instead_of: None }),
                false => Err(SocketPathError::TooLong { path, len }),
            };
        }
        let has_home = home.is_some() || self.home.is_some();
        let wanted = match &self.runtime_dir {
            Some(runtime) if !has_home => runtime.join("p2pnode").join(SOCKET_FILE),
            _ => self.home(home)?.join(SOCKET_FILE),
        };
        if fits(&wanted) {
            return Ok(SocketPath { path: wanted, instead_of: None });
        }
        let path = self.short_folder(&self.home(home)?).join(SOCKET_FILE);
        let len = path.as_os_str().len();
        match fits(&path) {
            true => Ok(SocketPath { path, instead_of: Some(wanted) }),
            false => Err(SocketPathError::TooLong { path, len }),
        }
    }

    /// A folder with a short name, the same for everybody who computes it from the same home.
    fn short_folder(&self, home: &Path) -> PathBuf {
        let hash = blake3::hash(home.as_os_str().as_bytes()).to_hex();
        let digits: String = hash.chars().take(16).collect();
        self.temp_dir.join(format!("p2pnode-{}-{digits}", self.uid))
    }

    /// Absolute, without `.` and doubled or closing slashes. Symlinks stay as they are: the path may not exist yet.
    fn absolute(&self, path: &Path) -> PathBuf {
        self.working_dir.join(path).components().collect()
    }
}

/// Where the socket of the node with `home` is, or `explicit`; both win over the environment, which wins over the defaults.
///
/// An existing short folder below the temporary one is checked to belong to this user.
pub fn default_path(home: Option<&Path>, explicit: Option<&Path>) -> Result<SocketPath, SocketPathError> {
    let places = Places::from_env();
    let socket = places.socket(home, explicit)?;
    if socket.instead_of.is_some()
        && let Some(folder) = socket.path.parent()
        && let Ok(found) = folder.symlink_metadata()
        && (!found.is_dir() || found.uid() != places.uid)
    {
        return Err(SocketPathError::ForeignFolder { folder: folder.to_owned() });
    }
    Ok(socket)
}

/// Where the node keeps its keys and data: `home` if given, else as the environment says.
pub fn default_home(home: Option<&Path>) -> Result<PathBuf, SocketPathError> {
    Places::from_env().home(home)
}

fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= MAX_SOCKET_PATH_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places {
            runtime_dir: Some("/run/user/1000".into()),
            data_home: Some("/home/ada/.local/share".into()),
            temp_dir: "/tmp".into(),
            working_dir: "/home/ada/here".into(),
            uid: 1000,
            ..Places::default()
        }
    }

    fn path(places: &Places, home: Option<&str>, explicit: Option<&str>) -> String {
        let found = places.socket(home.map(Path::new), explicit.map(Path::new)).unwrap();
        found.path.to_str().unwrap().to_owned()
    }

    #[test]
    fn the_runtime_folder_has_the_socket_unless_a_home_is_named() {
        let mut places = places();
        assert_eq!(path(&places, None, None), "/run/user/1000/p2pnode/api.sock");
        assert_eq!(path(&places, Some("/srv/node"), None), "/srv/node/api.sock");
        assert_eq!(path(&places, Some("./other//"), None), "/home/ada/here/other/api.sock");
        places.home = Some("/srv/env".into());
        assert_eq!(path(&places, None, None), "/srv/env/api.sock");
        assert_eq!(path(&places, Some("/srv/flag"), None), "/srv/flag/api.sock");
        places.home = None;
        places.runtime_dir = None;
        assert_eq!(path(&places, None, None), "/home/ada/.local/share/p2pnode/api.sock");
    }

    #[test]
    fn an_explicit_path_wins_over_everything() {
        let mut places = places();
        places.api = Some("/env.sock".into());
        assert_eq!(path(&places, Some("/srv/node"), None), "/env.sock");
        assert_eq!(path(&places, Some("/srv/node"), Some("x.sock")), "/home/ada/here/x.sock");
    }

    #[test]
    fn a_path_of_107_bytes_is_the_longest() {
        let places = places();
        let home = format!("/{}", "h".repeat(107 - 1 - "/api.sock".len()));
        let found = places.socket(Some(Path::new(&home)), None).unwrap();
        assert_eq!((found.path.as_os_str().len(), found.instead_of), (107, None));

        let home = format!("{home}h");
        let found = places.socket(Some(Path::new(&home)), None).unwrap();
        let hash = blake3::hash(home.as_bytes()).to_hex();
        assert_eq!(found.path, PathBuf::from(format!("/tmp/p2pnode-1000-{}/api.sock", &hash[..16])));
        assert_eq!(found.instead_of, Some(PathBuf::from(format!("{home}/api.sock"))));
        assert_eq!(places.socket(Some(Path::new(&format!("{home}/"))), None).unwrap(), found);
    }

    #[test]
    fn an_explicit_path_that_is_too_long_is_refused() {
        let explicit = format!("/{}", "s".repeat(107));
        let refused = places().socket(None, Some(Path::new(&explicit))).unwrap_err();
        assert_eq!(refused, SocketPathError::TooLong { path: explicit.into(), len: 108 });
    }

    #[test]
    fn without_any_home_there_is_an_error() {
        let places = Places { working_dir: "/".into(), ..Places::default() };
        assert_eq!(places.socket(None, None), Err(SocketPathError::NoHome));
    }
}

//! What can be set about a node: the sum of its parts' settings, and the file they are kept in.

mod edit;
mod print;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use p2p_api::LockLevel;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::edit::set_listen;

/// Largest configuration file, in bytes; every value with its comment is a hundredth of it.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Longest name of a network, in bytes: it is a part of every protocol's name.
const MAX_NETWORK_BYTES: usize = 32;

/// The value that switches a listener off.
const OFF: &str = "off";

/// Settings of a node. [`Config::to_commented_toml`] prints them all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of the overlay network, `main` by default: 1 to 32 of `a-z`, `0-9`, `-`. Nodes of different networks never
    /// meet.
    pub network: String,
    /// Memory for the store of what can be fetched or computed again, in MiB; 8 by default. More makes large drives
    /// faster and the process larger.
    pub cache_mib: u64,
    /// How much of drives that are only looked at is kept on disk, so that it need not travel again: `auto` (10 GB, or
    /// 5 % of the free disk if that is less; the default), `off`, or a size like `500 MB` or `2 GiB`. The drive not
    /// looked at for longest makes room.
    pub browse_cache: String,
    /// Room for copies of what shared files held in earlier versions, in MiB, where the file system has no reflinks; 2048 by
    /// default. With 0 earlier versions can be listed, and read as far as their files did not change.
    pub history_mib: u64,
    /// Where the web gateway listens, for the program that brings one: a loopback address and port, `localhost:PORT` for
    /// both families, or `off`. `localhost:8642` by default; the port is part of every site's origin.
    pub gateway: String,
    /// Where the DNS listener for names is, for the program that brings one: as for `gateway`; `localhost:15355` by default.
    pub dns: String,
    /// The resolver to which the DNS listener passes on questions for other names, for programs that ask nobody else: an IP
    /// address, with a port if it is not 53, or `off`, the default. Names below `.alt` never go there.
    pub dns_forward: String,
    /// Where the local API answers over TCP as well, for apps that cannot open a unix socket: a loopback address and port,
    /// or `off`, the default. Every call there needs the token of an app.
    pub api_tcp: String,
    /// The keys are locked by themselves when nobody has used the node for so many minutes and there is a passphrase; 0, the
    /// default: never.
    pub lock_after_minutes: u64,
    /// How much locking closes: `identity`, the default, the keys alone; `full` the whole node: it leaves the network, its
    /// transport key lies behind the passphrase too, and after a start it waits for `p2p unlock`.
    pub lock: LockLevel,
    /// MiB a second that the streams of all apps with a token move together, 64 by default; each of those that move
    /// something gets the same share. 0 = no limit.
    pub app_mib_per_second: u64,
    /// Addresses and limits of connections.
    pub transport: p2p_transport::Config,
    /// The distributed hash table.
    pub dht: p2p_dht::Config,
    /// The name system.
    pub names: crate::NamesConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            network: "main".to_owned(),
            cache_mib: 8,
            browse_cache: "auto".to_owned(),
            history_mib: 2048,
            gateway: "localhost:8642".to_owned(),
            dns: "localhost:15355".to_owned(),
            dns_forward: OFF.to_owned(),
            api_tcp: OFF.to_owned(),
            lock_after_minutes: 0,
            lock: LockLevel::Identity,
            app_mib_per_second: 64,
            transport: p2p_transport::Config::default(),
            dht: p2p_dht::Config::default(),
            names: crate::NamesConfig::default(),
        }
    }
}

/// Why settings cannot be used or kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is there and cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More than a megabyte.
    #[error("the configuration {} is larger than {MAX_FILE_BYTES} bytes; is it the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// What is written there makes no sense.
    #[error(
        "{}, line {line}: {message}; correct or remove that line (`p2pnode config` prints every value with its comment)",
        path.display()
    )]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A value is out of range.
    #[error("{key} = {value} cannot be: {reason}")]
    Value {
        /// Which setting, as in the file.
        key: &'static str,
        /// What it is set to.
        value: String,
        /// What it has to be.
        reason: String,
    },
    /// The file cannot be written.
    #[error("cannot write the configuration {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file says it in a way that cannot be changed without touching other values.
    #[error("cannot put the listen addresses into {}; add this to its part [transport] by hand: listen = {listen}", path.display())]
    Edit {
        /// The file.
        path: PathBuf,
        /// The value that was to be written.
        listen: String,
    },
}

impl Config {
    /// Reads a TOML file. What it does not name has its default; a missing file is all defaults.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        match read(path)? {
            Some(text) => Self::parse(path, &text),
            None => Ok(Self::default()),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = 1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
            // The parser may say it in several lines.
            let message = error.message().trim().replace('\n', ", ");
            ConfigError::Parse { path: path.to_owned(), line, message }
        })?;
        config.check()?;
        Ok(config)
    }

    /// Whether the values can be used; flags may have changed them since they were read.
    pub fn check(&self) -> Result<(), ConfigError> {
        let name = &self.network;
        let is_name_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > MAX_NETWORK_BYTES || !name.bytes().all(is_name_byte) {
            return Err(ConfigError::Value {
                key: "network",
                value: format!("{name:?}"),
                reason: format!("a network's name is 1 to {MAX_NETWORK_BYTES} of a-z, 0-9 and -"),
            });
        }
        for (key, texts) in [
            ("transport.listen", &self.transport.listen),
            ("transport.relays", &self.transport.relays),
            ("dht.bootstrap", &self.dht.bootstrap),
        ] {
            if let Some(text) = texts.iter().find(|text| text.parse::<libp2p::Multiaddr>().is_err() || text.is_empty())
            {
                return Err(ConfigError::Value {
                    key,
                    value: format!("{text:?}"),
                    reason: "a multiaddr looks like /ip4/0.0.0.0/tcp/4001".to_owned(),
                });
            }
        }
        self.api_tcp_address()?;
        if !(1..=1024 * 1024).contains(&self.cache_mib) {
            return Err(ConfigError::Value {
                key: "cache_mib",
                value: self.cache_mib.to_string(),
                reason: "it is 1 to 1048576 MiB".to_owned(),
            });
        }
        self.browse_quota().map(drop)
    }

    /// How much of drives that are only looked at is kept.
    pub(crate) fn browse_quota(&self) -> Result<p2p_drives::BrowseQuota, ConfigError> {
        self.browse_cache.parse().map_err(|error: p2p_drives::BrowseQuotaError| ConfigError::Value {
            key: "browse_cache",
            value: format!("{:?}", self.browse_cache),
            reason: error.to_string(),
        })
    }

    /// Where the local API answers over TCP, if it does.
    pub(crate) fn api_tcp_address(&self) -> Result<Option<SocketAddr>, ConfigError> {
        if self.api_tcp == OFF {
            return Ok(None);
        }
        match self.api_tcp.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Some(address)),
            _ => Err(ConfigError::Value {
                key: "api_tcp",
                value: format!("{:?}", self.api_tcp),
                reason: "it is a loopback address and port like 127.0.0.1:8643, or off".to_owned(),
            }),
        }
    }

    /// The settings as a TOML file, each value with what it does. Reading it gives the same settings.
    pub fn to_commented_toml(&self) -> String {
        print::commented(self)
    }
}

fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    let len = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if len as u64 > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    Ok(Some(text))
}

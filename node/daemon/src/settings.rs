//! The settings of a run: the file, then the flags.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use p2p_gateway::Settings;
use p2p_node::{Config, ConfigError, RelayMode};

use crate::Failure;

/// Name of the configuration file in a node's home.
const FILE: &str = "config.toml";
/// The value of the settings `gateway` and `dns` that switches them off.
pub(crate) const OFF: &str = "off";

/// What the flags of `p2pnode start` change for one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`: another configuration file, which has to be there.
    pub config: Option<PathBuf>,
    /// `--listen`: instead of the configured addresses.
    pub listen: Vec<String>,
    /// `--bootstrap`: in addition to the configured ones.
    pub bootstrap: Vec<String>,
    /// `--network`.
    pub network: Option<String>,
    /// `--no-mdns`.
    pub no_mdns: bool,
    /// `--no-port-mapping`.
    pub no_port_mapping: bool,
    /// `--relay`.
    pub relay: Option<RelayMode>,
    /// `--gateway`.
    pub gateway: Option<GatewayFlag>,
    /// Whether there is no DNS listener this time.
    pub no_dns: bool,
}

/// The value of `--gateway`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayFlag {
    /// `off`.
    Off,
    /// An address.
    At(String),
}

impl From<&str> for GatewayFlag {
    fn from(text: &str) -> Self {
        if text == OFF { Self::Off } else { Self::At(text.to_owned()) }
    }
}

/// The settings in force, and the file they come from (which may not be there).
pub fn load_config(home: &Path, flags: &Flags) -> Result<(Config, PathBuf), Failure> {
    let path = match &flags.config {
        Some(path) if !path.exists() => {
            return Err(Failure::failed(anyhow!("there is no configuration file {}", path.display()))
                .with_hint("`p2pnode config` prints one to begin with"));
        }
        Some(path) => path.clone(),
        None => home.join(FILE),
    };
    let mut config = Config::load(&path).map_err(failure)?;
    apply(&mut config, flags);
    config.check().map_err(failure)?;
    Ok((config, path))
}

fn apply(config: &mut Config, flags: &Flags) {
    if !flags.listen.is_empty() {
        config.transport.listen.clone_from(&flags.listen);
    }
    if let Some(network) = &flags.network {
        config.network.clone_from(network);
    }
    match &flags.gateway {
        Some(GatewayFlag::Off) => config.gateway = OFF.to_owned(),
        Some(GatewayFlag::At(address)) => config.gateway.clone_from(address),
        None => {}
    }
    if flags.no_dns {
        config.dns = OFF.to_owned();
    }
    if flags.no_mdns {
        config.transport.mdns = false;
        config.transport.lan_tags = false;
    }
    if flags.no_port_mapping {
        config.transport.port_mapping = false;
    }
    if let Some(relay) = flags.relay {
        config.transport.relay = relay;
    }
}

/// What the setting `gateway` says; `None` for `off`.
pub(crate) fn gateway_settings(text: &str) -> Result<Option<Settings>, Failure> {
    if text == OFF {
        return Ok(None);
    }
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(Some(Settings { port, ..Settings::default() }));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) => Ok(Some(Settings::at(address))),
        Err(_) => Err(Failure::usage(anyhow!("gateway = {text:?} is no place to listen on"))
            .with_hint("say an address as 127.0.0.1:8642, localhost:8642, or off")),
    }
}

fn failure(error: ConfigError) -> Failure {
    match error {
        ConfigError::Value { .. } => Failure::usage(error),
        _ => Failure::failed(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn flags_win_over_the_file() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(FILE), "network = \"file\"\ncache_mib = 3\n").unwrap();
        let flags = Flags {
            network: Some("flag".into()),
            no_mdns: true,
            no_port_mapping: true,
            relay: Some(RelayMode::Trusted),
            listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
            ..Flags::default()
        };
        let (config, path) = load_config(home.path(), &flags).unwrap();
        assert_eq!((config.network.as_str(), config.cache_mib, config.transport.mdns), ("flag", 3, false));
        assert_eq!(config.transport.listen, flags.listen);
        assert_eq!((config.transport.port_mapping, config.transport.relay), (false, RelayMode::Trusted));
        assert_eq!(path, home.path().join(FILE));
    }

    #[test]
    fn a_named_file_has_to_be_there_and_the_usual_one_has_not() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(load_config(home.path(), &Flags::default()).unwrap().0, Config::default());
        let flags = Flags { config: Some(home.path().join("other.toml")), ..Flags::default() };
        let failure = load_config(home.path(), &flags).unwrap_err();
        assert_eq!(failure.status, 1);
        assert!(failure.to_string().contains("other.toml"), "{failure}");
    }

    #[test]
    fn what_this_version_cannot_do_is_refused_and_not_ignored() {
        let home = tempfile::tempdir().unwrap();
        let flags = Flags { network: Some("Not A Name".into()), ..Flags::default() };
        assert_eq!(load_config(home.path(), &flags).unwrap_err().status, 2);
    }

    #[test]
    fn the_gateway_listens_where_it_is_told() {
        let home = tempfile::tempdir().unwrap();
        let at = |flag: &str| {
            let flags = Flags { gateway: Some(flag.into()), ..Flags::default() };
            let (config, _) = load_config(home.path(), &flags).unwrap();
            gateway_settings(&config.gateway)
        };
        assert_eq!(at("off").unwrap(), None);
        assert_eq!(at("localhost:1").unwrap().unwrap().addresses.len(), 2);
        let one = at("127.0.0.1:99").unwrap().unwrap();
        assert_eq!((one.addresses.len(), one.port), (1, 99));
        for wrong in ["", "nowhere", "localhost", "localhost:x", "8642"] {
            assert_eq!(at(wrong).unwrap_err().status, 2, "{wrong:?}");
        }
        assert_eq!(gateway_settings(&Config::default().gateway).unwrap().unwrap(), Settings::default());
    }
}

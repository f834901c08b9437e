//! The settings of `p2pnode start`, which the daemon carries out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use p2p_api::socket::{self, SocketPath};

use crate::arguments::Global;
use crate::environment::Verbosity;
use crate::failure::{Failure, Result};
use crate::place;

/// Everything that `p2pnode start` was told. `None` and empty lists leave the decision to the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartOptions {
    /// Where keys and data are, absolute.
    pub home: PathBuf,
    /// Where the socket is to be.
    pub socket: SocketPath,
    /// The configuration file, absolute, if one was named.
    pub config: Option<PathBuf>,
    /// Multiaddrs to listen on.
    pub listen: Vec<String>,
    /// Multiaddrs of peers to connect to first.
    pub bootstrap: Vec<String>,
    /// The overlay network.
    pub network: Option<String>,
    /// `--no-mdns`.
    pub no_mdns: bool,
    /// `--no-port-mapping`.
    pub no_port_mapping: bool,
    /// `--relay`.
    pub relay: Option<RelaySetting>,
    /// `--gateway`.
    pub gateway: Option<GatewaySetting>,
    /// `--json`: print what there is to print as JSON.
    pub json: bool,
    /// How much to log.
    pub verbosity: Verbosity,
}

/// For whom to serve as a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RelaySetting {
    /// For nobody.
    Off,
    /// For trusted peers only.
    Trusted,
    /// For anybody, within limits.
    Public,
}

/// Where the web gateway listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewaySetting {
    /// Nowhere.
    Off,
    /// At an address.
    At(SocketAddr),
    /// At this port of this computer, for both families of addresses.
    Localhost(u16),
}

impl FromStr for GatewaySetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let port = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        let known = port.map(Self::Localhost).or_else(|| text.parse().ok().map(Self::At));
        known.ok_or_else(|| "neither localhost:PORT nor an address like 127.0.0.1:8642 nor off".to_owned())
    }
}

/// The flags.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Listen at this address; can be repeated.
    #[arg(long, value_name = "MULTIADDR", value_parser = multiaddr)]
    listen: Vec<String>,
    /// Connect to this peer first; can be repeated.
    #[arg(long, value_name = "MULTIADDR", value_parser = multiaddr)]
    bootstrap: Vec<String>,
    /// A separate overlay network [default: main].
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Do not look for peers in the local network.
    #[arg(long)]
    no_mdns: bool,
    /// Do not ask the router to forward a port.
    #[arg(long)]
    no_port_mapping: bool,
    /// Serve as a relay for others [without a value: public].
    #[arg(long, value_name = "WHOM", num_args = 0..=1, require_equals = true, default_missing_value = "public")]
    relay: Option<RelaySetting>,
    /// Where the web gateway listens, or off.
    #[arg(long, value_name = "ADDR")]
    gateway: Option<GatewaySetting>,
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A first look only: what addresses there are is known elsewhere.
fn multiaddr(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("a multiaddr begins with a slash".to_owned()) }
}

impl StartOptions {
    pub(crate) fn new(global: &Global, settings: Settings) -> Result<Self> {
        let home = socket::default_home(global.home.as_deref()).map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Self {
            home,
            socket: global.socket()?,
            config: settings.config.as_deref().map(place::absolute).transpose()?,
            listen: settings.listen,
            bootstrap: settings.bootstrap,
            network: settings.network,
            no_mdns: settings.no_mdns,
            no_port_mapping: settings.no_port_mapping,
            relay: settings.relay,
            gateway: settings.gateway,
            json: global.json,
            verbosity: global.verbosity(),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::node::{Command, NodeArguments};

    fn parse(line: &str) -> Result<StartOptions, clap::Error> {
        let arguments = NodeArguments::try_parse_from(line.split(' '))?;
        let Command::Start(settings) = arguments.command else { panic!("not start") };
        Ok(StartOptions::new(&arguments.global, settings).unwrap())
    }

    #[test]
    fn all_flags_arrive() {
        let line = "p2pnode start --home /h --listen /ip4/0.0.0.0/tcp/1 --listen /ip6/::/tcp/1 --bootstrap /ip4/1.2.3.4/tcp/1 \
                    --network test --no-mdns --no-port-mapping --relay=trusted --gateway off --config /c.toml --json -vv";
        let words: Vec<&str> = line.split_whitespace().collect();
        let options = parse(&words.join(" ")).unwrap();
        assert_eq!(options.home, PathBuf::from("/h"));
        assert_eq!(options.socket.path, PathBuf::from("/h/api.sock"));
        assert_eq!(options.listen, ["/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/1"]);
        assert_eq!(options.bootstrap, ["/ip4/1.2.3.4/tcp/1"]);
        assert_eq!(options.network.as_deref(), Some("test"));
        assert!(options.no_mdns && options.no_port_mapping && options.json);
        assert_eq!(options.relay, Some(RelaySetting::Trusted));
        assert_eq!(options.gateway, Some(GatewaySetting::Off));
        assert_eq!(options.config, Some(PathBuf::from("/c.toml")));
        assert_eq!(options.verbosity, Verbosity::Debug);
    }

    #[test]
    fn a_bare_relay_is_public() {
        assert_eq!(parse("p2pnode start --home /h --relay").unwrap().relay, Some(RelaySetting::Public));
        assert_eq!(parse("p2pnode start --home /h").unwrap().relay, None);
    }

    #[test]
    fn bad_values_are_refused() {
        for line in ["--gateway nowhere", "--gateway localhost:99999", "--relay=all", "--listen 1.2.3.4:5"] {
            assert!(parse(&format!("p2pnode start --home /h {line}")).is_err(), "{line}");
        }
        let both = parse("p2pnode start --home /h --gateway localhost:8643").unwrap().gateway;
        assert_eq!(both, Some(GatewaySetting::Localhost(8643)));
        let at = parse("p2pnode start --home /h --gateway 127.0.0.1:8642").unwrap().gateway;
        assert_eq!(at, Some(GatewaySetting::At("127.0.0.1:8642".parse().unwrap())));
    }
}

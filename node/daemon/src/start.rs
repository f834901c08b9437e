//! Running a node: in the foreground as a daemon, or inside a command.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use p2p_api::App;
use p2p_api::socket::{default_home, default_path};
use p2p_dns::{BindError, Dns};
use p2p_files::Files;
use p2p_gateway::Gateway;
use p2p_node::{Config, NodeOptions, RunningNode, set_listen};
use sd_notify::NotifyState;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::open_files::raise_open_files;
use crate::private_memory::keep_private;
use crate::settings::{OFF, gateway_settings};
use crate::signals::LockSignal;
use crate::{Failure, Flags, Ready, StopSignals, load_config, ports};

/// How long saying goodbye may take. The service manager waits a little longer than this.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// Which node: its home and its socket, as far as they were named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// `--home`; else the environment says, or the default holds.
    pub home: Option<PathBuf>,
    /// `--api`; else it follows from the home.
    pub api: Option<PathBuf>,
}

/// The apps that come with the daemon.
struct Bundle {
    apps: Vec<Arc<dyn App>>,
    /// Where the web gateway is, unless it is off or its port was taken.
    gateway: Option<String>,
    /// What is not as it should be, and what to do.
    notices: Vec<String>,
}

impl Bundle {
    fn new(config: &Config) -> Result<Self, Failure> {
        let files: Arc<dyn App> = Arc::new(Files::new());
        let mut bundle = Self { apps: vec![files.clone()], gateway: None, notices: Vec::new() };
        if let Some(settings) = gateway_settings(&config.gateway)? {
            let gateway = Gateway::bind(settings).map_err(Failure::usage)?.with_files(files);
            bundle.gateway = gateway.address();
            if bundle.gateway.is_none() {
                bundle.notices.push(format!(
                    "the web gateway is off: the port of {} is taken by another program or node; --gateway \
                     localhost:PORT takes another",
                    config.gateway
                ));
            }
            bundle.apps.push(Arc::new(gateway));
        }
        if config.dns != OFF {
            let bound = Dns::bind(&config.dns).and_then(|dns| match config.dns_forward.as_str() {
                OFF => Ok(dns),
                resolver => dns.forwarding_to(resolver),
            });
            match bound {
                Ok(dns) => bundle.apps.push(Arc::new(dns)),
                Err(error @ BindError::Taken { .. }) => {
                    bundle.notices.push(format!(
                        "no DNS listener for names: {} is taken by another program or node; the setting dns takes \
                         another port",
                        config.dns
                    ));
                    warn!(error = %anyhow::Error::new(error), "no DNS listener; the node goes on without");
                }
                Err(error) => {
                    return Err(Failure::usage(error).with_hint("say an address as localhost:15355, or off"));
                }
            }
        }
        Ok(bundle)
    }
}

/// Starts a node with the bundled apps and keeps the ports that it got for the next start.
pub async fn open_node(place: &Place, flags: &Flags) -> Result<RunningNode, Failure> {
    let home = default_home(place.home.as_deref()).map_err(Failure::usage)?;
    let (config, file) = load_config(&home, flags)?;
    // Said outright, so that the engine does not take the home for one that was named.
    let socket = default_path(place.home.as_deref(), place.api.as_deref()).map_err(Failure::usage)?;
    if let Some(usual) = &socket.instead_of {
        warn!(path = %socket.path.display(), usual = %usual.display(), "the usual path of the socket is too long");
    }
    let configured = config.clone();
    let Bundle { apps, gateway, mut notices } = Bundle::new(&config)?;
    notices.extend(raise_open_files());
    let open_swap = keep_private();
    let options = NodeOptions {
        home: home.clone(),
        api: Some(socket.path),
        config,
        gateway,
        apps,
        bootstrap: flags.bootstrap.clone(),
        notices,
    };
    let node = p2p_node::start(options).await.map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("cannot start a node in {}", home.display()));
        Failure::failed(error).with_hint(
            "if another node runs there, `p2pnode status` shows it and `p2pnode stop` ends it; a second node needs \
             another --home",
        )
    })?;
    if let Some(notice) = open_swap
        && node.node().keystore().info().await.is_ok_and(|keys| keys.protected)
    {
        warn!("{notice}");
    }
    if flags.listen.is_empty() {
        keep_ports(&configured, &file, &node);
    }
    Ok(node)
}

/// Addresses that stay the same let peers and links find the node again. Without them it works all the same.
fn keep_ports(configured: &Config, file: &std::path::Path, node: &RunningNode) {
    let Some(listen) = ports::kept(&configured.transport.listen, &node.listen()) else { return };
    match set_listen(file, &listen) {
        Ok(()) => debug!(file = %file.display(), "listen ports kept"),
        Err(error) => warn!(%error, "the listen ports are not kept, the next start takes others"),
    }
}

/// Runs a node until SIGINT, SIGTERM, or until it is asked to stop through its socket. Prints one line, or one JSON
/// object, when it is ready, and tells the service manager.
pub async fn run_daemon(place: &Place, flags: &Flags, print: impl FnOnce(&Ready) -> String) -> Result<(), Failure> {
    let mut signals = StopSignals::listen().map_err(Failure::failed)?;
    let mut locks = LockSignal::listen().map_err(Failure::failed)?;
    let node = tokio::select! {
        node = open_node(place, flags) => node?,
        signal = signals.next() => {
            info!(?signal, "stopped before it was ready");
            return Ok(());
        }
    };
    let ready = Ready {
        peer_id: node.peer_id().to_string(),
        listen: node.listen(),
        api: node.socket().to_owned(),
        gateway: node.gateway().map(str::to_owned),
    };
    say(&print(&ready));
    tell(NotifyState::Ready);

    tokio::select! {
        signal = signals.next() => info!(?signal, "stopping"),
        () = node.stop_requested() => info!("stopping, as asked through the socket"),
        () = lock_when_told(&node, &mut locks) => {}
    }
    tell(NotifyState::Stopping);
    tokio::select! {
        ended = timeout(SHUTDOWN_DEADLINE, node.shutdown()) => match ended {
            Ok(()) => Ok(()),
            Err(_) => Err(Failure::failed(anyhow::anyhow!(
                "the node did not stop within {} s and is ended now; what it acknowledged is on disk",
                SHUTDOWN_DEADLINE.as_secs()
            ))),
        },
        _ = signals.next() => Err(Failure::failed(anyhow::anyhow!("ended at once, as asked twice"))),
    }
}

/// Locks the keys at each signal, for ever.
async fn lock_when_told(node: &RunningNode, locks: &mut LockSignal) {
    loop {
        locks.next().await;
        if let Err(error) = node.node().keystore().lock().await {
            warn!(%error, "asked by a signal to lock the keys");
        }
    }
}

/// A closed stdout is no reason to stop.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        debug!(%error, "nobody reads stdout");
    }
}

/// Without a service manager this does nothing.
fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "cannot reach the service manager");
    }
}

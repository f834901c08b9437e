//! Running a node: in the foreground as a daemon, or inside a command.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use p2p_api::App;
use p2p_api::socket::{default_home, default_path};
use p2p_dns::{BindError, Dns};
use p2p_files::Files;
use p2p_gateway::Gateway;
use p2p_node::{Config, NodeOptions, OpenHome, RunningNode, StartError, Waited, set_listen, start_in};
use sd_notify::NotifyState;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::open_files::raise_open_files;
use crate::private_memory::keep_private;
use crate::settings::{OFF, gateway_settings};
use crate::signals::LockSignal;
use crate::{Failure, Flags, Ready, State, StopSignals, again, load_config, ports};

/// How long saying goodbye may take. The service manager waits a little longer than this.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);
/// How long it may take when the node is closed: its keys are wiped already, the transport key goes with the process.
const CLOSE_DEADLINE: Duration = Duration::from_millis(250);

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

/// A home that is open, and what a node in it is to be like.
struct Prepared {
    opened: OpenHome,
    home: PathBuf,
    socket: PathBuf,
    config: Config,
    file: PathBuf,
    notices: Vec<String>,
}

impl Prepared {
    async fn new(place: &Place, flags: &Flags) -> Result<Self, Failure> {
        let home = default_home(place.home.as_deref()).map_err(Failure::usage)?;
        let (config, file) = load_config(&home, flags)?;
        // Said outright, so that the engine does not take the home for one that was named.
        let socket = default_path(place.home.as_deref(), place.api.as_deref()).map_err(Failure::usage)?;
        if let Some(usual) = &socket.instead_of {
            warn!(path = %socket.path.display(), usual = %usual.display(), "the usual path of the socket is too long");
        }
        let open_swap = keep_private();
        let notices = raise_open_files().into_iter().collect();
        let opened = OpenHome::open(&home, config.lock).await.map_err(|error| cannot_start(&home, error))?;
        if let Some(notice) = open_swap
            && opened.is_protected()
        {
            warn!("{notice}");
        }
        Ok(Self { opened, home, socket: socket.path, config, file, notices })
    }

    /// Starts a node with the bundled apps and keeps the ports that it got for the next start.
    async fn start(self, flags: &Flags) -> Result<RunningNode, Failure> {
        let configured = self.config.clone();
        let Bundle { apps, gateway, mut notices } = Bundle::new(&self.config)?;
        notices.extend(self.notices);
        let options = NodeOptions {
            home: self.home.clone(),
            api: Some(self.socket),
            config: self.config,
            gateway,
            apps,
            bootstrap: flags.bootstrap.clone(),
            notices,
        };
        let node = start_in(self.opened, options).await.map_err(|error| cannot_start(&self.home, error))?;
        if flags.listen.is_empty() {
            keep_ports(&configured, &self.file, &node);
        }
        Ok(node)
    }
}

fn cannot_start(home: &Path, error: StartError) -> Failure {
    let hint = match error {
        StartError::Closed => "start it with p2pnode start, then open it with p2p unlock",
        _ => {
            "if another node runs there, `p2pnode status` shows it and `p2pnode stop` ends it; a second node needs \
             another --home"
        }
    };
    let error = anyhow::Error::new(error).context(format!("cannot start a node in {}", home.display()));
    Failure::failed(error).with_hint(hint)
}

/// Starts a node with the bundled apps, inside a command.
pub async fn open_node(place: &Place, flags: &Flags) -> Result<RunningNode, Failure> {
    Prepared::new(place, flags).await?.start(flags).await
}

/// Addresses that stay the same let peers and links find the node again. Without them it works all the same.
fn keep_ports(configured: &Config, file: &Path, node: &RunningNode) {
    let Some(listen) = ports::kept(&configured.transport.listen, &node.listen()) else { return };
    match set_listen(file, &listen) {
        Ok(()) => debug!(file = %file.display(), "listen ports kept"),
        Err(error) => warn!(%error, "the listen ports are not kept, the next start takes others"),
    }
}

/// Runs a node until SIGINT, SIGTERM, or until it is asked to stop through its socket. Prints one line, or one JSON
/// object, when it is ready, and when it waits for the passphrase before that; and tells the service manager.
pub async fn run_daemon(place: &Place, flags: &Flags, print: impl Fn(&State) -> String) -> Result<(), Failure> {
    let mut signals = StopSignals::listen().map_err(Failure::failed)?;
    let mut locks = LockSignal::listen().map_err(Failure::failed)?;
    let node = async {
        let mut prepared = Prepared::new(place, flags).await?;
        if again::was_closed() {
            prepared.opened.close();
        }
        if prepared.opened.is_closed() {
            let Some(opened) = wait(prepared.opened, &prepared.home, &prepared.socket, &mut locks, &print).await?
            else {
                return Ok(None);
            };
            prepared.opened = opened;
        }
        prepared.opened = prepared.opened.with_closing();
        prepared.start(flags).await.map(Some)
    };
    let node = tokio::select! {
        node = node => node?,
        signal = signals.next() => {
            info!(?signal, "stopped before it was ready");
            return Ok(());
        }
    };
    let Some(node) = node else {
        info!("stopped while it waited for the passphrase, as asked through the socket");
        return Ok(());
    };
    let ready = Ready {
        peer_id: node.peer_id().to_string(),
        listen: node.listen(),
        api: node.socket().to_owned(),
        gateway: node.gateway().map(str::to_owned),
    };
    say(&print(&State::Ready(ready)));
    tell(&[NotifyState::Ready, NotifyState::Status("ready")]);

    tokio::select! {
        signal = signals.next() => info!(?signal, "stopping"),
        () = node.stop_requested() => info!("stopping, as asked through the socket"),
        () = node.close_requested() => return Err(close(node).await),
        () = lock_when_told(&node, &mut locks) => {}
    }
    tell(&[NotifyState::Stopping]);
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

/// Waits at the socket for the passphrase; `None` if the node was asked to stop instead.
async fn wait(
    mut opened: OpenHome,
    home: &Path,
    socket: &Path,
    locks: &mut LockSignal,
    print: impl Fn(&State) -> String,
) -> Result<Option<OpenHome>, Failure> {
    opened.listen(socket).map_err(|error| cannot_start(home, error))?;
    info!("the node is closed, and starts with p2p unlock");
    say(&print(&State::Closed { api: socket.to_owned() }));
    tell(&[NotifyState::Ready, NotifyState::Status("closed: waits for p2p unlock")]);
    // It cannot be more locked than it is.
    let ignore = async {
        loop {
            locks.next().await;
        }
    };
    tokio::select! {
        waited = opened.wait() => match waited.map_err(|error| cannot_start(home, error))? {
            Waited::Unlocked(opened) => Ok(Some(*opened)),
            _ => Ok(None),
        },
        () = ignore => Ok(None),
    }
}

/// Ends the node and begins again as a process that waits for the passphrase. Returns only if that fails.
async fn close(node: RunningNode) -> Failure {
    info!("closing the node");
    tell(&[NotifyState::Status("closing")]);
    if timeout(CLOSE_DEADLINE, node.shutdown()).await.is_err() {
        debug!("the node is closed before it could say goodbye to all; what it acknowledged is on disk");
    }
    let error =
        anyhow::Error::new(again::begin_closed()).context("the node is locked and cannot wait for its passphrase");
    Failure::failed(error).with_hint("start it again with p2pnode start")
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
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot reach the service manager");
    }
}

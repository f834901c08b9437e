//! Starting and stopping a node: home, stores, network, drives, socket, apps; and all of it backwards.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use p2p_api::{App, Node};
use p2p_dht::RecordKind;
use p2p_drives::{
    CacheError, CacheOpened, DriveEvent, Drives, DrivesConfig, Ledger, LedgerError, RedbLedger, SledCache,
};
use p2p_identity::PeerId;
use p2p_transport::{IncomingStream, our_peer_id};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::api::{Access, Listeners};
use crate::app_keys::AppKeys;
use crate::events::EventLog;
use crate::home::{Home, HomeError};
use crate::keys::Keys;
use crate::local::LocalNode;
use crate::names::{Names, NamesParts, record_cache, record_kinds};
use crate::network::{self, Beacons, LanMode, Network, NetworkConfig, peer_stream};
use crate::opened::OpenHome;
use crate::people::{People, PeopleParts};
use crate::streams::AppStreams;
use crate::topics::Topics;
use crate::values::Values;

/// How long apps and transfers may take to end.
const GOODBYE: Duration = Duration::from_secs(5);

/// Which node to start.
pub struct NodeOptions {
    /// Where it keeps its keys and data.
    pub home: PathBuf,
    /// Its socket; `None` for the usual place.
    pub api: Option<PathBuf>,
    /// Its settings.
    pub config: Config,
    /// Where its web gateway is, if one of the apps is that; told to whoever asks.
    pub gateway: Option<String>,
    /// Apps that run in it.
    pub apps: Vec<Arc<dyn App>>,
    /// Multiaddrs of nodes to start from, besides those in the settings.
    pub bootstrap: Vec<String>,
    /// Sentences that whoever starts it has to say about the start; [`p2p_api::NodeInfo`] tells them.
    pub notices: Vec<String>,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The home cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] crate::ConfigError),
    /// The keys cannot be used.
    #[error("{0}")]
    Keys(String),
    /// The node is closed: its transport key lies behind the passphrase, and there is nobody to ask for it.
    #[error("the keys are locked, and without them this node does not start")]
    Closed,
    /// A store cannot be opened.
    #[error("{0}")]
    Store(String),
    /// The network cannot be used.
    #[error("{0}")]
    Network(String),
    /// The socket cannot be opened.
    #[error("cannot open the local socket")]
    Socket(#[source] std::io::Error),
}

/// A node that runs. Dropping it ends it at once; [`RunningNode::shutdown`] lets it say goodbye.
#[must_use = "a node that is dropped ends at once"]
pub struct RunningNode {
    node: Node,
    me: PeerId,
    socket: PathBuf,
    gateway: Option<String>,
    network: Network,
    drives: Drives,
    keys: Keys,
    stop_requested: CancellationToken,
    /// Ends the apps, the socket and the drives.
    stop: CancellationToken,
    /// Ends the network; last.
    stop_network: CancellationToken,
    tasks: JoinSet<()>,
    network_task: tokio::task::JoinHandle<()>,
    home: Home,
}

/// Starts a node. When this returns its socket answers.
///
/// # Errors
/// Something of it cannot be used; nothing runs then.
pub async fn start(options: NodeOptions) -> Result<RunningNode, StartError> {
    let opened = OpenHome::open(&options.home, options.config.lock).await?;
    start_in(opened, options).await
}

/// Starts a node in a home that is open already, which has to be the one that the options name.
///
/// # Errors
/// As of [`start`]. [`StartError::Closed`]: its passphrase has to come first, see [`OpenHome::wait`].
pub async fn start_in(opened: OpenHome, options: NodeOptions) -> Result<RunningNode, StartError> {
    let started = Instant::now();
    options.config.check()?;
    let OpenHome { home, keys, transport_key, socket, warnings, .. } = opened;
    let transport_key = transport_key.ok_or(StartError::Closed)?;
    let me = PeerId::from(transport_key.public());
    let mut notices: Vec<String> = options.notices;
    notices.extend(warnings);
    let was_cut_off = home.begin_run();
    let (ledger, cache, cache_opened) = open_stores(&home, options.config.cache_mib).await?;
    let cache: Arc<dyn p2p_drives::Cache> = Arc::new(cache);
    let (stop, stop_network) = (CancellationToken::new(), CancellationToken::new());
    let events = EventLog::new(stop.clone());
    let keypair = p2p_transport::keypair(&transport_key).map_err(|error| StartError::Keys(error.to_string()))?;
    drop(transport_key);
    let record_cache = record_cache();
    let network = NetworkConfig {
        keypair,
        config: options.config.clone(),
        bootstrap: options.bootstrap,
        kinds: record_kinds(record_cache.clone())
            .into_iter()
            .chain([Box::new(Values) as Box<dyn RecordKind>])
            .collect(),
        cache: cache.clone(),
        events: events.clone(),
        stop: stop_network.clone(),
    };
    let (network, incoming, network_task) = network::spawn(network).await.map_err(StartError::Network)?;
    let ledger: Arc<dyn Ledger> = Arc::new(ledger);
    if keys.is_locked() {
        // No notice: it passes with the next unlock, and `locked` tells it.
        tracing::warn!("the keys are locked: what needs one waits for p2p unlock");
    }
    let (names, publisher, flood) = Names::open(NamesParts {
        network_name: options.config.network.clone(),
        config: options.config.names.clone(),
        ledger: ledger.clone(),
        keys: keys.clone(),
        network: network.clone(),
        cache: record_cache,
    })
    .map_err(StartError::Store)?;
    let (access_ledger, people_ledger, near_ledger) = (ledger.clone(), ledger.clone(), ledger.clone());
    let app_keys = AppKeys::new(keys.clone());
    let (drives, recovered) = Drives::open(DrivesConfig {
        me,
        directory: home.join("drives"),
        ledger,
        cache,
        cache_opened,
        browse_quota: options.config.browse_quota()?,
        keystore: keys.keystore(),
        locked: keys.locked(),
        dialer: Arc::new(network.clone()),
        providers: Arc::new(network.clone()),
        history_bytes: options.config.history_mib.saturating_mul(1024 * 1024),
    })
    .map_err(|error| StartError::Store(error.to_string()))?;
    notices.extend(recovered);
    if was_cut_off {
        let mut notice =
            "the node did not end properly the last time; everything it had acknowledged is here".to_owned();
        let shares = drives.list().into_iter().filter(|drive| drive.role == p2p_drives::Role::Owner).count();
        if shares > 0 {
            notice.push_str(&format!(", and its shared folders ({shares}) are looked through again"));
        }
        notices.push(notice);
    }
    for notice in &notices {
        tracing::warn!("{notice}");
    }
    let (people, keeper) = People::open(PeopleParts {
        me,
        ledger: people_ledger,
        keys: keys.clone(),
        names: names.clone(),
        network: network.clone(),
        drives: drives.clone(),
        events: events.clone(),
    })
    .map_err(StartError::Store)?;
    let stop_requested = CancellationToken::new();
    let local = LocalNode {
        me,
        home: options.home.canonicalize().unwrap_or_else(|_| options.home.clone()),
        network_name: options.config.network.clone(),
        gateway: options.gateway.clone(),
        network: network.clone(),
        drives: drives.clone(),
        names,
        streams: AppStreams::new(me, network.clone(), events.clone()),
        topics: Topics::new(network.clone()),
        app_keys,
        keys: keys.clone(),
        people: people.clone(),
        events: events.clone(),
        started,
        notices,
        stop_requested: stop_requested.clone(),
    };
    let node = Node::new(Arc::new(local));
    let mut tasks = JoinSet::new();
    tasks.spawn(serve_streams(drives.clone(), incoming, stop.clone()));
    tasks.spawn(publisher.run(stop.clone()));
    tasks.spawn(keeper.run(stop.clone()));
    if options.config.transport.lan_tags {
        let (beacons, tags) = watch::channel(Beacons::default());
        let mode = if options.config.transport.mdns { LanMode::Hear } else { LanMode::HearAndAnnounce };
        tasks.spawn(people.clone().keep_lan_tags(beacons, stop.clone()));
        tasks.spawn(network::look_for_contacts(network.clone(), mode, tags, stop.clone()));
    }
    tasks.spawn(network::tell_candidates(network.clone(), stop.clone()));
    tasks.spawn(network::remember_neighbours(network.clone(), near_ledger, stop.clone()));
    if options.config.lock_after_minutes > 0 {
        let after = Duration::from_secs(options.config.lock_after_minutes.saturating_mul(60));
        let idle = keys.clone().lock_when_idle(after);
        tasks.spawn(stop.clone().run_until_cancelled_owned(idle).map(drop));
    }
    tasks.spawn(flood.run(stop.clone()));
    tasks.spawn(crate::clock::tell(network.clone(), stop.clone()));
    tasks.spawn(crate::nat::tell(network.clone(), stop.clone()));
    tasks.spawn(crate::nat::ask_relayed(network.clone(), stop.clone()));
    tasks.spawn(tell_events(drives.clone(), events, stop.clone()));
    let path = p2p_api::socket::default_path(Some(&options.home), options.api.as_deref());
    let path = path.map_err(|error| StartError::Socket(std::io::Error::other(error.to_string())))?.path;
    let access = Access::open(access_ledger, home.path()).map_err(StartError::Store)?;
    let trusted: HashSet<PeerId> =
        options.config.transport.limits.trusted().filter_map(|peer| our_peer_id(&peer)).collect();
    let of_people = people.clone();
    access.grants.tell_when_gone(move |app| of_people.forget_picks(app));
    let access =
        access.with_contacts(move |peer| trusted.contains(peer) || people.is_contact(peer)).with_keys(keys.clone());
    let access = access.with_app_bandwidth(options.config.app_mib_per_second.saturating_mul(1024 * 1024));
    let (listener, guard) = match socket {
        Some(open) => open,
        None => crate::api::bind(&path).map_err(StartError::Socket)?,
    };
    let listeners = Listeners { socket: listener, tcp: listen_tcp(&options.config).await? };
    let (served, apps, stopping) = (node.clone(), options.apps.clone(), stop.clone());
    tasks.spawn(async move {
        if let Err(error) = crate::api::serve(listeners, served, apps, access, stopping.cancelled_owned()).await {
            tracing::error!(%error, "the local socket failed");
        }
        drop(guard);
    });
    for app in options.apps {
        let (node, stopping) = (node.clone(), stop.child_token());
        tasks.spawn(async move {
            if let Err(error) = app.run(node, stopping).await {
                tracing::error!(app = app.name(), %error, "an app ended with an error");
            }
        });
    }
    tracing::info!(peer = %me, ms = started.elapsed().as_millis() as u64, "node started");
    Ok(RunningNode {
        node,
        me,
        socket: path,
        gateway: options.gateway,
        network,
        drives,
        keys,
        stop_requested,
        stop,
        stop_network,
        tasks,
        network_task,
        home,
    })
}

impl RunningNode {
    /// What apps see of it.
    pub fn node(&self) -> Node {
        self.node.clone()
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where its web gateway is, as it was told at the start.
    pub fn gateway(&self) -> Option<&str> {
        self.gateway.as_deref()
    }

    /// Its id.
    pub fn peer_id(&self) -> PeerId {
        self.me
    }

    /// Multiaddrs it listens on.
    pub fn listen(&self) -> Vec<String> {
        self.network.snapshot().listen.iter().map(ToString::to_string).collect()
    }

    /// Resolves when somebody asked it to stop through the API. Cancel safe.
    pub async fn stop_requested(&self) {
        self.stop_requested.cancelled().await;
    }

    /// Resolves when its keys were locked and all the rest of it is to be closed with them; never where nobody could start
    /// it again, see [`OpenHome::with_closing`]. Cancel safe.
    pub async fn close_requested(&self) {
        self.keys.closing_requested().await;
    }

    /// Ends it in order: no new work, goodbye to peers and apps, the network last. When this returns nothing of it runs.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        self.drives.stop();
        let goodbye = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
            tracing::debug!("some tasks did not end in time");
        }
        self.tasks.shutdown().await;
        self.stop_network.cancel();
        if tokio::time::timeout(GOODBYE, &mut self.network_task).await.is_err() {
            self.network_task.abort();
        }
        self.home.end_run();
    }
}

impl Drop for RunningNode {
    fn drop(&mut self) {
        self.stop.cancel();
        self.stop_network.cancel();
        self.network_task.abort();
    }
}

/// The API over TCP, where it is wanted. A taken port is a warning: another node may run on this computer.
async fn listen_tcp(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = config.api_tcp_address()? else { return Ok(None) };
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) => {
            tracing::warn!(%address, %error, "the local API does not answer over TCP");
            Ok(None)
        }
    }
}

async fn open_stores(home: &Home, cache_mib: u64) -> Result<(RedbLedger, SledCache, CacheOpened), StartError> {
    let (ledger_path, cache_path) = (home.join("ledger.redb"), home.join("cache"));
    let ledger = once_free(|| RedbLedger::open(&ledger_path), |error| matches!(error, LedgerError::InUse)).await;
    let ledger = ledger.map_err(|error| StartError::Store(format!("the ledger {}: {error}", ledger_path.display())))?;
    let open = || SledCache::open(&cache_path, cache_mib * 1024 * 1024);
    let cache = once_free(open, |error| matches!(error, CacheError::InUse)).await;
    let (cache, opened) =
        cache.map_err(|error| StartError::Store(format!("the cache {}: {error}", cache_path.display())))?;
    Ok((ledger, cache, opened))
}

/// Opens a store. The home is ours, so whoever holds a store in it is a node that has just ended, in this process or not,
/// and whose last disk work is running out.
async fn once_free<T, E>(open: impl Fn() -> Result<T, E>, is_held: impl Fn(&E) -> bool) -> Result<T, E> {
    const TRIES: u32 = 100;
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 0..TRIES {
        match open() {
            Err(error) if is_held(&error) => tokio::time::sleep(PAUSE).await,
            result => return result,
        }
    }
    open()
}

/// Hands every stream that a peer opens to the drives; each is served by a task of its own.
async fn serve_streams(drives: Drives, mut incoming: mpsc::Receiver<IncomingStream>, stop: CancellationToken) {
    /// Streams served at a time; each peer has its own limits within.
    const MAX_STREAMS: usize = 4_096;
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = streams.join_next(), if !streams.is_empty() => {}
            next = incoming.recv(), if streams.len() < MAX_STREAMS => {
                let Some(IncomingStream { peer, stream, .. }) = next else { break };
                let Some(peer) = our_peer_id(&peer) else { continue };
                let drives = drives.clone();
                streams.spawn(async move { drives.serve(peer, peer_stream(stream)).await });
            }
        }
    }
    streams.shutdown().await;
}

/// What happens to drives, in the log of events.
async fn tell_events(drives: Drives, log: EventLog, stop: CancellationToken) {
    let mut events = drives.events();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.recv() => event,
        };
        let (name, drive, version) = match event {
            Ok(DriveEvent::Head { drive, version }) => ("drive.head", drive, version),
            Ok(DriveEvent::Copied { drive, version }) => ("transfer.done", drive, version),
            Ok(DriveEvent::Removed { drive }) => ("drive.removed", drive, 0),
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => continue,
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        };
        log.push("drives", name, serde_json::json!({ "drive": drive.to_string(), "version": version }));
    }
}

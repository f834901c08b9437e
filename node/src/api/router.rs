//! Which path leads where.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{any, delete, get, post, put};
use http::StatusCode;
use p2p_api::{ApiError, App, Node, routes};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::Access;
use super::answers::repeatable;
use super::gate::gate;
use super::problem::Refusal;
use super::{apps, drives, events, exchange, files, grants, history, names, network, people, picks, streams, writers};

/// Calls that wait for a stream, of all callers.
const MAX_WAITING_STREAMS: usize = 1_024;

/// What every handler can reach.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) node: Node,
    pub(super) apps: Arc<BTreeMap<&'static str, Arc<dyn App>>>,
    pub(super) access: Access,
    pub(super) streams: StreamTasks,
}

/// The tasks that carry streams, and what ends them.
#[derive(Clone)]
pub(super) struct StreamTasks {
    pub(super) tasks: TaskTracker,
    pub(super) stopping: CancellationToken,
    /// Places for calls that wait for a stream: room is left for other calls.
    pub(super) waiting: Arc<Semaphore>,
}

impl Default for StreamTasks {
    fn default() -> Self {
        let waiting = Arc::new(Semaphore::new(MAX_WAITING_STREAMS));
        Self { tasks: TaskTracker::new(), stopping: CancellationToken::new(), waiting }
    }
}

/// The routes of [`p2p_api::routes`].
pub(super) fn router(server: Server) -> Router {
    Router::new()
        .route(routes::PING, get(network::ping_api))
        .route(routes::NODE, get(network::info))
        .route(routes::STOP, post(network::stop))
        .route(routes::OPENAPI, get(network::openapi))
        .route(routes::METRICS, get(network::metrics))
        .route(routes::HEALTH, get(network::health))
        .route(routes::EVENTS, get(events::stream))
        .route(routes::PEERS, get(network::peers))
        .route(routes::DIAL, post(network::dial))
        .route(routes::PEER_PING, post(network::ping))
        .route(routes::PROVIDERS, put(network::provide).get(network::find_providers).delete(network::stop_providing))
        .route(routes::VALUES, post(exchange::put_value))
        .route(routes::VALUE, get(exchange::get_value))
        .route(routes::STREAM_DIAL, post(streams::dial))
        .route(routes::STREAM_LISTEN, post(streams::listen))
        .route(routes::TOPIC, get(exchange::subscribe).post(exchange::publish))
        .route(routes::SIGN, post(exchange::sign))
        .route(routes::APP_LIST, get(grants::list).post(grants::request))
        .route(routes::APP, get(grants::get).put(grants::decide).delete(grants::revoke))
        .route(routes::AUDIT, get(grants::audit))
        .route(routes::DRIVES, get(drives::list).post(drives::create))
        .route(routes::OPEN, post(drives::open))
        .route(routes::USAGE, get(drives::usage))
        .route(routes::GC, post(drives::free))
        .route(routes::REPAIR, post(drives::repair))
        .route(routes::LOCAL_NAMES, get(drives::local_names))
        .route(routes::TRAFFIC, get(drives::traffic))
        .route(routes::FOLLOW, post(drives::follow))
        .route(routes::DRIVE, get(drives::get).delete(drives::remove))
        .route(routes::IMPORT, post(drives::import))
        .route(routes::TREE, get(drives::tree))
        .route(routes::FILE, get(files::read))
        .route(routes::WRITERS, get(writers::list).post(writers::add))
        .route(routes::WRITER, delete(writers::remove))
        .route(routes::WRITER_KEY, post(writers::own_key))
        .route(routes::SYNC, post(writers::sync))
        .route(routes::CONFLICTS, get(writers::conflicts).post(writers::write_conflicts))
        .route(routes::LOG, get(history::log))
        .route(routes::DIFF, get(history::diff))
        .route(routes::RESTORE, post(history::restore))
        .route(routes::TAGS, get(history::tags).post(history::set_tag).delete(history::remove_tag))
        .route(routes::ZONES, get(names::zones).post(names::create_zone))
        .route(routes::ZONE, delete(names::remove_zone))
        .route(routes::ZONE_EXPORT, post(names::export_zone))
        .route(routes::ZONE_FILE, get(names::zone_file).post(names::import_zone_file))
        .route(routes::ZONE_REVOKE, post(names::revoke_zone))
        .route(routes::RECORDS, get(names::records).post(names::set_record))
        .route(routes::RECORDS_REMOVE, post(names::remove_records))
        .route(routes::NAMES_PUBLISH, post(names::publish))
        .route(routes::RESOLVE, post(names::resolve))
        .route(routes::KEYSTORE, get(people::keystore))
        .route(routes::LOCK, post(people::lock))
        .route(routes::UNLOCK, post(people::unlock))
        .route(routes::PASSPHRASE, post(people::set_passphrase))
        .route(routes::IDENTITY, get(people::identity).post(people::create_identity))
        .route(routes::CONTACTS, get(people::contacts))
        .route(routes::CONTACT, put(people::rename).delete(people::remove))
        // Somebody may be called pick.
        .route(routes::CONTACT_PICK, post(picks::ask).put(people::rename_pick).delete(people::remove_pick))
        .route(routes::PICKS, get(picks::list))
        .route(routes::PICK, get(picks::get).post(picks::answer))
        .route(routes::CONTACT_VERIFY, post(people::verify))
        .route(routes::CONTACT_WRITER_KEY, post(people::writer_key))
        .route(routes::INVITES, get(people::invites).post(people::invite))
        .route(routes::INVITE_ACCEPT, post(people::accept))
        .route(routes::INVITE, post(people::confirm).delete(people::revoke))
        .route(routes::APPS, any(apps::handle))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(server.clone(), repeatable))
        .layer(from_fn_with_state(server.clone(), gate))
        .with_state(server)
}

async fn no_such_path(uri: Uri) -> Refusal {
    ApiError::not_found(format!("the API has no {:?}", uri.path()))
        .with_hint(format!("GET {} lists what there is", routes::OPENAPI))
        .into()
}

async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    let error = ApiError::invalid(format!("{:?} does not answer {method}", uri.path()));
    Refusal::with_status(StatusCode::METHOD_NOT_ALLOWED, error)
}

//! The contract, call by call.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use http::Method;
use p2p_api::wire::encode_component;
use p2p_api::{
    AppStream, Change, Content, Contract, DialRequest, DialStream, Dialed, DriveInfo, EventQuery, EventStream, Follow,
    Freed, Health, HistoryContract, Import, ImportEvent, ListenStream, LocalName, NamesContract, NewDrive, NodeInfo,
    Open, PeerInfo, Ping, Provider, PublishedMessage, PutValue, ReadRange, Removed, RepairEvent, Result, Sign,
    Signature, SignedValue, StorageUsage, StoredValue, Stream, TopicMessage, Traffic, TransferEvent, TreeEntry,
    TreeQuery, WritersContract, check_topic, routes,
};
use p2p_identity::{ContentId, DriveId, PeerId};

use crate::upload::UploadError;
use crate::{Client, RequestBody, Response};

impl Client {
    pub(crate) async fn call(&self, method: Method, path: &str) -> Result<Response> {
        self.request(method, path, RequestBody::Empty).await?.ok().await
    }
}

pub(crate) fn of_drive(route: &str, drive: DriveId) -> String {
    route.replace("{drive}", &drive.to_string())
}

pub(crate) fn tree_path(drive: DriveId, query: &TreeQuery) -> String {
    let prefix = encode_component(&query.prefix);
    let depth = query.depth.map(|depth| format!("&depth={depth}")).unwrap_or_default();
    format!("{}?prefix={prefix}{depth}", of_drive(routes::TREE, drive))
}

fn of_key(key: [u8; 32]) -> String {
    routes::PROVIDERS.replace("{key}", &ContentId::from(key).to_string())
}

fn of_topic(topic: &str) -> Result<String> {
    check_topic(topic)?;
    Ok(routes::TOPIC.replace("{*topic}", &encode_component(topic)))
}

/// Counters have names in ASCII; what is not is a mistake that is better seen than hidden.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[async_trait]
impl Contract for Client {
    async fn info(&self) -> Result<NodeInfo> {
        self.get(routes::NODE).await?.json().await
    }

    async fn stop(&self) -> Result<()> {
        self.call(Method::POST, routes::STOP).await.map(drop)
    }

    async fn events(&self, query: EventQuery) -> Result<EventStream> {
        let topics = encode_component(&query.topics.join(","));
        let after = query.after.map(|after| format!("&after={after}")).unwrap_or_default();
        Ok(self.get(&format!("{}?topics={topics}{after}", routes::EVENTS)).await?.lines())
    }

    async fn metrics(&self) -> Result<String> {
        Ok(text(&self.get(routes::METRICS).await?.bytes().await?))
    }

    async fn health(&self) -> Result<Health> {
        self.get(routes::HEALTH).await?.json().await
    }

    async fn peers(&self) -> Result<Vec<PeerInfo>> {
        self.list(routes::PEERS).await
    }

    async fn dial(&self, target: &str, timeout: Duration) -> Result<Dialed> {
        let request = DialRequest { target: target.to_owned(), timeout_s: Some(timeout.as_secs_f64()) };
        self.post(routes::DIAL, &request).await?.json().await
    }

    async fn ping(&self, peer: PeerId, timeout: Duration) -> Result<Ping> {
        let path = routes::PEER_PING.replace("{peer}", &peer.to_string());
        self.call(Method::POST, &format!("{path}?timeout_s={}", timeout.as_secs_f64())).await?.json().await
    }

    async fn find_providers(&self, key: [u8; 32], timeout: Duration) -> Result<Vec<Provider>> {
        self.get(&format!("{}?timeout_s={}", of_key(key), timeout.as_secs_f64())).await?.json().await
    }

    async fn provide(&self, key: [u8; 32]) -> Result<()> {
        self.call(Method::PUT, &of_key(key)).await.map(drop)
    }

    async fn stop_providing(&self, key: [u8; 32]) -> Result<()> {
        self.call(Method::DELETE, &of_key(key)).await.map(drop)
    }

    async fn put_value(&self, put: PutValue) -> Result<StoredValue> {
        self.post(routes::VALUES, &put).await?.json().await
    }

    async fn get_value(&self, key: [u8; 32], timeout: Duration) -> Result<SignedValue> {
        let path = routes::VALUE.replace("{key}", &ContentId::from(key).to_string());
        self.get(&format!("{path}?timeout_s={}", timeout.as_secs_f64())).await?.json().await
    }

    async fn dial_stream(&self, dial: DialStream) -> Result<AppStream> {
        self.upgrade(routes::STREAM_DIAL, &dial).await
    }

    async fn accept_stream(&self, protocol: &str) -> Result<AppStream> {
        self.upgrade(routes::STREAM_LISTEN, &ListenStream { protocol: protocol.to_owned() }).await
    }

    async fn publish_message(&self, topic: &str, data: Bytes) -> Result<PublishedMessage> {
        let body = RequestBody::Bytes(data);
        self.request(Method::POST, &of_topic(topic)?, body).await?.ok().await?.json().await
    }

    async fn subscribe(&self, topic: &str) -> Result<Stream<TopicMessage>> {
        Ok(self.get(&of_topic(topic)?).await?.lines())
    }

    async fn sign(&self, sign: Sign) -> Result<Signature> {
        self.post(routes::SIGN, &sign).await?.json().await
    }

    async fn drives(&self) -> Result<Vec<DriveInfo>> {
        self.list(routes::DRIVES).await
    }

    async fn create_drive(&self, new: NewDrive) -> Result<DriveInfo> {
        self.post(routes::DRIVES, &new).await?.json().await
    }

    async fn drive(&self, drive: DriveId) -> Result<DriveInfo> {
        self.get(&of_drive(routes::DRIVE, drive)).await?.json().await
    }

    async fn usage(&self) -> Result<StorageUsage> {
        self.get(routes::USAGE).await?.json().await
    }

    async fn free(&self, drive: Option<DriveId>) -> Result<Freed> {
        let of = drive.map(|drive| format!("?drive={drive}")).unwrap_or_default();
        self.call(Method::POST, &format!("{}{of}", routes::GC)).await?.json().await
    }

    async fn repair(&self) -> Result<Stream<RepairEvent>> {
        Ok(self.call(Method::POST, routes::REPAIR).await?.lines())
    }

    async fn local_names(&self, drive: DriveId) -> Result<Vec<LocalName>> {
        self.list(&of_drive(routes::LOCAL_NAMES, drive)).await
    }

    async fn traffic(&self) -> Result<Traffic> {
        self.get(routes::TRAFFIC).await?.json().await
    }

    async fn open_drive(&self, open: Open) -> Result<DriveInfo> {
        self.post(routes::OPEN, &open).await?.json().await
    }

    async fn remove_drive(&self, drive: DriveId) -> Result<Removed> {
        self.call(Method::DELETE, &of_drive(routes::DRIVE, drive)).await?.json().await
    }

    async fn import(&self, drive: DriveId, how: Import, changes: Stream<Change>) -> Result<Stream<ImportEvent>> {
        let (path, message) = (of_drive(routes::IMPORT, drive), encode_component(&how.message));
        let path = format!("{path}?message={message}&part={}", how.part);
        let upload = UploadError::default();
        let answer = async { self.request(Method::POST, &path, upload.lines(changes)).await?.ok().await };
        let events = answer.await.map_err(|error| upload.or(error))?.lines();
        Ok(events.map(move |event| event.map_err(|error| upload.or(error))).boxed())
    }

    async fn tree(&self, drive: DriveId, query: TreeQuery) -> Result<Stream<TreeEntry>> {
        Ok(self.get(&tree_path(drive, &query)).await?.lines())
    }

    async fn read(&self, drive: DriveId, path: &str, range: ReadRange) -> Result<Content> {
        self.read_file(drive, path, range, None).await
    }

    async fn follow(&self, follow: Follow) -> Result<Stream<TransferEvent>> {
        Ok(self.post(routes::FOLLOW, &follow).await?.lines())
    }

    fn history(&self) -> &dyn HistoryContract {
        self
    }

    fn writers(&self) -> &dyn WritersContract {
        self
    }

    fn keystore(&self) -> &dyn p2p_api::KeystoreContract {
        self
    }

    fn people(&self) -> &dyn p2p_api::PeopleContract {
        self
    }

    fn names(&self) -> &dyn NamesContract {
        self
    }
}

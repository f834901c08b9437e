//! Paths of the local API, once for server and client.
//!
//! A list is a JSON array; with `?limit=` it comes in pages, and [`NEXT_CURSOR`] tells the `?cursor=` of the next one. What
//! has no bound (a drive's tree, differences, events, the progress of work) comes one value a line, as fast as it is read,
//! and needs no cursor.

/// `GET`: answers at once; headers `API-Version` and `API-Min-Version`.
pub const PING: &str = "/v1/_ping";
/// `GET`: [`crate::NodeInfo`].
pub const NODE: &str = "/v1/node";
/// `POST`: asks the node to stop; answers 202 at once.
pub const STOP: &str = "/v1/node/stop";
/// `GET`: this document.
pub const OPENAPI: &str = "/v1/openapi.json";
/// `GET`: counters in OpenMetrics form.
pub const METRICS: &str = "/v1/metrics";
/// `GET`: [`crate::Health`].
pub const HEALTH: &str = "/v1/health";
/// `GET ?topics=a,b&after=id`: events, as server-sent events or one JSON object a line, by `Accept`.
pub const EVENTS: &str = "/v1/events";
/// `GET`: a list of [`crate::PeerInfo`].
pub const PEERS: &str = "/v1/peers";
/// `POST` [`crate::DialRequest`]: [`crate::Dialed`].
pub const DIAL: &str = "/v1/peers/dial";
/// `POST ?timeout_s=`: [`crate::Ping`].
pub const PEER_PING: &str = "/v1/peers/{peer}/ping";
/// `GET ?timeout_s=`: a list of [`crate::Provider`]; `PUT`: announce, `DELETE`: stop announcing. The key is 64 hex digits.
pub const PROVIDERS: &str = "/v1/dht/providers/{key}";
/// `POST` [`crate::PutValue`]: [`crate::StoredValue`].
pub const VALUES: &str = "/v1/dht/values";
/// `GET ?timeout_s=`: [`crate::SignedValue`], the newest that was found. The key is 64 hex digits.
pub const VALUE: &str = "/v1/dht/values/{key}";
/// `POST` [`crate::DialStream`], with an `Upgrade`: 101, then the stream itself.
pub const STREAM_DIAL: &str = "/v1/streams/dial";
/// `POST` [`crate::ListenStream`], with an `Upgrade`: 101 when a peer has opened a stream, then the stream itself.
pub const STREAM_LISTEN: &str = "/v1/streams/listen";
/// `GET`: one [`crate::TopicMessage`] a line; `POST` with the message as it is: [`crate::PublishedMessage`].
pub const TOPIC: &str = "/v1/topics/{*topic}";
/// `POST` [`crate::Sign`]: [`crate::Signature`].
pub const SIGN: &str = "/v1/identity/sign";
/// `GET`: a list of [`crate::AppInfo`]; `POST` [`crate::AppManifest`]: [`crate::AppInfo`].
pub const APP_LIST: &str = "/v1/apps";
/// `GET`: [`crate::AppInfo`]; `PUT` [`crate::DecideApp`]: [`crate::AppInfo`]; `DELETE`: takes back everything.
pub const APP: &str = "/v1/apps/{app}";
/// `GET`: refused calls of apps, one a line, the oldest first.
pub const AUDIT: &str = "/v1/audit";
/// `GET`: a list of [`crate::DriveInfo`]; `POST` [`crate::NewDrive`]: make one.
pub const DRIVES: &str = "/v1/drives";
/// `GET`: [`crate::StorageUsage`].
pub const USAGE: &str = "/v1/drives/usage";
/// `POST ?drive=`: frees what looking at drives has left, of one or of all; of all, also what no version needs any more:
/// [`crate::Freed`].
pub const GC: &str = "/v1/drives/gc";
/// `POST`: rebuilds all metadata from what is on the disk; a stream of [`crate::RepairEvent`].
pub const REPAIR: &str = "/v1/drives/repair";
/// `GET`: [`crate::Traffic`].
pub const TRAFFIC: &str = "/v1/drives/traffic";
/// `POST` [`crate::Open`]: find a drive and its newest version.
pub const OPEN: &str = "/v1/drives/open";
/// `POST ?at=` [`crate::Follow`]: copy a drive into a folder; a stream of [`crate::TransferEvent`].
pub const FOLLOW: &str = "/v1/drives/follow";
/// `GET`: [`crate::DriveInfo`]; `DELETE`: [`crate::Removed`].
pub const DRIVE: &str = "/v1/drives/{drive}";
/// `POST ?message=`: one [`crate::Change`] a line; a stream of [`crate::ImportEvent`]. The lines name everything, in path order.
pub const IMPORT: &str = "/v1/drives/{drive}/import";
/// `GET`: a list of [`crate::LocalName`].
pub const LOCAL_NAMES: &str = "/v1/drives/{drive}/names";
/// `GET ?limit=&before=&cursor=`: a list of [`crate::VersionInfo`], newest first.
pub const LOG: &str = "/v1/drives/{drive}/log";
/// `GET ?from=&to=`: one [`crate::DiffEntry`] a line.
pub const DIFF: &str = "/v1/drives/{drive}/diff";
/// `POST` [`crate::Restore`]: [`crate::Restored`].
pub const RESTORE: &str = "/v1/drives/{drive}/restore";
/// `GET`: a list of [`crate::Tag`]; `POST` [`crate::NewTag`]: [`crate::Tag`]; `DELETE ?name=`.
pub const TAGS: &str = "/v1/drives/{drive}/tags";
/// `GET`: [`crate::Writers`]; `POST` [`crate::NewWriter`]: [`crate::Writers`].
pub const WRITERS: &str = "/v1/drives/{drive}/writers";
/// `DELETE`: [`crate::Writers`].
pub const WRITER: &str = "/v1/drives/{drive}/writers/{writer}";
/// `POST` [`crate::Open`]: [`crate::OwnWriterKey`].
pub const WRITER_KEY: &str = "/v1/drives/writer-key";
/// `POST` [`crate::Follow`]: bring a folder in step and keep it so; a stream of [`crate::SyncEvent`].
pub const SYNC: &str = "/v1/drives/sync";
/// `GET`: a list of [`crate::ConflictInfo`]; `POST`: a list of [`crate::WrittenConflict`].
pub const CONFLICTS: &str = "/v1/drives/{drive}/conflicts";
/// `GET ?prefix=&depth=&at=`: one [`crate::TreeEntry`] a line.
pub const TREE: &str = "/v1/drives/{drive}/tree";
/// `GET ?at=`, `HEAD`, with a single `Range`: verified bytes. The answer names the content's hash as its `ETag`, and the rest
/// of the entry in [`ENTRY_KIND`], [`ENTRY_MODE`], [`ENTRY_MTIME`] and [`ENTRY_SIZE`].
pub const FILE: &str = "/v1/drives/{drive}/files/{*path}";
/// `GET`: a list of [`crate::ZoneInfo`]; `POST` [`crate::NewZone`]: make or take in one.
pub const ZONES: &str = "/v1/names/zones";
/// `DELETE ?with_records=`: [`crate::RemovedZone`].
pub const ZONE: &str = "/v1/names/zones/{zone}";
/// `POST`: [`crate::ZoneSecretText`].
pub const ZONE_EXPORT: &str = "/v1/names/zones/{zone}/export";
/// `GET`: [`crate::ZoneFile`]; `POST` [`crate::ImportZoneFile`]: [`crate::ImportedZoneFile`].
pub const ZONE_FILE: &str = "/v1/names/zones/{zone}/file";
/// `POST` [`crate::RevokeZone`]: [`crate::Revoking`].
pub const ZONE_REVOKE: &str = "/v1/names/zones/{zone}/revoke";
/// `GET ?zone=`: a list of [`crate::ZoneRecord`]; `POST` [`crate::SetRecord`]: [`crate::NameChange`].
pub const RECORDS: &str = "/v1/names/records";
/// `POST` [`crate::RemoveRecords`]: [`crate::NameChange`].
pub const RECORDS_REMOVE: &str = "/v1/names/records/remove";
/// `POST ?zone=`: [`crate::Published`].
pub const NAMES_PUBLISH: &str = "/v1/names/publish";
/// `POST` [`crate::ResolveName`]: [`crate::Resolved`].
pub const RESOLVE: &str = "/v1/names/resolve";
/// `GET`: [`crate::KeystoreInfo`].
pub const KEYSTORE: &str = "/v1/keystore";
/// `POST` [`crate::Lock`], or nothing: [`crate::KeystoreInfo`].
pub const LOCK: &str = "/v1/keystore/lock";
/// `POST` [`crate::Passphrase`]: [`crate::KeystoreInfo`].
pub const UNLOCK: &str = "/v1/keystore/unlock";
/// `POST` [`crate::SetPassphrase`]: [`crate::KeystoreInfo`].
pub const PASSPHRASE: &str = "/v1/keystore/passphrase";
/// `GET`: [`crate::IdentityInfo`]; `POST` [`crate::NewIdentity`]: [`crate::CreatedIdentity`].
pub const IDENTITY: &str = "/v1/identity";
/// `GET`: a list of [`crate::ContactInfo`].
pub const CONTACTS: &str = "/v1/contacts";
/// `PUT` [`crate::RenameContact`]: [`crate::ContactInfo`]; `DELETE`.
pub const CONTACT: &str = "/v1/contacts/{contact}";
/// `POST` [`crate::VerifyContact`]: [`crate::ContactInfo`].
pub const CONTACT_VERIFY: &str = "/v1/contacts/{contact}/verify";
/// `POST` [`crate::AskWriterKey`]: [`crate::OwnWriterKey`].
pub const CONTACT_WRITER_KEY: &str = "/v1/contacts/{contact}/writer-key";
/// `POST` [`crate::PickContact`]: [`crate::PickInfo`].
pub const CONTACT_PICK: &str = "/v1/contacts/pick";
/// `GET`: a list of [`crate::PickInfo`].
pub const PICKS: &str = "/v1/picks";
/// `GET ?wait_s=`: [`crate::PickInfo`], once it is answered; `POST` [`crate::AnswerPick`]: [`crate::PickInfo`].
pub const PICK: &str = "/v1/picks/{pick}";
/// `GET`: a list of [`crate::InviteInfo`]; `POST` [`crate::NewInvite`]: [`crate::CreatedInvite`].
pub const INVITES: &str = "/v1/invites";
/// `POST`: confirms who uses it, [`crate::ContactInfo`]; `DELETE`: takes it back.
pub const INVITE: &str = "/v1/invites/{invite}";
/// `POST` [`crate::AcceptInvite`]: [`crate::Accepted`].
pub const INVITE_ACCEPT: &str = "/v1/invites/accept";
/// Everything below belongs to an app.
pub const APPS: &str = "/v1/apps/{app}/{*path}";

/// `GET`: a list of [`crate::DriveInfo`], what this node shares and follows; `POST` [`crate::files::ShareRequest`]: a
/// stream of [`crate::files::ShareEvent`]; `DELETE ?which=`: [`crate::Removed`].
pub const SHARES: &str = "/v1/apps/files/shares";
/// `POST` [`crate::files::CloneRequest`]: a stream of [`crate::files::CloneEvent`].
pub const CLONES: &str = "/v1/apps/files/clones";
/// `POST` [`crate::files::SyncRequest`]: a stream of [`crate::SyncEvent`]; the folder is watched from then on.
pub const SYNCS: &str = "/v1/apps/files/syncs";
/// `POST` [`crate::gateway::OpenRequest`]: [`crate::gateway::Opened`].
pub const GATEWAY_OPEN: &str = "/v1/apps/gateway/open";

/// Header of a file's answer: the kind of entry, as in [`crate::TreeEntry`].
pub const ENTRY_KIND: &str = "p2p-entry-kind";
/// Header of a file's answer: permission bits in decimal.
pub const ENTRY_MODE: &str = "p2p-entry-mode";
/// Header of a file's answer: modification time, nanoseconds since 1970.
pub const ENTRY_MTIME: &str = "p2p-entry-mtime";
/// Header of a file's answer: bytes of the whole file.
pub const ENTRY_SIZE: &str = "p2p-entry-size";

/// Most items that a page of a list has: the greatest `limit`.
pub const MAX_PAGE: u32 = 1_000;
/// Header of a page of a list: the `cursor` of the next one. The last page has none.
pub const NEXT_CURSOR: &str = "p2p-next-cursor";
/// Header that tells the [`API_VERSION`].
pub const VERSION_HEADER: &str = "api-version";
/// Header that tells the [`API_MIN_VERSION`].
pub const MIN_VERSION_HEADER: &str = "api-min-version";

/// Version of this API, in the header `API-Version`.
pub const API_VERSION: &str = "1.0";
/// Oldest version still served, in the header `API-Min-Version`.
pub const API_MIN_VERSION: &str = "1.0";

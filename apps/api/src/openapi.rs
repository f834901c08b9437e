//! The OpenAPI 3.1 document of the local API, made from the types and routes (overlay.md 2.7).
//!
//! It is checked in as `openapi.json`; a test fails when that file is not current.

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Array, ObjectBuilder, Type};
use utoipa::openapi::{HttpMethod, InfoBuilder, Ref, RefOr, Required, ResponseBuilder, Schema};
use utoipa::{OpenApi, ToSchema};

use crate::files::{CloneEvent, CloneRequest, ShareEvent, ShareRequest, SyncRequest};
use crate::gateway::{OpenRequest, Opened};
use crate::wire::{BYTES, EVENT_STREAM, JSON, NDJSON, PROBLEM_JSON};
use crate::{
    AcceptInvite, Accepted, AskWriterKey, ContactInfo, CreatedIdentity, CreatedInvite, IdentityInfo, InviteInfo,
    NewIdentity, NewInvite, RenameContact, VerifyContact,
};
use crate::{AnswerPick, PickContact, PickInfo, PickState, PickedContact};
use crate::{
    AppInfo, AppManifest, DecideApp, DialStream, ListenStream, PublishedMessage, PutValue, Sign, Signature,
    SignedValue, StoredValue, TopicMessage,
};
use crate::{
    Change, DialRequest, Dialed, DriveInfo, Event, Follow, ImportEvent, LocalName, NewDrive, NodeInfo, Open, PeerInfo,
    Ping, Problem, Provider, Removed, TransferEvent, TreeEntry, routes,
};
use crate::{ConflictInfo, NewWriter, OwnWriterKey, SyncEvent, Writers, WrittenConflict};
use crate::{DiffEntry, LogQuery, NewTag, Restore, Restored, Tag, VersionInfo};
use crate::{Freed, Health, RepairEvent, StorageUsage, Traffic};
use crate::{
    ImportZoneFile, ImportedZoneFile, NameChange, NameRecord, NewZone, Published, RemoveRecords, RemovedZone,
    ResolveName, Resolved, RevokeZone, Revoking, SetRecord, ZoneFile, ZoneInfo, ZoneRecord, ZoneSecretText,
};
use crate::{KeystoreInfo, Lock, LockLevel, Passphrase, SetPassphrase};

#[derive(OpenApi)]
#[openapi(components(schemas(
    Change,
    CloneEvent,
    CloneRequest,
    DialRequest,
    Dialed,
    DriveInfo,
    Event,
    Follow,
    ImportEvent,
    LocalName,
    NewDrive,
    NodeInfo,
    Open,
    OpenRequest,
    Opened,
    PeerInfo,
    Ping,
    Problem,
    Provider,
    Removed,
    ShareEvent,
    ShareRequest,
    TransferEvent,
    TreeEntry,
    DiffEntry,
    LogQuery,
    NewTag,
    Restore,
    Restored,
    Tag,
    VersionInfo,
    ConflictInfo,
    NewWriter,
    OwnWriterKey,
    SyncEvent,
    SyncRequest,
    Writers,
    WrittenConflict,
    ImportZoneFile,
    ImportedZoneFile,
    NameChange,
    NameRecord,
    NewZone,
    Published,
    RemoveRecords,
    RemovedZone,
    ResolveName,
    Resolved,
    RevokeZone,
    Revoking,
    SetRecord,
    ZoneFile,
    ZoneInfo,
    ZoneRecord,
    ZoneSecretText,
    AppInfo,
    AppManifest,
    DecideApp,
    DialStream,
    ListenStream,
    PublishedMessage,
    PutValue,
    Sign,
    Signature,
    SignedValue,
    StoredValue,
    TopicMessage,
    AcceptInvite,
    Accepted,
    AskWriterKey,
    ContactInfo,
    CreatedIdentity,
    CreatedInvite,
    IdentityInfo,
    InviteInfo,
    NewIdentity,
    NewInvite,
    RenameContact,
    VerifyContact,
    AnswerPick,
    PickContact,
    PickInfo,
    PickState,
    PickedContact,
    KeystoreInfo,
    Lock,
    LockLevel,
    Passphrase,
    SetPassphrase,
    StorageUsage,
    Health,
    Freed,
    RepairEvent,
    Traffic,
)))]
struct Components;

const AT: &str = "Which version: a number, a hash, a tag, or a time; the newest without it.";
const TEXT: &str = "text/plain";

/// The document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Components::openapi();
    document.info = InfoBuilder::new()
        .title("p2pnode local API")
        .version(routes::API_VERSION)
        .description(Some(
            "HTTP/1.1 over the node's unix socket. Streams are one JSON value a line; when one fails midway, its last \
             line is `{\"error\": Problem}`. Unknown fields are to be ignored.",
        ))
        .build();
    let operations = network_operations()
        .into_iter()
        .chain(exchange_operations())
        .chain(drive_operations())
        .chain(drive_operations())
        .chain(history_operations())
        .chain(writer_operations())
        .chain(names_operations())
        .chain(people_operations())
        .chain(app_operations());
    let paths = operations.fold(PathsBuilder::new(), |paths, operation| {
        let path = operation.path.replace("{*", "{");
        let method = operation.method.clone();
        paths.path(path, PathItem::new(method, operation.build()))
    });
    document.paths = paths.build();
    document
}

/// The document as text, as it is checked in and served.
pub fn openapi_json() -> String {
    let mut text = openapi().to_pretty_json().expect("the document has only string keys");
    text.push('\n');
    text
}

fn network_operations() -> Vec<Operation> {
    let key = "64 hexadecimal digits.";
    vec![
        Operation::get(
            routes::PING,
            "Answers at once; the headers `API-Version` and `API-Min-Version` say what is served.",
        )
        .answers(204, None),
        Operation::get(routes::NODE, "Who and how this node is.").answers(200, json::<NodeInfo>()),
        Operation::new(HttpMethod::Post, routes::STOP, "Asks the node to stop.").answers(202, None),
        Operation::get(routes::OPENAPI, "This document.").answers(200, Some((JSON, any_object()))),
        Operation::get(
            routes::HEALTH,
            "The node's clock beside those of its peers, and how full everything is that others can make grow.",
        )
        .answers(200, json::<Health>()),
        Operation::get(routes::METRICS, "Counters in OpenMetrics text form.").answers(200, Some((TEXT, text()))),
        Operation::get(
            routes::EVENTS,
            "What happens: server-sent events where `Accept` asks for them, else one JSON value a line.",
        )
        .query("topics", "Only these topics, separated by commas.")
        .query("after", "Start after the event with this id; the header `Last-Event-ID` wins over it.")
        .answers(200, lines::<Event>())
        .also(EVENT_STREAM, text()),
        Operation::get(routes::PEERS, "Connected peers.").pages::<PeerInfo>(),
        Operation::new(HttpMethod::Post, routes::DIAL, "Connects to a multiaddr or a peer id.")
            .takes(json::<DialRequest>())
            .answers(200, json::<Dialed>()),
        Operation::new(HttpMethod::Post, routes::PEER_PING, "Measures the round trip to a peer.")
            .at("peer", "A peer id.")
            .query("timeout_s", "Seconds until it counts as failed; 30 by default.")
            .answers(200, json::<Ping>()),
        Operation::get(routes::PROVIDERS, "Peers that say they provide a key.")
            .at("key", key)
            .query("timeout_s", "Seconds to look; 30 by default.")
            .pages::<Provider>(),
        Operation::new(HttpMethod::Put, routes::PROVIDERS, "Says that this node provides a key.")
            .at("key", key)
            .answers(204, None),
        Operation::new(HttpMethod::Delete, routes::PROVIDERS, "Stops saying so.").at("key", key).answers(204, None),
    ]
}

/// What apps say to each other.
fn exchange_operations() -> Vec<Operation> {
    let post = |path, summary| Operation::new(HttpMethod::Post, path, summary);
    let app = "The app's id.";
    vec![
        post(routes::VALUES, "Stores a signed value in the DHT.")
            .takes(json::<PutValue>())
            .answers(200, json::<StoredValue>()),
        Operation::get(routes::VALUE, "The newest value under a key.")
            .at("key", "64 hexadecimal digits.")
            .query("timeout_s", "Seconds to look; 30 by default.")
            .answers(200, json::<SignedValue>()),
        post(
            routes::STREAM_DIAL,
            "Opens a stream to an app of a peer. With `Upgrade: p2p-stream` the connection becomes the stream; with \
             `Upgrade: p2p-dgram` it carries datagrams, each after its length as a u16 (big-endian). The headers \
             `p2p-peer` and `p2p-path` say who is there and which way it goes.",
        )
        .takes(json::<DialStream>())
        .answers(101, None),
        post(routes::STREAM_LISTEN, "Waits for a stream that a peer opens; then as for dialling. One stream a call.")
            .takes(json::<ListenStream>())
            .answers(101, None),
        Operation::get(routes::TOPIC, "Messages of a topic from now on.")
            .at("topic", "A topic.")
            .answers(200, lines::<TopicMessage>()),
        post(routes::TOPIC, "Publishes a message of at most 60 KiB: the body as it is.")
            .at("topic", "A topic.")
            .takes(Some((BYTES, text())))
            .answers(200, json::<PublishedMessage>()),
        post(routes::SIGN, "Signs a hash in an app's own context.")
            .takes(json::<Sign>())
            .answers(200, json::<Signature>()),
        Operation::get(routes::APP_LIST, "Apps that asked for something.").pages::<AppInfo>(),
        post(routes::APP_LIST, "Asks for what an app wants to do; the user decides.")
            .takes(json::<AppManifest>())
            .answers(200, json::<AppInfo>()),
        Operation::get(routes::APP, "One app.").at("app", app).answers(200, json::<AppInfo>()),
        Operation::new(
            HttpMethod::Put,
            routes::APP,
            "Approves or denies what an app asks for; approves with a new token.",
        )
        .at("app", app)
        .takes(json::<DecideApp>())
        .answers(200, json::<AppInfo>()),
        Operation::new(
            HttpMethod::Delete,
            routes::APP,
            "Takes back everything and forgets the app; its streams close.",
        )
        .at("app", app)
        .answers(204, None),
        Operation::get(routes::AUDIT, "Refused calls of apps, the oldest first.").answers(200, Some((TEXT, text()))),
    ]
}

fn drive_operations() -> Vec<Operation> {
    let drive = "A drive id.";
    vec![
        Operation::get(routes::DRIVES, "Drives known here.").pages::<DriveInfo>(),
        Operation::new(
            HttpMethod::Post,
            routes::DRIVES,
            "Makes a drive, or returns the one that this folder has already.",
        )
        .takes(json::<NewDrive>())
        .answers(200, json::<DriveInfo>()),
        Operation::get(routes::USAGE, "What is stored here, and for which drive.").answers(200, json::<StorageUsage>()),
        Operation::new(
            HttpMethod::Post,
            routes::GC,
            "Frees what looking at drives has left, and what no version needs.",
        )
        .query("drive", "Only what looking at this drive has left; by default everything that can be freed.")
        .answers(200, json::<Freed>()),
        Operation::new(
            HttpMethod::Post,
            routes::REPAIR,
            "Rebuilds all metadata from what is on the disk. Closing the connection stops it.",
        )
        .answers(200, lines::<RepairEvent>()),
        Operation::get(routes::TRAFFIC, "What has travelled for drives since the node started.")
            .answers(200, json::<Traffic>()),
        Operation::new(HttpMethod::Post, routes::OPEN, "Finds a drive's peers and its newest version.")
            .takes(json::<Open>())
            .answers(200, json::<DriveInfo>()),
        Operation::new(
            HttpMethod::Post,
            routes::FOLLOW,
            "Copies a drive into a folder. Closing the connection stops it.",
        )
        .query("at", AT)
        .takes(json::<Follow>())
        .answers(200, lines::<TransferEvent>()),
        Operation::get(routes::DRIVE, "One drive that is known here.")
            .at("drive", drive)
            .answers(200, json::<DriveInfo>()),
        Operation::new(
            HttpMethod::Delete,
            routes::DRIVE,
            "Stops sharing, mirroring or remembering a drive. Files in folders stay.",
        )
        .at("drive", drive)
        .answers(200, json::<Removed>()),
        Operation::new(
            HttpMethod::Post,
            routes::IMPORT,
            "Takes the drive's folder into a new version: all that the lines name, in path order.",
        )
        .at("drive", drive)
        .query("message", "A sentence kept with the version, at most 1 KiB.")
        .takes(lines::<Change>())
        .answers(200, lines::<ImportEvent>()),
        Operation::get(routes::TREE, "Entries in path order.")
            .at("drive", drive)
            .query("prefix", "Only this path and what is below it.")
            .query("depth", "Levels below the prefix; 1 for one folder, all by default.")
            .query("at", AT)
            .answers(200, lines::<TreeEntry>()),
        Operation::get(
            routes::FILE,
            "Verified bytes of a file. The `ETag` is the content's hash; a single `Range` is honoured.",
        )
        .at("drive", drive)
        .at("path", "A path in the drive.")
        .query("at", AT)
        .answers(200, Some((BYTES, text()))),
    ]
}

fn history_operations() -> Vec<Operation> {
    let drive = "A drive id.";
    vec![
        Operation::get(routes::LOG, "Versions that are kept, newest first.")
            .at("drive", drive)
            .query("limit", "At most so many, up to 1,000; 100 by default.")
            .query("before", "Only those made before this time, in milliseconds since 1970.")
            .query(
                "cursor",
                "Where to go on: what the header `p2p-next-cursor` of the page before said. The last page has none.",
            )
            .answers(200, list::<VersionInfo>()),
        Operation::get(routes::DIFF, "What differs between two versions, in path order.")
            .at("drive", drive)
            .query("from", AT)
            .query("to", AT)
            .answers(200, lines::<DiffEntry>()),
        Operation::new(
            HttpMethod::Post,
            routes::RESTORE,
            "Brings files of an earlier version back into the drive's folder. Deletes nothing.",
        )
        .at("drive", drive)
        .takes(json::<Restore>())
        .answers(200, json::<Restored>()),
        Operation::get(routes::TAGS, "Names of versions on this node.").at("drive", drive).pages::<Tag>(),
        Operation::new(HttpMethod::Post, routes::TAGS, "Gives a version a name, which keeps it for ever.")
            .at("drive", drive)
            .takes(json::<NewTag>())
            .answers(200, json::<Tag>()),
        Operation::new(HttpMethod::Delete, routes::TAGS, "Takes a name away.")
            .at("drive", drive)
            .query("name", "The tag.")
            .answers(204, None),
    ]
}

fn writer_operations() -> Vec<Operation> {
    let drive = "A drive id.";
    let post = |path, summary| Operation::new(HttpMethod::Post, path, summary);
    vec![
        Operation::get(routes::WRITERS, "Who may write to the drive, besides its owner.")
            .at("drive", drive)
            .answers(200, json::<Writers>()),
        post(routes::WRITERS, "Lets somebody write, or changes how far.")
            .at("drive", drive)
            .takes(json::<NewWriter>())
            .answers(200, json::<Writers>()),
        Operation::new(HttpMethod::Delete, routes::WRITER, "Lets somebody write no more. What it wrote stays.")
            .at("drive", drive)
            .at("writer", "The writer's key.")
            .answers(200, json::<Writers>()),
        post(routes::WRITER_KEY, "This node's writer key for a drive; made when it is first asked for.")
            .takes(json::<Open>())
            .answers(200, json::<OwnWriterKey>()),
        post(routes::SYNC, "Brings the newest state into a folder and keeps both in step from then on.")
            .takes(json::<Follow>())
            .answers(200, lines::<SyncEvent>()),
        Operation::get(routes::LOCAL_NAMES, "Names that lie otherwise in the drive's folder than they are called.")
            .at("drive", drive)
            .pages::<LocalName>(),
        Operation::get(routes::CONFLICTS, "Paths that several wrote at once.")
            .at("drive", drive)
            .pages::<ConflictInfo>(),
        post(routes::CONFLICTS, "Writes the losers of all conflicts beside their files.")
            .at("drive", drive)
            .answers(200, list::<WrittenConflict>()),
    ]
}

fn people_operations() -> Vec<Operation> {
    let contact = "What the user calls them, or their identity.";
    let pick = "The pick, 32 hexadecimal digits.";
    let invite = "Its id: 32 hexadecimal digits.";
    let post = |path, summary| Operation::new(HttpMethod::Post, path, summary);
    vec![
        Operation::get(routes::KEYSTORE, "How the keys of this node are kept.").answers(200, json::<KeystoreInfo>()),
        post(routes::LOCK, "Wipes the keys from memory; what needs one waits until they are unlocked.")
            .takes(json::<Lock>())
            .answers(200, json::<KeystoreInfo>()),
        post(routes::UNLOCK, "Opens the keys with the passphrase.")
            .takes(json::<Passphrase>())
            .answers(200, json::<KeystoreInfo>()),
        post(routes::PASSPHRASE, "Sets, changes or takes away the passphrase.")
            .takes(json::<SetPassphrase>())
            .answers(200, json::<KeystoreInfo>()),
        Operation::get(routes::IDENTITY, "The identity of this node's user.").answers(200, json::<IdentityInfo>()),
        post(routes::IDENTITY, "Makes an identity. Its 24 words are told this once.")
            .takes(json::<NewIdentity>())
            .answers(200, json::<CreatedIdentity>()),
        Operation::get(routes::CONTACTS, "Everybody the user knows.").answers(200, list::<ContactInfo>()),
        post(routes::CONTACT_PICK, "Asks the user to pick a contact for an app, which sees nobody else.")
            .takes(json::<PickContact>())
            .answers(200, json::<PickInfo>()),
        Operation::get(routes::PICKS, "What apps ask, and what was answered a short while ago.")
            .answers(200, list::<PickInfo>()),
        Operation::get(routes::PICK, "One of them; with wait_s once the user has answered.")
            .at("pick", pick)
            .query("wait_s", "How many seconds to wait for the user.")
            .answers(200, json::<PickInfo>()),
        post(routes::PICK, "The user's answer.")
            .at("pick", pick)
            .takes(json::<AnswerPick>())
            .answers(200, json::<PickInfo>()),
        Operation::new(HttpMethod::Put, routes::CONTACT, "Calls a contact something else.")
            .at("contact", contact)
            .takes(json::<RenameContact>())
            .answers(200, json::<ContactInfo>()),
        Operation::new(HttpMethod::Delete, routes::CONTACT, "Forgets a contact.")
            .at("contact", contact)
            .answers(204, None),
        post(routes::CONTACT_VERIFY, "Marks a contact as verified: both have compared the number.")
            .at("contact", contact)
            .takes(json::<VerifyContact>())
            .answers(200, json::<ContactInfo>()),
        post(routes::CONTACT_WRITER_KEY, "Asks a contact's node for the key with which they write to a drive.")
            .at("contact", contact)
            .takes(json::<AskWriterKey>())
            .answers(200, json::<OwnWriterKey>()),
        Operation::get(routes::INVITES, "Invites that are open, being accepted, or done a short while ago.")
            .answers(200, list::<InviteInfo>()),
        post(routes::INVITES, "Makes an invite. Its text is told this once.")
            .takes(json::<NewInvite>())
            .answers(200, json::<CreatedInvite>()),
        post(routes::INVITE, "Confirms who uses an invite that was shown in person.")
            .at("invite", invite)
            .answers(200, json::<ContactInfo>()),
        Operation::new(HttpMethod::Delete, routes::INVITE, "Takes an invite back, or stops accepting it.")
            .at("invite", invite)
            .answers(204, None),
        post(routes::INVITE_ACCEPT, "Accepts an invite; it goes on after the answer until the other side was met.")
            .takes(json::<AcceptInvite>())
            .answers(200, json::<Accepted>()),
    ]
}

fn names_operations() -> Vec<Operation> {
    let zone = "The zone's local name.";
    let post = |path, summary| Operation::new(HttpMethod::Post, path, summary);
    vec![
        Operation::get(routes::ZONES, "Zones of this node.").pages::<ZoneInfo>(),
        post(routes::ZONES, "Makes a zone, or takes in one with its key.")
            .takes(json::<NewZone>())
            .answers(200, json::<ZoneInfo>()),
        post(routes::ZONE_EXPORT, "The secret key of a zone.").at("zone", zone).answers(200, json::<ZoneSecretText>()),
        Operation::get(routes::ZONE_FILE, "The public records of a zone as a zone file.")
            .at("zone", zone)
            .answers(200, json::<ZoneFile>()),
        post(routes::ZONE_FILE, "Takes in a zone file.")
            .at("zone", zone)
            .takes(json::<ImportZoneFile>())
            .answers(200, json::<ImportedZoneFile>()),
        Operation::new(
            HttpMethod::Delete,
            routes::ZONE,
            "Removes a zone and its key; what was published is withdrawn first.",
        )
        .at("zone", zone)
        .query("with_records", "true: also if it has records, which are lost then.")
        .answers(200, json::<RemovedZone>()),
        post(routes::ZONE_REVOKE, "Revokes a zone, or goes on computing the revocation.")
            .at("zone", zone)
            .takes(json::<RevokeZone>())
            .answers(200, json::<Revoking>()),
        Operation::get(routes::RECORDS, "Records of this node's zones, private ones too.")
            .query("zone", "Only this zone.")
            .pages::<ZoneRecord>(),
        post(routes::RECORDS, "Replaces the records of a type under a label.")
            .takes(json::<SetRecord>())
            .answers(200, json::<NameChange>()),
        post(routes::RECORDS_REMOVE, "Removes records under a label.")
            .takes(json::<RemoveRecords>())
            .answers(200, json::<NameChange>()),
        post(routes::NAMES_PUBLISH, "Publishes a zone again.")
            .query("zone", "The zone; not needed where there is one.")
            .answers(200, json::<Published>()),
        post(routes::RESOLVE, "The records of a name.").takes(json::<ResolveName>()).answers(200, json::<Resolved>()),
    ]
}

fn app_operations() -> Vec<Operation> {
    vec![
        Operation::get(routes::SHARES, "What this node shares and follows.").pages::<DriveInfo>(),
        Operation::new(
            HttpMethod::Post,
            routes::SHARES,
            "Shares a folder. Closing the connection before `published` stops it.",
        )
        .takes(json::<ShareRequest>())
        .answers(200, lines::<ShareEvent>()),
        Operation::new(HttpMethod::Delete, routes::SHARES, "Stops sharing or following; keeps the files.")
            .query("which", "A drive id, a link, or the absolute path of a folder.")
            .answers(200, json::<Removed>()),
        Operation::new(
            HttpMethod::Post,
            routes::CLONES,
            "Fetches a drive into a folder. Closing the connection stops it.",
        )
        .takes(json::<CloneRequest>())
        .answers(200, lines::<CloneEvent>()),
        Operation::new(
            HttpMethod::Post,
            routes::SYNCS,
            "Keeps a folder and a drive in step, both ways. Closing the connection before `done` stops it.",
        )
        .takes(json::<SyncRequest>())
        .answers(200, lines::<SyncEvent>()),
        Operation::new(
            HttpMethod::Post,
            routes::GATEWAY_OPEN,
            "The address of a link, or of the dashboard, for a browser on this computer.",
        )
        .takes(json::<OpenRequest>())
        .answers(200, json::<Opened>()),
    ]
}

type Form = Option<(&'static str, RefOr<Schema>)>;

fn one<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

fn json<T: ToSchema>() -> Form {
    Some((JSON, one::<T>()))
}

fn lines<T: ToSchema>() -> Form {
    Some((NDJSON, one::<T>()))
}

fn list<T: ToSchema>() -> Form {
    Some((JSON, Schema::Array(Array::new(one::<T>())).into()))
}

fn text() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}

fn any_object() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::Object).into()
}

struct Operation {
    method: HttpMethod,
    path: &'static str,
    builder: OperationBuilder,
    status: u16,
    answers: Vec<(&'static str, RefOr<Schema>)>,
}

impl Operation {
    fn new(method: HttpMethod, path: &'static str, summary: &str) -> Self {
        let builder = OperationBuilder::new().summary(Some(summary));
        Self { method, path, builder, status: 200, answers: Vec::new() }
    }

    fn get(path: &'static str, summary: &str) -> Self {
        Self::new(HttpMethod::Get, path, summary)
    }

    fn parameter(mut self, place: ParameterIn, name: &str, description: &str, required: Required) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(description))
            .schema(Some(text()));
        self.builder = self.builder.parameter(parameter);
        self
    }

    fn at(self, name: &str, description: &str) -> Self {
        self.parameter(ParameterIn::Path, name, description, Required::True)
    }

    fn query(self, name: &str, description: &str) -> Self {
        self.parameter(ParameterIn::Query, name, description, Required::False)
    }

    /// A list that can be had in pages.
    fn pages<T: ToSchema>(self) -> Self {
        self.query("limit", "At most so many, 1 to 1,000; without it the whole list.")
            .query(
                "cursor",
                "Where to go on: what the header `p2p-next-cursor` of the page before said. The last page has none.",
            )
            .answers(200, list::<T>())
    }

    fn takes(mut self, form: Form) -> Self {
        if let Some((media, schema)) = form {
            let content = ContentBuilder::new().schema(Some(schema)).build();
            let body = RequestBodyBuilder::new().content(media, content).required(Some(Required::True));
            self.builder = self.builder.request_body(Some(body.build()));
        }
        self
    }

    fn answers(mut self, status: u16, form: Form) -> Self {
        self.status = status;
        self.answers.extend(form);
        self
    }

    fn also(mut self, media: &'static str, schema: RefOr<Schema>) -> Self {
        self.answers.push((media, schema));
        self
    }

    fn build(self) -> OperationBuilder {
        let content = |schema| ContentBuilder::new().schema(Some(schema)).build();
        let answer =
            self.answers.into_iter().fold(ResponseBuilder::new().description("Done."), |answer, (media, schema)| {
                answer.content(media, content(schema))
            });
        let problem = ResponseBuilder::new()
            .description("What went wrong, and what to do next.")
            .content(PROBLEM_JSON, content(one::<Problem>()));
        self.builder.response(self.status.to_string(), answer.build()).response("default", problem.build())
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_checked_in_document_is_current() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        if env::var_os("P2P_BLESS").is_some() {
            fs::write(file, openapi_json()).unwrap();
        }
        let found = fs::read_to_string(file).unwrap_or_default();
        assert!(found == openapi_json(), "apps/api/openapi.json is old: run the tests of p2p-api with P2P_BLESS=1");
    }

    #[test]
    fn every_reference_has_its_schema() {
        let document = serde_json::to_value(openapi()).unwrap();
        fn references(value: &Value, into: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    for (name, value) in fields {
                        match value {
                            Value::String(target) if name == "$ref" => into.push(target.clone()),
                            value => references(value, into),
                        }
                    }
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, into)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 40, "only {} references", found.len());
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }

    #[test]
    fn every_route_is_described() {
        let document = openapi();
        for route in [
            routes::PING,
            routes::NODE,
            routes::STOP,
            routes::OPENAPI,
            routes::METRICS,
            routes::EVENTS,
            routes::PEERS,
            routes::DIAL,
            routes::PEER_PING,
            routes::PROVIDERS,
            routes::VALUES,
            routes::VALUE,
            routes::STREAM_DIAL,
            routes::STREAM_LISTEN,
            routes::TOPIC,
            routes::SIGN,
            routes::APP_LIST,
            routes::APP,
            routes::AUDIT,
            routes::DRIVES,
            routes::OPEN,
            routes::FOLLOW,
            routes::DRIVE,
            routes::IMPORT,
            routes::TREE,
            routes::FILE,
            routes::LOG,
            routes::DIFF,
            routes::RESTORE,
            routes::TAGS,
            routes::LOCAL_NAMES,
            routes::WRITERS,
            routes::WRITER,
            routes::WRITER_KEY,
            routes::SYNC,
            routes::CONFLICTS,
            routes::SYNCS,
            routes::ZONES,
            routes::ZONE_EXPORT,
            routes::ZONE_FILE,
            routes::ZONE,
            routes::ZONE_REVOKE,
            routes::RECORDS,
            routes::RECORDS_REMOVE,
            routes::NAMES_PUBLISH,
            routes::RESOLVE,
            routes::SHARES,
            routes::CLONES,
            routes::GATEWAY_OPEN,
        ] {
            let path = route.replace("{*", "{");
            assert!(document.paths.paths.contains_key(&path), "{path} is missing");
        }
    }
}

#![doc = include_str!("../README.md")]

mod app;
mod drives;
mod error;
mod events;
pub mod files;
mod network;
mod node;
pub mod routes;

pub use app::{App, AppBody, AppRequest, AppResponse, MAX_APP_REQUEST_BYTES};
pub use drives::{
    Change, Content, DriveInfo, DriveRole, EntryKind, Follow, Import, ImportEvent, NewDrive, Open,
    Progress, ReadRange, Removed, Skipped, TransferEvent, TreeEntry, TreeQuery,
};
pub use error::{ApiError, ErrorKind, Problem, Result};
pub use events::{Event, EventQuery, EventStream};
pub use network::{DhtMode, Dialed, NodeInfo, PathKind, PeerInfo, Ping, Provider, Reachability};
pub use node::{Contract, Dht, Drives, Node, Peers, Stream};

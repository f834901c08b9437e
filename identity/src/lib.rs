#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod codec;
mod ids;
mod keystore;
mod link;
mod secret;
mod text;
mod transport_key;

pub use address::{PeerAddr, PeerAddrError, Transport};
pub use codec::{ByteReader, ByteWriter, CodecError};
pub use ids::{ContentId, DriveId, IdError, PeerId, WriterKey};
pub use keystore::{Keystore, KeystoreError, KeystoreWarning, SecretKind};
pub use link::{Hints, Link, LinkError, LinkParts, MAX_HINT_PEERS, MAX_LINK_BYTES, Target, VersionRef};
pub use secret::{BadSignature, SecretKey, verify};
pub use text::{HASH_TEXT_CHARS, hash_from_text, hash_to_text};
pub use transport_key::{TransportKeyError, load_or_create_transport_key};

#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod card;
mod cbor;
mod chain;
mod codec;
mod ids;
mod invite;
mod keystore;
mod lan_tag;
mod link;
mod local_name;
mod pair_code;
mod scrub;
mod sealed_box;
mod secret;
mod text;
mod transport_key;
mod words;

pub use address::{PeerAddr, PeerAddrError, Transport};
pub use card::{CARD_ZONE_BYTES, Card, CardError, MAX_CARD_BYTES, MAX_CARD_NAME_BYTES, pairwise_secret, safety_number};
pub use chain::{ChainError, GenesisLink, TransportCertificate};
pub use codec::{ByteReader, ByteWriter, CodecError};
pub use ids::{ContentId, DriveId, IdError, IdentityId, PeerId, WriterKey};
pub use invite::{
    INVITE_PREFIX, Invite, InviteError, InviteId, InviteSecret, MAX_INVITE_ADDRESSES, MAX_INVITE_BYTES, Purpose, Side,
};
pub use keystore::{
    DataKey, KdfCost, Keystore, KeystoreError, KeystoreWarning, MAX_PASSPHRASE_BYTES, NewPassphrase, PassphraseSlot,
    SecretKind,
};
pub use lan_tag::{LAN_HIDDEN_BYTES, LAN_TAG_BYTES, LanTag};
pub use link::{Hints, Link, LinkError, LinkParts, MAX_HINT_PEERS, MAX_LINK_BYTES, Target, VersionRef};
pub use local_name::{
    MAX_STORED_NAME_BYTES, NameRules, NameText, case_apart, folded_name, foreign_bytes, is_cut_name, is_plain_name,
    local_name, stored_name,
};
pub use pair_code::{PairCode, PairCodeError};
pub use scrub::stack as scrub_stack;
pub use sealed_box::{AgreementKey, seal_for};
pub use secret::{BadSignature, SecretKey, verify};
pub use text::{HASH_TEXT_CHARS, hash_from_text, hash_to_text};
pub use transport_key::{TransportKeyAt, TransportKeyError, load_or_create_transport_key};
pub use words::{RecoveryWords, WordsError};

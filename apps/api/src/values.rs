//! Small signed values in the DHT, which anybody can look up by their key.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::wire::base64;

/// Largest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 8_000;
/// Longest name of a value, in bytes.
pub const MAX_VALUE_NAME_BYTES: usize = 64;
/// Longest life of a value, in seconds; put it again to keep it.
pub const MAX_VALUE_SECONDS: u64 = 72 * 3600;

/// `POST /v1/dht/values`: a value to be stored under a key that only its signer can write to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PutValue {
    /// The app whose key signs it; the user's own key where it is left out. A caller with a token is always its own app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Its name among the signer's values, at most 64 bytes.
    pub name: String,
    /// The value, at most 8,000 bytes, in base64 on the socket.
    #[serde(with = "base64")]
    #[schema(value_type = String)]
    pub value: Bytes,
    /// Seconds until it expires, at most and by default three days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<u64>,
}

/// The answer to a put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredValue {
    /// Where it is found: 64 hexadecimal digits.
    pub key: String,
    /// Grows with every put under this key.
    pub sequence: u64,
    /// When it expires, in microseconds since 1970.
    pub expires: u64,
    /// Other nodes that gave it back when they were asked; 0 when it is stored here alone.
    pub stored: u32,
}

/// A value that was found and whose signature is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignedValue {
    /// The public key of its signer: 64 hexadecimal digits.
    pub signer: String,
    /// Its name among the signer's values.
    pub name: String,
    /// The value, in base64 on the socket.
    #[serde(with = "base64")]
    #[schema(value_type = String)]
    pub value: Bytes,
    /// The greater one replaces the smaller one.
    pub sequence: u64,
    /// When it expires, in microseconds since 1970.
    pub expires: u64,
}

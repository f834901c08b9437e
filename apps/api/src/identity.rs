//! Signatures in an app's own context.

use std::sync::Arc;

use p2p_identity::ContentId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Result;
use crate::node::Contract;

/// What every signature of an app begins with: no signature for an app can be taken for one of another protocol.
pub const APP_SIGNATURE_DOMAIN: &[u8] = b"p2pnode app v1";
/// Longest context of a signature, in bytes.
pub const MAX_CONTEXT_BYTES: usize = 128;

/// `POST /v1/identity/sign`: what is to be signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sign {
    /// The app whose key signs; the user's own where it is left out. A caller with a token is always its own app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// What the signature is for, at most 128 bytes; chosen by the app.
    pub context: String,
    /// BLAKE3 of what is signed: 64 hexadecimal digits.
    #[schema(value_type = String)]
    pub hash: ContentId,
}

/// A signature (Ed25519) over [`signed_message`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Signature {
    /// The app's public key: 64 hexadecimal digits.
    pub public_key: String,
    /// The signature: 128 hexadecimal digits.
    pub signature: String,
}

/// The bytes that are signed: domain, then app id and context, each with its length as a u16 (big-endian), then the hash.
pub fn signed_message(app: &str, context: &str, hash: &ContentId) -> Vec<u8> {
    let mut message = APP_SIGNATURE_DOMAIN.to_vec();
    for text in [app, context] {
        message.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        message.extend_from_slice(text.as_bytes());
    }
    message.extend_from_slice(hash.as_bytes());
    message
}

/// Keys of apps.
#[derive(Clone)]
pub struct Identity {
    pub(crate) contract: Arc<dyn Contract>,
}

impl Identity {
    /// Signs a hash in the context of an app, with the key that this node derives for that app.
    pub async fn sign(&self, sign: Sign) -> Result<Signature> {
        self.contract.sign(sign).await
    }
}

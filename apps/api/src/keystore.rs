//! The keys of this node behind a passphrase: set it, lock, unlock (specs/overlay.md, section 3).

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use p2p_identity::seal_for;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ApiError, Contract, ErrorKind, Result};

/// How much is closed when the keys are locked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockLevel {
    /// The keys alone. The node stays in the network, and serves and follows what is public.
    #[default]
    Identity,
    /// Everything: no connection, no store, no key by which the network knows this node. Only its socket answers, and waits
    /// for the passphrase.
    Full,
}

/// `POST /v1/keystore/lock`: how much to close.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lock {
    /// Instead of what the node's setting `lock` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<LockLevel>,
}

/// How the keys of this node are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeystoreInfo {
    /// Whether a passphrase is needed to open them.
    pub protected: bool,
    /// Whether they are locked: calls that need one answer `locked`.
    pub locked: bool,
    /// How much locking closes, by the node's setting `lock`.
    #[serde(default)]
    pub level: LockLevel,
    /// Whether the node is closed: every call but those of this keystore answers `locked`, and unlocking starts it.
    #[serde(default)]
    pub closed: bool,
    /// For which key passphrases are sealed on their way here (X25519, 64 hexadecimal digits); another one at each start.
    pub sealing_key: String,
}

/// A passphrase on its way to the node.
///
/// Sealed it lies readable in no buffer that it passes; as it is it may stay in the node's memory for a while.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passphrase {
    /// Sealed for [`KeystoreInfo::sealing_key`], in hexadecimal: one-time X25519 key, then ChaCha20-Poly1305.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
    /// As it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<String>,
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// `POST /v1/keystore/passphrase`: sets, changes or takes away the passphrase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetPassphrase {
    /// The one there is, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Passphrase>,
    /// The new one; none takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Passphrase>,
}

/// What stands behind [`Keystore`].
#[async_trait]
pub trait KeystoreContract: Send + Sync {
    /// How the keys are kept.
    async fn keystore(&self) -> Result<KeystoreInfo>;
    /// Wipes the keys from memory. [`ErrorKind::Conflict`] if there is no passphrase; [`ErrorKind::Unsupported`] for
    /// [`LockLevel::Full`] where nobody could start the node again: inside a command.
    async fn lock(&self, lock: Lock) -> Result<KeystoreInfo>;
    /// Opens them again. [`ErrorKind::NotAllowed`] for a wrong passphrase, [`ErrorKind::Busy`] too soon after one.
    async fn unlock(&self, passphrase: Passphrase) -> Result<KeystoreInfo>;
    /// Sets, changes or takes away the passphrase. The keys have to be unlocked.
    async fn set_passphrase(&self, set: SetPassphrase) -> Result<KeystoreInfo>;
}

/// A node whose keys cannot be locked.
pub(crate) struct NoKeystore;

fn none<T>() -> Result<T> {
    Err(ApiError::new(ErrorKind::Unsupported, "the keys of this node cannot be locked"))
}

#[async_trait]
impl KeystoreContract for NoKeystore {
    async fn keystore(&self) -> Result<KeystoreInfo> {
        none()
    }

    async fn lock(&self, _: Lock) -> Result<KeystoreInfo> {
        none()
    }

    async fn unlock(&self, _: Passphrase) -> Result<KeystoreInfo> {
        none()
    }

    async fn set_passphrase(&self, _: SetPassphrase) -> Result<KeystoreInfo> {
        none()
    }
}

/// The keys of this node.
#[derive(Clone)]
pub struct Keystore {
    pub(crate) contract: Arc<dyn Contract>,
}

impl Keystore {
    /// How the keys are kept.
    pub async fn info(&self) -> Result<KeystoreInfo> {
        self.contract.keystore().keystore().await
    }

    /// Wipes the keys from memory, and closes what the node's setting says.
    pub async fn lock(&self) -> Result<KeystoreInfo> {
        self.contract.keystore().lock(Lock::default()).await
    }

    /// The same, and closes the whole node: it leaves the network until it is unlocked.
    pub async fn lock_all(&self) -> Result<KeystoreInfo> {
        self.contract.keystore().lock(Lock { level: Some(LockLevel::Full) }).await
    }

    /// Opens them again.
    pub async fn unlock(&self, passphrase: &str) -> Result<KeystoreInfo> {
        let sealed = self.sealed(passphrase).await?;
        self.contract.keystore().unlock(sealed).await
    }

    /// Sets, changes or (with no new one) takes away the passphrase.
    pub async fn set_passphrase(&self, current: Option<&str>, new: Option<&str>) -> Result<KeystoreInfo> {
        let mut set = SetPassphrase::default();
        if let Some(current) = current {
            set.current = Some(self.sealed(current).await?);
        }
        if let Some(new) = new {
            set.new = Some(self.sealed(new).await?);
        }
        self.contract.keystore().set_passphrase(set).await
    }

    async fn sealed(&self, passphrase: &str) -> Result<Passphrase> {
        let key = self.info().await?.sealing_key;
        let key = data_encoding::HEXLOWER.decode(key.as_bytes()).ok().and_then(|key| key.try_into().ok());
        let sealed = key.and_then(|key| seal_for(&key, passphrase.as_bytes()));
        let sealed = sealed.ok_or_else(|| ApiError::internal("the node gave no key to seal a passphrase for"))?;
        Ok(Passphrase { sealed: Some(data_encoding::HEXLOWER.encode(&sealed)), plain: None })
    }
}

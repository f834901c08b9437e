//! The keys of apps: each app has its own, derived from one secret of this node (specs/overlay.md, 2.6).

use data_encoding::HEXLOWER;
use hkdf::Hkdf;
use p2p_api::{ApiError, MAX_CONTEXT_BYTES, Result, Sign, Signature, check_app_id, signed_message};
use p2p_identity::{SecretKey, SecretKind};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::keys::{Keys, key_error};

/// The generation of the secret behind the keys. A secret shared by a user's devices will be generation 1 and up.
const GENERATION: u32 = 0;

/// Derives keys. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppKeys {
    keys: Keys,
}

impl AppKeys {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys }
    }

    /// The key of an app; without one, the key the user's own calls are made with. Blocks on the disk the first time.
    pub(crate) fn key(&self, app: Option<&str>) -> Result<SecretKey> {
        app.map_or(Ok(()), check_app_id)?;
        let mut info = b"app".to_vec();
        info.extend_from_slice(&GENERATION.to_be_bytes());
        info.extend_from_slice(app.unwrap_or_default().as_bytes());
        let mut seed = Zeroizing::new([0; 32]);
        let root = self.root()?;
        Hkdf::<Sha256>::new(None, &root)
            .expand(&info, seed.as_mut())
            .map_err(|error| ApiError::internal(format!("no key can be derived: {error}")))?;
        let key = SecretKey::from_seed(&seed);
        p2p_identity::scrub_stack();
        Ok(key)
    }

    /// Signs as [`Sign`] says.
    pub(crate) fn sign(&self, sign: &Sign) -> Result<Signature> {
        if sign.context.len() > MAX_CONTEXT_BYTES {
            return Err(ApiError::invalid(format!("a context has at most {MAX_CONTEXT_BYTES} bytes")));
        }
        let key = self.key(sign.app.as_deref())?;
        let message = signed_message(sign.app.as_deref().unwrap_or_default(), &sign.context, &sign.hash);
        Ok(Signature { public_key: HEXLOWER.encode(&key.public()), signature: HEXLOWER.encode(&key.sign(&message)) })
    }

    fn root(&self) -> Result<Zeroizing<Vec<u8>>> {
        let mut keystore = self.keys.open();
        let id = GENERATION.to_be_bytes();
        if let Some(root) = keystore.get_bytes(SecretKind::APP_ROOT, &id).map_err(|error| key_error(&error))? {
            return Ok(root);
        }
        let mut root = Zeroizing::new(vec![0; 32]);
        getrandom::fill(&mut root).map_err(|error| ApiError::internal(format!("no random numbers: {error}")))?;
        keystore.insert_bytes(SecretKind::APP_ROOT, &id, &root).map_err(|error| key_error(&error))?;
        Ok(root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_stable_and_differ_by_app() {
        let folder = tempfile::tempdir().expect("a folder");
        let keystore = || p2p_identity::Keystore::open_or_create(folder.path()).expect("a keystore");
        let keys = || AppKeys::new(Keys::new(keystore(), p2p_api::LockLevel::Identity));
        let public = |keys: &AppKeys, app| keys.key(app).expect("a key").public();
        let first = public(&keys(), Some("chat"));
        assert_eq!(first, public(&keys(), Some("chat")), "it is on disk");
        assert_ne!(first, public(&keys(), Some("chat2")));
        assert_ne!(first, public(&keys(), None));
        assert!(keys().key(Some("No")).is_err());
    }
}

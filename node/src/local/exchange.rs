//! What apps say to each other: signed values here, streams and topics beside.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use p2p_api::{
    ApiError, ErrorKind, MAX_VALUE_BYTES, MAX_VALUE_NAME_BYTES, MAX_VALUE_SECONDS, PathKind, PutValue, Result, Sign,
    Signature, SignedValue, StoredValue,
};
use p2p_dht::Reject;
use p2p_identity::ContentId;

use super::LocalNode;
use crate::network::PutError;
use crate::values::{self, Parsed};

/// A way as apps know it.
pub(crate) fn path_kind(path: p2p_transport::PathKind) -> PathKind {
    match path {
        p2p_transport::PathKind::Lan => PathKind::Lan,
        p2p_transport::PathKind::Direct => PathKind::Direct,
        p2p_transport::PathKind::Relayed => PathKind::Relayed,
    }
}

/// Its text form in headers and events.
pub(crate) fn path_word(path: PathKind) -> &'static str {
    match path {
        PathKind::Lan => "lan",
        PathKind::Direct => "direct",
        PathKind::Relayed => "relayed",
    }
}

impl LocalNode {
    pub(super) async fn put(&self, put: PutValue) -> Result<StoredValue> {
        check(&put)?;
        let key = self.app_key(put.app.clone()).await?;
        let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros());
        // The time is a number that grows, also over a restart or another home with the same key.
        let sequence = now.unwrap_or(u64::MAX);
        let life = Duration::from_secs(put.expires_s.unwrap_or(MAX_VALUE_SECONDS));
        let expires = sequence.saturating_add(u64::try_from(life.as_micros()).unwrap_or(u64::MAX));
        let at = values::key_of(&key.public(), &put.name);
        let value = values::make(&key, &put.name, &put.value, sequence, expires);
        let stored = self.network.put_value(at.to_vec(), value).await.map_err(|error| match error {
            PutError::Stopping => ApiError::stopped(),
            PutError::Rejected(Reject::Older) => {
                ApiError::new(ErrorKind::Conflict, "a value with a later time is stored already")
                    .with_hint("check the clock of this computer")
            }
            PutError::Rejected(Reject::Busy) => {
                ApiError::new(ErrorKind::Busy, Reject::Busy.to_string()).with_hint("try again in a minute")
            }
            PutError::Rejected(other) => ApiError::new(ErrorKind::StorageFull, other.to_string()),
        })?;
        let stored = u32::try_from(stored).unwrap_or(u32::MAX);
        Ok(StoredValue { key: ContentId::from(at).to_string(), sequence, expires, stored })
    }

    pub(super) async fn get(&self, key: [u8; 32], timeout: Duration) -> Result<SignedValue> {
        let mut found = self.network.get_values(key.to_vec()).await.map_err(|_| ApiError::stopped())?;
        let mut newest: Option<SignedValue> = None;
        let deadline = tokio::time::Instant::now() + timeout;
        while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, found.recv()).await {
            let value = Parsed::new(&answer.value).and_then(|value| value.proven(&key, SystemTime::now()));
            newest = newest.into_iter().chain(value).max_by_key(|value| value.sequence);
        }
        newest.ok_or_else(|| {
            ApiError::not_found("nobody who was reached has a value under this key")
                .with_hint("values expire after at most three days; p2p peers shows who is connected")
        })
    }

    pub(super) async fn signature(&self, sign: Sign) -> Result<Signature> {
        let keys = self.app_keys.clone();
        let signed = tokio::task::spawn_blocking(move || keys.sign(&sign)).await;
        signed.map_err(|error| ApiError::internal(error.to_string()))?
    }

    /// Off the loop: the first key of all is made on the disk.
    async fn app_key(&self, app: Option<String>) -> Result<p2p_identity::SecretKey> {
        let keys = self.app_keys.clone();
        let key = tokio::task::spawn_blocking(move || keys.key(app.as_deref())).await;
        key.map_err(|error| ApiError::internal(error.to_string()))?
    }
}

fn check(put: &PutValue) -> Result<()> {
    if put.value.len() > MAX_VALUE_BYTES {
        return Err(ApiError::invalid(format!("a value of {} bytes, at most {MAX_VALUE_BYTES}", put.value.len()))
            .with_hint("put large content into a drive and its link into the value"));
    }
    if put.name.len() > MAX_VALUE_NAME_BYTES {
        return Err(ApiError::invalid(format!("the name of a value has at most {MAX_VALUE_NAME_BYTES} bytes")));
    }
    match put.expires_s {
        Some(0) => Err(ApiError::invalid("the value would have expired at once")),
        Some(seconds) if seconds > MAX_VALUE_SECONDS => {
            Err(ApiError::invalid(format!("a value lives at most {MAX_VALUE_SECONDS} seconds"))
                .with_hint("put it again before it expires"))
        }
        _ => Ok(()),
    }
}

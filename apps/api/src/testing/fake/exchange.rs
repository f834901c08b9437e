//! What apps say to each other, as long as they are on the same fake node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures::{StreamExt, stream};
use p2p_identity::{ContentId, PeerId, SecretKey};
use tokio::sync::{Mutex, broadcast, mpsc};

use crate::node::Stream;
use crate::{
    ApiError, AppStream, DialStream, ErrorKind, MAX_CONTEXT_BYTES, MAX_MESSAGE_BYTES, MAX_VALUE_BYTES,
    MAX_VALUE_NAME_BYTES, MAX_VALUE_SECONDS, PathKind, PublishedMessage, PutValue, Result, Sign, Signature,
    SignedValue, StoredValue, StreamPath, TopicMessage, app_of_protocol, check_app_id, check_topic, signed_message,
};

/// Streams that wait, messages that wait.
const QUEUE: usize = 32;
/// Bytes on their way between the two ends of a stream.
const PIPE_BYTES: usize = 64 * 1024;

type Listener = (mpsc::Sender<AppStream>, Arc<Mutex<mpsc::Receiver<AppStream>>>);

#[derive(Default)]
pub(super) struct Exchange {
    listeners: HashMap<String, Listener>,
    topics: HashMap<String, broadcast::Sender<TopicMessage>>,
    values: BTreeMap<ContentId, SignedValue>,
}

impl Exchange {
    pub(super) fn dial(&self, me: PeerId, dial: &DialStream) -> Result<AppStream> {
        app_of_protocol(&dial.protocol)?;
        if dial.path == StreamPath::Anon {
            return Err(ApiError::new(ErrorKind::Unsupported, "anonymous paths are not supported yet"));
        }
        if dial.peer != me {
            return Err(ApiError::not_found(format!("no way to {} was found", dial.peer))
                .with_hint("a fake node connects to nobody by itself"));
        }
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let stream = |io| AppStream::new(me, PathKind::Lan, Box::new(io));
        let accepted = self.listeners.get(&dial.protocol).map(|(sender, _)| sender.try_send(stream(far)));
        match accepted {
            Some(Ok(())) => Ok(stream(near)),
            _ => Err(ApiError::new(ErrorKind::Unsupported, format!("nobody accepts {}", dial.protocol))),
        }
    }

    pub(super) fn listen(&mut self, protocol: &str) -> Result<Arc<Mutex<mpsc::Receiver<AppStream>>>> {
        app_of_protocol(protocol)?;
        let listener = self.listeners.entry(protocol.to_owned()).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(QUEUE);
            (sender, Arc::new(Mutex::new(receiver)))
        });
        Ok(listener.1.clone())
    }

    pub(super) fn publish(&self, me: PeerId, topic: &str, data: Bytes) -> Result<PublishedMessage> {
        check_topic(topic)?;
        if data.len() > MAX_MESSAGE_BYTES {
            return Err(ApiError::invalid(format!("{} bytes, at most {MAX_MESSAGE_BYTES}", data.len())));
        }
        if let Some(readers) = self.topics.get(topic) {
            // Without a reader it is lost, as it should be.
            let _ = readers.send(TopicMessage { from: me, data });
        }
        Ok(PublishedMessage { peers: 0 })
    }

    pub(super) fn subscribe(&mut self, topic: &str) -> Result<Stream<TopicMessage>> {
        check_topic(topic)?;
        let sender = self.topics.entry(topic.to_owned()).or_insert_with(|| broadcast::channel(QUEUE).0);
        let messages = stream::unfold(sender.subscribe(), |mut receiver| async {
            loop {
                match receiver.recv().await {
                    Ok(message) => return Some((Ok(message), receiver)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        Ok(messages.boxed())
    }

    pub(super) fn put(&mut self, put: PutValue) -> Result<StoredValue> {
        let seconds = put.expires_s.unwrap_or(MAX_VALUE_SECONDS);
        if put.value.len() > MAX_VALUE_BYTES || put.name.len() > MAX_VALUE_NAME_BYTES || seconds > MAX_VALUE_SECONDS {
            return Err(ApiError::invalid("the value, its name or its life is too long"));
        }
        let signer = HEXLOWER.encode(&key_of(put.app.as_deref())?.public());
        let key = ContentId::of(format!("{signer}/{}", put.name).as_bytes());
        let sequence = self.values.get(&key).map_or(1, |known| known.sequence + 1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let expires = u64::try_from(now).unwrap_or(u64::MAX).saturating_add(seconds.saturating_mul(1_000_000));
        self.values.insert(key, SignedValue { signer, name: put.name, value: put.value, sequence, expires });
        Ok(StoredValue { key: key.to_string(), sequence, expires, stored: 0 })
    }

    pub(super) fn get(&self, key: [u8; 32]) -> Result<SignedValue> {
        let found = self.values.get(&ContentId::from(key)).cloned();
        found.ok_or_else(|| ApiError::not_found("nobody who was reached has a value under this key"))
    }
}

pub(super) fn sign(sign: &Sign) -> Result<Signature> {
    if sign.context.len() > MAX_CONTEXT_BYTES {
        return Err(ApiError::invalid(format!("a context has at most {MAX_CONTEXT_BYTES} bytes")));
    }
    let key = key_of(sign.app.as_deref())?;
    let message = signed_message(sign.app.as_deref().unwrap_or_default(), &sign.context, &sign.hash);
    Ok(Signature { public_key: HEXLOWER.encode(&key.public()), signature: HEXLOWER.encode(&key.sign(&message)) })
}

fn key_of(app: Option<&str>) -> Result<SecretKey> {
    app.map_or(Ok(()), check_app_id)?;
    Ok(SecretKey::from_seed(ContentId::of(app.unwrap_or_default().as_bytes()).as_bytes()))
}

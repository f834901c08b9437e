//! Answers made of items: heads, index nodes and small content, one after the other (specs/drives.md, section 16.3).

use bytes::Bytes;
use p2p_identity::ContentId;

use crate::changes::{MAX_RECORDS, News};
use crate::frame::read_message;
use crate::head::HeadEnvelope;
use crate::network::PeerStream;
use crate::session::{BODY_IDLE, FetchError, read_exact};
use crate::tree::{MAX_LEVELS, NodeId};
use crate::wire::{ChangeRecord, Item, MAX_ENVELOPE_BYTES, MAX_NODE_BYTES, MAX_PREFETCH_BYTES, MAX_WRITERS};

/// Most items an answer may hold; beyond that somebody plays.
const MAX_ITEMS: usize = 1_024;
/// Most bytes of all these items: a head of every writer, a node of every level, and the prefetched content.
const MAX_ITEM_BYTES: usize =
    MAX_WRITERS * MAX_ENVELOPE_BYTES + MAX_LEVELS as usize * MAX_NODE_BYTES + MAX_PREFETCH_BYTES as usize;

/// One item, checked as far as it can be by itself.
pub(crate) enum Got {
    /// A signed head.
    Head(Box<HeadEnvelope>),
    /// An index node; its id is the hash of the bytes.
    Node(NodeId, Bytes),
    /// Content; the bytes have that hash.
    Blob(ContentId, Bytes),
    /// What a head changed, as the peer has it.
    Change(ChangeRecord),
    /// Nothing more comes.
    End,
}

/// Reads an answer item by item, and no more of it than an honest peer sends.
pub(crate) struct ItemReader {
    items: usize,
    bytes: usize,
}

impl Default for ItemReader {
    fn default() -> Self {
        Self { items: MAX_ITEMS, bytes: MAX_ITEM_BYTES }
    }
}

impl ItemReader {
    /// The next item. Not cancel safe.
    pub(crate) async fn next(&mut self, stream: &mut PeerStream) -> Result<Got, FetchError> {
        let endless = || FetchError::Lied("an endless answer".into());
        self.items = self.items.checked_sub(1).ok_or_else(endless)?;
        let item = tokio::time::timeout(BODY_IDLE, read_message::<Item>(stream)).await;
        let mut take = |bytes: usize| {
            self.bytes = self.bytes.checked_sub(bytes).ok_or_else(endless)?;
            Ok::<_, FetchError>(bytes)
        };
        match item.map_err(|_| FetchError::Stalled)?? {
            Item::End => Ok(Got::End),
            Item::Head(envelope) => {
                take(envelope.len())?;
                let head = HeadEnvelope::decode(envelope.into_vec().into());
                let head = head.map_err(|error| FetchError::Lied(format!("a bad head: {error}")))?;
                Ok(Got::Head(Box::new(head)))
            }
            Item::Node { len } => {
                let mut bytes = vec![0; take(len as usize)?];
                read_exact(stream, &mut bytes).await?;
                Ok(Got::Node(NodeId::of(&bytes), bytes.into()))
            }
            Item::Blob { hash, size } => {
                let mut bytes = vec![0; take(size as usize)?];
                read_exact(stream, &mut bytes).await?;
                if ContentId::of(&bytes) != hash {
                    return Err(FetchError::Lied(format!("content {} with another hash", hash.fmt_short())));
                }
                Ok(Got::Blob(hash, bytes.into()))
            }
            Item::Change(record) => {
                take(record.key.len() + record.value.as_ref().map_or(0, |value| value.len()))?;
                Ok(Got::Change(record))
            }
        }
    }
}

/// The heads of an answer, to its end.
pub(crate) async fn read_heads(stream: &mut PeerStream) -> Result<Vec<HeadEnvelope>, FetchError> {
    let (mut items, mut heads) = (ItemReader::default(), Vec::new());
    loop {
        match items.next(stream).await? {
            Got::End => return Ok(heads),
            Got::Head(head) => heads.push(*head),
            Got::Node(..) | Got::Blob(..) | Got::Change(_) => {}
        }
    }
}

/// Heads with what they changed, to the end of the answer.
pub(crate) async fn read_news(stream: &mut PeerStream) -> Result<News, FetchError> {
    let mut items = ItemReader { items: MAX_WRITERS + MAX_RECORDS as usize + 1, bytes: MAX_ITEM_BYTES };
    let mut news = News { heads: Vec::new(), records: Vec::new() };
    loop {
        match items.next(stream).await? {
            Got::End => return Ok(news),
            Got::Head(head) => news.heads.push(*head),
            Got::Change(record) => news.records.push(record),
            Got::Node(..) | Got::Blob(..) => {}
        }
    }
}

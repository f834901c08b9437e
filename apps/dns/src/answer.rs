//! From a question's bytes to an answer's.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use p2p_api::{ErrorKind, NameRecord, Node, ResolveName};

use crate::question::Question;
use crate::records::{answers, to_dns};
use crate::upstream::Upstream;

/// Largest answer over UDP, in bytes: passes every path unfragmented.
pub(crate) const MAX_UDP_BYTES: u16 = 1_232;
/// What every asker takes.
const MIN_UDP_BYTES: u16 = 512;
/// How long "not there" may be remembered, in seconds.
const NEGATIVE_TTL_S: u32 = 30;
/// How long a resolution may take, in seconds; askers give up soon after.
const PATIENCE_S: f64 = 10.0;
/// Extended errors (RFC 8914), and which of them is said.
const EDE_CODE: u16 = 15;
const EDE_OTHER: u16 = 0;
const EDE_NOT_SUPPORTED: u16 = 21;
const EDE_NOBODY_REACHED: u16 = 22;
const EDE_NETWORK: u16 = 23;
/// Longest text of an extended error, in bytes.
const MAX_EDE_BYTES: usize = 200;

/// How the question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    Udp,
    Tcp,
}

/// What is to be said.
struct Said {
    code: ResponseCode,
    records: Vec<Record>,
    /// Why not, for people.
    reason: Option<(u16, String)>,
}

impl Said {
    fn only(code: ResponseCode) -> Self {
        Self { code, records: Vec::new(), reason: None }
    }
}

/// The answer; none for what is not even the beginning of a question.
pub(crate) async fn answer(node: &Node, upstream: Option<&Upstream>, bytes: &[u8], via: Via) -> Option<Vec<u8>> {
    let query = match Message::from_vec(bytes) {
        Ok(query) if query.metadata.message_type == MessageType::Query => query,
        Ok(_) => return None,
        Err(_) => {
            let [high, low, flags, ..] = *bytes else { return None };
            // An answer to an answer could go on for ever.
            if flags & 0x80 != 0 || bytes.len() < 12 {
                return None;
            }
            let id = u16::from_be_bytes([high, low]);
            return Message::error_msg(id, OpCode::Query, ResponseCode::FormErr).to_vec().ok();
        }
    };
    if let (Some(upstream), [question]) = (upstream, query.queries.as_slice())
        && query.metadata.op_code == OpCode::Query
        && Question::of(question.name()) == Question::Other
    {
        let forwarded = upstream.ask(bytes, via).await;
        if forwarded.is_some() {
            return forwarded;
        }
        let reason = "unreachable: the resolver that is set gave no answer".to_owned();
        return bytes_of(failed(EDE_NETWORK, reason), &query, via);
    }
    let said = said(node, &query).await;
    bytes_of(said, &query, via)
}

fn failed(code: u16, reason: String) -> Said {
    Said { code: ResponseCode::ServFail, records: Vec::new(), reason: Some((code, reason)) }
}

/// The answer as it is sent.
fn bytes_of(said: Said, query: &Message, via: Via) -> Option<Vec<u8>> {
    let mut response = with_questions(Message::response(query.metadata.id, query.metadata.op_code), query);
    response.metadata.response_code = said.code;
    let is_negative = said.records.is_empty() && matches!(said.code, ResponseCode::NoError | ResponseCode::NXDomain);
    if is_negative && let Some(question) = query.queries.first() {
        response.add_authority(made_up_soa(question.name()));
    }
    response.add_answers(said.records);
    let mut limit = MIN_UDP_BYTES;
    if let Some(asked) = &query.edns {
        limit = asked.max_payload().clamp(MIN_UDP_BYTES, MAX_UDP_BYTES);
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP_BYTES);
        if let Some((code, reason)) = said.reason {
            let end = (0..=MAX_EDE_BYTES.min(reason.len())).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
            let text = reason.get(..end).unwrap_or_default();
            edns.options_mut().insert(EdnsOption::Unknown(EDE_CODE, [&code.to_be_bytes(), text.as_bytes()].concat()));
        }
        response.set_edns(edns);
    }
    let whole = response.to_vec().ok()?;
    let max = if via == Via::Udp { usize::from(limit) } else { usize::from(u16::MAX) };
    if whole.len() <= max { Some(whole) } else { response.truncate().to_vec().ok() }
}

fn with_questions(mut response: Message, query: &Message) -> Message {
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(query.queries.iter().cloned());
    response
}

async fn said(node: &Node, query: &Message) -> Said {
    if query.metadata.op_code != OpCode::Query {
        return Said::only(ResponseCode::NotImp);
    }
    let [question] = query.queries.as_slice() else { return Said::only(ResponseCode::FormErr) };
    let name = match Question::of(question.name()) {
        Question::Ours(name) => name,
        Question::Top => return Said::only(ResponseCode::NoError),
        Question::OtherAlt => return Said::only(ResponseCode::NXDomain),
        Question::Other => return Said::only(ResponseCode::Refused),
        Question::Bad => return Said::only(ResponseCode::FormErr),
    };
    match resolved(node, name, question.query_type()).await {
        Ok(found) => {
            let all = found.iter().filter_map(|record| to_dns(question.name(), record));
            let records = all.filter(|record| answers(record, question.query_type())).collect();
            Said { code: ResponseCode::NoError, records, reason: None }
        }
        Err(error) => {
            let (code, extended, word) = match error.kind {
                ErrorKind::NotFound | ErrorKind::InvalidInput => (ResponseCode::NXDomain, EDE_OTHER, ""),
                // A zone that its owner has given up must not look like one that has no such name.
                ErrorKind::Revoked => (ResponseCode::ServFail, EDE_OTHER, "revoked: "),
                ErrorKind::TimedOut => (ResponseCode::ServFail, EDE_NOBODY_REACHED, "timeout: "),
                // Nothing is known of the name, so it must not be said that it is not there.
                ErrorKind::Unreachable => (ResponseCode::ServFail, EDE_NETWORK, "unreachable: "),
                ErrorKind::Corrupt => (ResponseCode::ServFail, EDE_NOT_SUPPORTED, "critical: "),
                _ => (ResponseCode::ServFail, EDE_OTHER, ""),
            };
            Said { code, records: Vec::new(), reason: Some((extended, format!("{word}{}", error.message))) }
        }
    }
}

/// The records of a name, of all types as far as names have them: "nothing of this type" and "no such name" differ. Where
/// the name leads into DNS, there are only those that are asked for.
async fn resolved(node: &Node, name: String, wanted: RecordType) -> p2p_api::Result<Vec<NameRecord>> {
    let resolve = ResolveName { name, timeout_s: Some(PATIENCE_S), ..ResolveName::default() };
    let found = node.names().resolve(resolve.clone()).await?;
    let is_there = matches!(wanted, RecordType::A | RecordType::AAAA | RecordType::ANY);
    if found.source != "dns" || is_there {
        return Ok(found.records);
    }
    match node.names().resolve(ResolveName { record_type: Some(wanted.to_string()), ..resolve }).await {
        Ok(found) => Ok(found.records),
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Says for how long "not there" may be remembered; there are no such servers.
fn made_up_soa(name: &Name) -> Record {
    let soa = SOA::new(name.clone(), Name::root(), 1, 3_600, 600, 86_400, NEGATIVE_TTL_S);
    Record::from_rdata(name.clone(), NEGATIVE_TTL_S, RData::SOA(soa))
}

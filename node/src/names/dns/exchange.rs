//! One question to one server: over UDP, and over TCP where the answer was cut off.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// How long a server has for an answer, when it is asked for the first time and for the second.
pub(super) const PATIENCE: [Duration; 2] = [Duration::from_millis(1_500), Duration::from_millis(2_500)];
/// Largest answer over UDP that is asked for, in bytes: passes every path unfragmented.
const MAX_UDP_BYTES: u16 = 1_232;
/// Answers that are none of ours, over UDP, before the server is given up.
const MAX_STRAY: usize = 16;

/// Asks one server. An answer of another question, or of somebody else, is not taken for one.
pub(super) async fn ask(server: SocketAddr, name: &Name, kind: RecordType, patience: Duration) -> io::Result<Message> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_UDP_BYTES);
    question.set_edns(edns);
    let bytes = question.to_vec().map_err(io::Error::other)?;
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let answer = tokio::time::timeout(patience, over_udp(server, &question, &bytes)).await.map_err(|_| late())??;
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    tokio::time::timeout(patience, over_tcp(server, &question, &bytes)).await.map_err(|_| late())?
}

async fn over_udp(server: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    // A port of the system's choice for each question: who wants to forge an answer has to guess it as well.
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = [0; MAX_UDP_BYTES as usize];
    for _ in 0..MAX_STRAY {
        let len = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..len).and_then(|bytes| Message::from_vec(bytes).ok());
        if let Some(answer) = answer.filter(|answer| is_answer(answer, question)) {
            return Ok(answer);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "only answers to other questions"))
}

async fn over_tcp(server: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), bytes].concat()).await?;
    let len = usize::from(stream.read_u16().await?);
    let mut buffer = vec![0; len];
    stream.read_exact(&mut buffer).await?;
    let answer = Message::from_vec(&buffer).map_err(io::Error::other)?;
    if is_answer(&answer, question) {
        Ok(answer)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the answer to another question"))
    }
}

fn is_answer(answer: &Message, question: &Message) -> bool {
    answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries == question.queries
}

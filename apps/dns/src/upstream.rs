//! The resolver to which questions for names of others go on, where one is set.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::answer::Via;

/// The port of DNS.
const PORT: u16 = 53;
/// How long the resolver may take; askers ask again after some five seconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer over UDP, in bytes.
const MAX_ANSWER_BYTES: usize = 4_096;
/// Packets that are no answer to ours before it is given up.
const MAX_STRAY: usize = 16;
/// Bytes before the question.
const HEADER_BYTES: usize = 12;

/// A resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    address: SocketAddr,
}

impl Upstream {
    /// An IP address, with a port if it is not 53.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let with_port = || text.parse::<SocketAddr>().ok();
        let address = text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, PORT)).or_else(with_port)?;
        Some(Self { address })
    }

    pub(crate) fn address(self) -> SocketAddr {
        self.address
    }

    /// The answer to a question, by the way it came: one that is cut off over UDP is asked for over TCP by the asker itself.
    pub(crate) async fn ask(self, question: &[u8], via: Via) -> Option<Vec<u8>> {
        // A number of our own: who wants to forge an answer must not know it from the asker.
        let id = Message::query().metadata.id.to_be_bytes();
        let mut sent = question.to_vec();
        sent.get_mut(..2)?.copy_from_slice(&id);
        let asked = async {
            match via {
                Via::Udp => self.over_udp(&sent).await,
                Via::Tcp => self.over_tcp(&sent).await,
            }
        };
        let mut answer = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::debug!(upstream = %self.address, %error, "the resolver gave no answer");
                return None;
            }
            Err(_) => return None,
        };
        answer.get_mut(..2)?.copy_from_slice(question.get(..2)?);
        Some(answer)
    }

    async fn over_udp(self, question: &[u8]) -> io::Result<Vec<u8>> {
        let any = match self.address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(self.address).await?;
        socket.send(question).await?;
        let mut buffer = vec![0; MAX_ANSWER_BYTES];
        for _ in 0..MAX_STRAY {
            let len = socket.recv(&mut buffer).await?;
            if let Some(answer) = buffer.get(..len).filter(|answer| is_answer(answer, question)) {
                return Ok(answer.to_vec());
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }

    async fn over_tcp(self, question: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address).await?;
        let len = u16::try_from(question.len()).map_err(io::Error::other)?;
        stream.write_all(&[&len.to_be_bytes(), question].concat()).await?;
        let len = usize::from(stream.read_u16().await?);
        let mut answer = vec![0; len];
        stream.read_exact(&mut answer).await?;
        if is_answer(&answer, question) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// The same number, and the same question, which stands first in both and is not compressed.
fn is_answer(answer: &[u8], question: &[u8]) -> bool {
    let asked = question_of(question);
    let is_response = answer.get(2).is_some_and(|flags| flags & 0x80 != 0);
    is_response
        && answer.get(..2) == question.get(..2)
        && asked.is_some_and(|asked| question_of(answer).is_some_and(|answered| answered.eq_ignore_ascii_case(asked)))
}

/// Name, type and class of the first question.
fn question_of(message: &[u8]) -> Option<&[u8]> {
    let rest = message.get(HEADER_BYTES..)?;
    let mut at = 0;
    loop {
        let len = usize::from(*rest.get(at)?);
        if len > 63 {
            return None;
        }
        at += 1 + len;
        if len == 0 {
            return rest.get(..at + 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;
    use hickory_proto::rr::RecordType;

    use super::*;

    #[test]
    fn an_answer_has_the_number_and_the_question() {
        let message = |id: u16, name: &str| {
            let mut message = Message::query();
            message.metadata.id = id;
            message.add_query(Query::query(name.parse().expect("a name"), RecordType::A));
            message.to_vec().expect("bytes")
        };
        let answered = |id, name| {
            let mut bytes = message(id, name);
            bytes[2] |= 0x80;
            bytes
        };
        let question = message(7, "www.example.org.");
        assert!(is_answer(&answered(7, "www.example.org."), &question));
        assert!(is_answer(&answered(7, "WWW.example.org."), &question));
        assert!(!is_answer(&answered(8, "www.example.org."), &question));
        assert!(!is_answer(&answered(7, "www.example.com."), &question));
        assert!(!is_answer(&question, &question), "not an answer at all");
        for len in 0..question.len() {
            assert!(!is_answer(&answered(7, "www.example.org.")[..len], &question));
        }
        assert_eq!(Upstream::parse("192.0.2.1").map(Upstream::address), Some(SocketAddr::from(([192, 0, 2, 1], 53))));
        assert!(Upstream::parse("[::1]:5353").is_some() && Upstream::parse("resolver.example").is_none());
    }
}

//! A real DNS server on loopback (UDP and TCP on one port) that answers according to a script (RFC 1035).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// The longest answer over UDP. A longer one is truncated, so that the client repeats the question over TCP.
const UDP_BYTES_MAX: usize = 1_232;

/// A record of an answer.
#[derive(Clone, Debug)]
pub enum Record {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// An alias of the requested name.
    Cname(String),
}

/// The answer to a question.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Records with a TTL of zero. Records of another type than the requested one are omitted, except CNAMEs.
    Records(Vec<Record>),
    /// The same with a TTL in seconds.
    Lasting(u32, Vec<Record>),
    /// The server failed.
    ServerFailure,
    /// No such name.
    NoSuchName,
    /// No answer.
    Silence,
    /// Records that are sent after this delay. Other questions are answered meanwhile. Over TCP they are sent at once.
    Late(Duration, Vec<Record>),
}

/// The type of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Another type, by its number.
    Other(u16),
}

impl From<u16> for Kind {
    fn from(number: u16) -> Self {
        match number {
            1 => Self::A,
            28 => Self::Aaaa,
            number => Self::Other(number),
        }
    }
}

type Script = Arc<dyn Fn(&str, Kind, usize) -> Reply + Send + Sync>;

/// A DNS server that runs until it is dropped.
#[derive(Debug)]
pub struct DnsServer {
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl DnsServer {
    /// Starts a server. The script gets the name, in lower case without the final dot, and the number of earlier
    /// questions.
    pub async fn start(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(Arc::new(move |name, _, asked| script(name, asked))).await
    }

    /// Starts a server whose script gets the name and the type of the question.
    pub async fn start_by_kind(script: impl Fn(&str, Kind) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(Arc::new(move |name, kind, _| script(name, kind))).await
    }

    async fn start_with(script: Script) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let (tcp, udp) = bind_both().await;
        let address = tcp.local_addr().expect("a listener has an address");
        let over_udp = tokio::spawn(serve_udp(udp, Arc::clone(&script), Arc::clone(&asked)));
        let over_tcp = tokio::spawn(serve_tcp(tcp, script, asked));
        Self {
            address,
            tasks: [over_udp, over_tcp],
        }
    }

    /// The server's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Binds TCP and UDP to the same free port.
async fn bind_both() -> (TcpListener, UdpSocket) {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback has a free port");
        let address = tcp.local_addr().expect("a listener has an address");
        if let Ok(udp) = UdpSocket::bind(address).await {
            return (tcp, udp);
        }
    }
}

async fn serve_udp(socket: UdpSocket, script: Script, asked: Arc<AtomicUsize>) {
    let socket = Arc::new(socket);
    let mut late = JoinSet::new();
    let mut question = [0; 2_048];
    while let Ok((length, from)) = socket.recv_from(&mut question).await {
        let Some((delay, mut answer)) = answer(&question[..length], &script, &asked) else {
            continue;
        };
        if answer.len() > UDP_BYTES_MAX {
            answer = truncated(&question[..length]);
        }
        // A client that is gone needs no answer.
        if delay.is_zero() {
            let _ = socket.send_to(&answer, from).await;
        } else {
            let socket = Arc::clone(&socket);
            late.spawn(async move {
                sleep(delay).await;
                let _ = socket.send_to(&answer, from).await;
            });
        }
    }
}

async fn serve_tcp(listener: TcpListener, script: Script, asked: Arc<AtomicUsize>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (script, asked) = (Arc::clone(&script), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut question = vec![0; usize::from(length)];
                if stream.read_exact(&mut question).await.is_err() {
                    return;
                }
                let Some((_, answer)) = answer(&question, &script, &asked) else {
                    return;
                };
                let Ok(length) = u16::try_from(answer.len()) else {
                    return;
                };
                let framed = [&length.to_be_bytes()[..], &answer].concat();
                if stream.write_all(&framed).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// The requested name, the type, and the end of the question.
fn parse(question: &[u8]) -> Option<(String, u16, usize)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*question.get(at)?, *question.get(at + 1)?]);
    Some((labels.join("."), kind, at + 4))
}

/// The head of an answer: id, flags, one question, the number of answers; and the question.
fn head(question: &[u8], end: usize, flags: u16, answers: u16) -> Vec<u8> {
    let mut head = question[..2].to_vec();
    for number in [flags, 1, answers, 0, 0] {
        head.extend_from_slice(&number.to_be_bytes());
    }
    head.extend_from_slice(&question[12..end]);
    head
}

fn truncated(question: &[u8]) -> Vec<u8> {
    parse(question)
        .map(|(_, _, end)| head(question, end, 0x8380, 0))
        .unwrap_or_default()
}

/// An answer, and its delay.
fn answer(question: &[u8], script: &Script, asked: &AtomicUsize) -> Option<(Duration, Vec<u8>)> {
    let (name, kind, end) = parse(question)?;
    let at_once = |answer| Some((Duration::ZERO, answer));
    let (delay, ttl, records) = match script(&name, kind.into(), asked.fetch_add(1, Ordering::Relaxed)) {
        Reply::Silence => return None,
        Reply::ServerFailure => return at_once(head(question, end, 0x8182, 0)),
        Reply::NoSuchName => return at_once(head(question, end, 0x8183, 0)),
        Reply::Records(records) => (Duration::ZERO, 0, records),
        Reply::Lasting(ttl, records) => (Duration::ZERO, ttl, records),
        Reply::Late(delay, records) => (delay, 0, records),
    };
    let mut body = Vec::new();
    let mut count = 0u16;
    for record in &records {
        let (record_kind, data) = match record {
            Record::A(address) => (1u16, address.octets().to_vec()),
            Record::Aaaa(address) => (28, address.octets().to_vec()),
            Record::Cname(target) => (5, encode_name(target)),
        };
        if record_kind != kind && record_kind != 5 {
            continue;
        }
        // The name is a pointer to the question's name.
        body.extend_from_slice(&[0xc0, 12]);
        body.extend_from_slice(&record_kind.to_be_bytes());
        body.extend_from_slice(&[0, 1]);
        body.extend_from_slice(&ttl.to_be_bytes());
        body.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
        body.extend_from_slice(&data);
        count += 1;
    }
    let mut answer = head(question, end, 0x8180, count);
    answer.extend_from_slice(&body);
    Some((delay, answer))
}

fn encode_name(name: &str) -> Vec<u8> {
    let mut encoded = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        encoded.push(u8::try_from(label.len()).unwrap_or(63));
        encoded.extend_from_slice(label.as_bytes());
    }
    encoded.push(0);
    encoded
}

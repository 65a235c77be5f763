//! How is a connection to the upstream made, and what is a connection? A TCP stream or TLS over one, dialled at whichever
//! of the host's addresses answers first.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::printable::with_trust_advice;

/// A client's or an upstream's connection.
#[derive(Debug)]
pub enum Stream {
    /// TCP in clear.
    Plain(TcpStream),
    /// TLS over TCP, as either side of it.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Begins TLS as a server, within [`TLS_TIMEOUT`].
    ///
    /// # Errors
    /// The handshake fails, or TLS is up already.
    pub async fn accept_tls(self, config: &Arc<ServerConfig>) -> io::Result<Self> {
        let accepting = TlsAcceptor::from(Arc::clone(config)).accept(self.into_plain()?);
        let tls = timeout(TLS_TIMEOUT, accepting).await.map_err(|_| timed_out("TLS handshake"))??;
        Ok(Self::Tls(Box::new(TlsStream::Server(tls))))
    }

    /// Begins TLS as a client, within [`TLS_TIMEOUT`].
    ///
    /// # Errors
    /// The handshake fails, the certificate is not to be trusted, or TLS is up already.
    pub async fn connect_tls(self, upstream: &Upstream) -> io::Result<Self> {
        let connector = TlsConnector::from(Arc::clone(&upstream.tls));
        let connecting = connector.connect(upstream.server_name.clone(), self.into_plain()?);
        let tls = timeout(TLS_TIMEOUT, connecting).await.map_err(|_| timed_out("TLS handshake"))??;
        Ok(Self::Tls(Box::new(TlsStream::Client(tls))))
    }

    fn into_plain(self) -> io::Result<TcpStream> {
        match self {
            Self::Plain(tcp) => Ok(tcp),
            Self::Tls(_) => Err(io::Error::other("TLS is up already")),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// A mail server, and how it is reached.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// `host:port`, as it is resolved and logged.
    pub address: String,
    /// The name that its certificate has to be for.
    pub server_name: ServerName<'static>,
    /// Whom we trust.
    pub tls: Arc<rustls::ClientConfig>,
    /// Whether TLS comes at once, or after a word in clear.
    pub implicit_tls: bool,
}

/// Why the upstream was not reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Its name has no address, or none within [`LOOKUP_TIMEOUT`].
    #[error("{address} cannot be resolved: {source}")]
    Lookup {
        /// `host:port`.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// None of its addresses took the connection.
    #[error("{address} cannot be connected: {source}")]
    Connect {
        /// `host:port`.
        address: String,
        /// What the last of them said.
        source: io::Error,
    },
    /// TLS did not come about.
    #[error("no TLS with {address}: {}", with_trust_advice(.source.to_string()))]
    Tls {
        /// `host:port`.
        address: String,
        /// Why not.
        source: io::Error,
    },
}

impl Upstream {
    /// Connects, and where TLS is implicit, brings it up.
    ///
    /// # Errors
    /// At the first of name, TCP and TLS that fails.
    pub async fn dial(&self) -> Result<Stream, DialError> {
        let address = || self.address.clone();
        let looked_up =
            timeout(LOOKUP_TIMEOUT, lookup_host(&self.address)).await.unwrap_or_else(|_| Err(timed_out("look-up")));
        let addresses: Vec<_> = looked_up.map_err(|source| DialError::Lookup { address: address(), source })?.collect();
        let tcp = connect(addresses).await.map_err(|source| DialError::Connect { address: address(), source })?;
        // Without it an answer in several writes waits for the peer's delayed acknowledgement, some 40 ms each.
        tcp.set_nodelay(true).map_err(|source| DialError::Connect { address: address(), source })?;
        let stream = Stream::Plain(tcp);
        if !self.implicit_tls {
            return Ok(stream);
        }
        stream.connect_tls(self).await.map_err(|source| DialError::Tls { address: address(), source })
    }
}

/// Connects to whichever address answers first. Each is given [`NEXT_ADDRESS_AFTER`] before the next one is tried beside
/// it; IPv6 and IPv4 take turns (RFC 8305, 4 and 5).
async fn connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = in_turns(addresses).into_iter();
    let mut attempts = JoinSet::new();
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        match waiting.next() {
            Some(address) => {
                attempts.spawn(async move {
                    let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
                    connecting
                        .unwrap_or_else(|_| Err(timed_out("connection")))
                        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
                });
            }
            None if attempts.is_empty() => return Err(last_error),
            None => {}
        }
        let next_address = sleep(NEXT_ADDRESS_AFTER);
        // Both arms are cancel-safe: the set keeps what has not ended, the sleep is made anew.
        tokio::select! {
            Some(ended) = attempts.join_next() => match ended {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last_error = error,
                Err(panicked) => last_error = io::Error::other(panicked),
            },
            () = next_address, if waiting.len() > 0 => {}
        }
    }
}

fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_ipv6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::with_capacity(first.len() + second.len());
    while first.len() + second.len() > 0 {
        ordered.extend(first.next());
        ordered.extend(second.next());
    }
    ordered
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} timed out"))
}

/// Resolvers retry for themselves for some five seconds.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// One address; three SYN retransmissions.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// RFC 8305, 5: the recommended connection attempt delay.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Several round trips and a slow device's arithmetic.
pub const TLS_TIMEOUT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::{connect, in_turns};

    #[test]
    fn address_families_take_turns() {
        let parse =
            |list: &[&str]| list.iter().map(|text| text.parse().expect("an address")).collect::<Vec<SocketAddr>>();
        assert_eq!(
            in_turns(parse(&["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1", "127.0.0.2:1"])),
            parse(&["[::1]:1", "127.0.0.1:1", "[::2]:1", "127.0.0.2:1", "[::3]:1"])
        );
    }

    #[tokio::test]
    async fn f44_an_address_that_refuses_is_followed_by_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let right = listener.local_addr().expect("bound");
        let refusing = {
            let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            closed.local_addr().expect("bound")
        };
        let stream = connect(vec![refusing, right]).await.expect("the second one");
        assert_eq!(stream.peer_addr().expect("connected"), right);
        assert!(connect(vec![refusing]).await.is_err());
        assert!(connect(vec![]).await.is_err());
    }
}

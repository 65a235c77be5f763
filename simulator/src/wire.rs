//! One client's connection: lines and literals in, answers out, and the faults that concern bytes rather than meaning.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::exchange::{ExchangeFault, Service};
use crate::socket::{Reset, Socket};

pub(crate) struct Wire {
    service: Arc<Service>,
    client: IpAddr,
    stream: Stream,
    reset: Reset,
    inbox: BytesMut,
    /// How much of `inbox` is known to hold no line feed, so that a long line is searched once.
    scanned: usize,
    outbox: Vec<u8>,
    sent: u64,
    /// The position in the outgoing stream at which the login was accepted.
    login: Option<u64>,
}

/// What a client sent, up to the end of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A line without its CRLF.
    Line(Bytes),
    /// A line that ended in a bare LF.
    Malformed,
    /// A line that does not end; nothing more can be read.
    TooLong,
    /// The client has closed its side.
    End,
}

enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
    /// Between the two, or after a failed handshake.
    Gone,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, service: Arc<Service>) -> Self {
        // It is only shown to the client: no reason to turn away one that has gone meanwhile.
        let client = stream.peer_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |client| client.ip());
        let (socket, reset) = Socket::new(stream);
        Self {
            service,
            client,
            stream: Stream::Plain(socket),
            reset,
            inbox: BytesMut::new(),
            scanned: 0,
            outbox: Vec::new(),
            sent: 0,
            login: None,
        }
    }

    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The client's address.
    pub(crate) fn client(&self) -> IpAddr {
        self.client
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Shakes hands. What the client pipelined in clear is forgotten (RFC 3501 6.2.1, RFC 2595 4, RFC 3207 4.2).
    pub(crate) async fn start_tls(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.inbox.clear();
        self.scanned = 0;
        let Stream::Plain(socket) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(io::ErrorKind::AlreadyExists.into());
        };
        let tls = self.service.acceptor().accept(socket).await?;
        self.stream = Stream::Tls(Box::new(tls));
        Ok(())
    }

    /// Queues text for the next [`flush`](Self::flush).
    pub(crate) fn put(&mut self, text: impl AsRef<[u8]>) {
        self.outbox.extend_from_slice(text.as_ref());
    }

    /// Queues what may be long; writes early rather than copy it.
    pub(crate) async fn put_long(&mut self, data: &[u8]) -> io::Result<()> {
        if self.outbox.len() + data.len() < OUTBOX {
            self.put(data);
            return Ok(());
        }
        self.flush().await?;
        self.write(data).await
    }

    /// From here on, what is sent counts as behind the login.
    pub(crate) fn mark_login(&mut self) {
        self.login = Some(self.sent + self.outbox.len() as u64);
    }

    pub(crate) fn is_logged_in(&self) -> bool {
        self.login.is_some()
    }

    /// Sends all that is queued, in one write.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        let outbox = std::mem::take(&mut self.outbox);
        let outcome = self.write(&outbox).await;
        // The allocation is kept, unless something huge went through it.
        if outbox.capacity() <= 2 * OUTBOX {
            self.outbox = outbox;
            self.outbox.clear();
        }
        outcome
    }

    /// The next line. Cancel safe once everything queued has been flushed.
    pub(crate) async fn line(&mut self) -> io::Result<Input> {
        loop {
            if let Some(at) = self.inbox[self.scanned..].iter().position(|octet| *octet == b'\n') {
                let mut line = self.inbox.split_to(self.scanned + at + 1).freeze();
                self.scanned = 0;
                line.truncate(line.len() - 1);
                if line.last() != Some(&b'\r') {
                    return Ok(Input::Malformed);
                }
                line.truncate(line.len() - 1);
                return Ok(Input::Line(line));
            }
            self.scanned = self.inbox.len();
            if self.scanned > LONGEST_LINE {
                return Ok(Input::TooLong);
            }
            self.flush().await?;
            if self.fill().await? == 0 {
                return Ok(Input::End);
            }
        }
    }

    /// Exactly so many octets: a literal.
    pub(crate) async fn octets(&mut self, count: usize) -> io::Result<Bytes> {
        self.flush().await?;
        self.inbox.reserve(count.saturating_sub(self.inbox.len()));
        while self.inbox.len() < count {
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.scanned = 0;
        Ok(self.inbox.split_to(count).freeze())
    }

    /// Hands on what comes until `eat` has enough. It says how many octets of a piece it takes if it is then done, or
    /// `None` if it takes all of it and wants more. False if the client ended before that.
    pub(crate) async fn feed(&mut self, mut eat: impl FnMut(&[u8]) -> Option<usize>) -> io::Result<bool> {
        self.scanned = 0;
        loop {
            if let Some(eaten) = eat(&self.inbox) {
                self.inbox.advance(eaten);
                return Ok(true);
            }
            self.inbox.clear();
            self.flush().await?;
            if self.fill().await? == 0 {
                return Ok(false);
            }
        }
    }

    /// Reads and says nothing until the client goes.
    pub(crate) async fn ignore(&mut self) -> io::Result<()> {
        self.flush().await?;
        loop {
            self.inbox.clear();
            self.scanned = 0;
            if self.fill().await? == 0 {
                return Ok(());
            }
        }
    }

    /// Sends what is queued, ends the outgoing side, and waits for the client's end: to close with unread input would
    /// turn into a reset, which may take from the client what it has not read yet.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.finish().await
    }

    async fn finish(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.shutdown().await?,
            Stream::Tls(tls) => tls.shutdown().await?,
            Stream::Gone => return Ok(()),
        }
        let _ = tokio::time::timeout(LINGER, self.ignore()).await;
        Ok(())
    }

    async fn fill(&mut self) -> io::Result<usize> {
        if self.inbox.capacity() - self.inbox.len() < 4096 {
            self.inbox.reserve(16 << 10);
        }
        let before = self.inbox.len();
        let count = match &mut self.stream {
            Stream::Plain(socket) => socket.read_buf(&mut self.inbox).await?,
            Stream::Tls(tls) => tls.read_buf(&mut self.inbox).await?,
            Stream::Gone => 0,
        };
        self.service.hear(&self.inbox[before..]);
        Ok(count)
    }

    async fn write(&mut self, data: &[u8]) -> io::Result<()> {
        let (sent, login) = (self.sent, self.login);
        // Where the stream is to end, and how.
        let end = self.service.with_fault(|fault| match (fault, login) {
            (Some(ExchangeFault::ResetAfter(count)), _) => Some((*count as u64, End::Reset)),
            (Some(ExchangeFault::CloseAfter(count)), Some(login)) => Some((login + *count as u64, End::Close)),
            _ => None,
        });
        let Some((position, end)) = end.filter(|(position, _)| *position <= sent + data.len() as u64) else {
            return self.write_all(data).await;
        };
        let left = usize::try_from(position.saturating_sub(sent)).unwrap_or(usize::MAX).min(data.len());
        self.write_all(&data[..left]).await?;
        match end {
            End::Reset => {
                self.reset.arm();
                Err(io::ErrorKind::ConnectionReset.into())
            }
            End::Close => {
                // Boxed: it leads back here, with nothing left to write.
                Box::pin(self.finish()).await?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }

    async fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => {
                socket.write_all(data).await?;
                socket.flush().await?;
            }
            Stream::Tls(tls) => {
                tls.write_all(data).await?;
                tls.flush().await?;
            }
            Stream::Gone => return Err(io::ErrorKind::NotConnected.into()),
        }
        self.sent += data.len() as u64;
        Ok(())
    }
}

enum End {
    Reset,
    Close,
}

/// From here on a message is written by itself.
const OUTBOX: usize = 64 << 10;

/// Exchange takes lines of at least 10 KiB; a FETCH of many UIDs may be longer.
const LONGEST_LINE: usize = 64 << 10;

/// How long a client may take to close its side after ours.
const LINGER: Duration = Duration::from_secs(5);

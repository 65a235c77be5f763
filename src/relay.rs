//! How do bytes go to and fro once the mailbox is open? Unseen and unchanged, first what was read too far, then whatever
//! comes, until both sides have ended.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::{Instant, sleep};

/// What was carried, and how it ended.
#[derive(Debug)]
pub struct Carried {
    /// Octets that the upstream took from the client.
    pub to_upstream: u64,
    /// Octets that the client took from the upstream.
    pub to_client: u64,
    /// Why it ended.
    pub end: End,
}

/// How a relay ends.
#[derive(Debug)]
pub enum End {
    /// Both sides have said that nothing more comes, and all of it was delivered.
    Complete,
    /// One side had ended, and then nothing was sent or taken for [`CLOSE_TIMEOUT`].
    HalfOpen,
    /// The client's connection broke.
    ClientFailed(io::Error),
    /// The upstream's connection broke; what it had sent before was delivered.
    UpstreamFailed(io::Error),
}

/// Carries bytes until both sides have ended. `from_client` and `from_upstream` were read already and go first.
///
/// The end of one way shuts down that way only: a client that says QUIT and closes its half still gets the answer, and
/// what an upstream sent before it closed is delivered whole. Each way holds at most [`BUFFER`] octets, or what it began
/// with, and reads on only when they were taken.
pub async fn relay<C, U>(client: &mut C, upstream: &mut U, from_client: BytesMut, from_upstream: BytesMut) -> Carried
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = (Way::new(from_client), Way::new(from_upstream));
    let mut patience = pin!(sleep(CLOSE_TIMEOUT));
    let mut seen = None;
    let complete = poll_fn(|cx| {
        let down_done = down.poll(cx, upstream, client).is_ready();
        let up_done = up.poll(cx, client, upstream).is_ready();
        // A client that takes nothing more may have sent its last words; when they are delivered, nothing is left to do.
        if up_done && (down_done || down.sink_failed()) {
            return Poll::Ready(true);
        }
        if !(up_done || down_done || up.sink_failed() || down.sink_failed()) {
            return Poll::Pending;
        }
        let carried = up.carried + down.carried;
        if seen.replace(carried) != Some(carried) {
            patience.as_mut().reset(Instant::now() + CLOSE_TIMEOUT);
        }
        ready!(patience.as_mut().poll(cx));
        Poll::Ready(false)
    })
    .await;
    let end = match (down.failure, up.failure) {
        (Some(Failure::Sink(error)), _) | (_, Some(Failure::Source(error))) => End::ClientFailed(error),
        (Some(Failure::Source(error)), _) | (_, Some(Failure::Sink(error))) => End::UpstreamFailed(error),
        (None, None) if complete => End::Complete,
        (None, None) => End::HalfOpen,
    };
    Carried { to_upstream: up.carried, to_client: down.carried, end }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::HalfOpen => f.write_str("one side had ended, the other fell silent"),
            // rustls says it with a link to its manual. Many old clients do so.
            Self::ClientFailed(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("client: closed without ending TLS")
            }
            Self::ClientFailed(error) => write!(f, "client: {error}"),
            Self::UpstreamFailed(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("upstream: closed without ending TLS")
            }
            Self::UpstreamFailed(error) => write!(f, "upstream: {error}"),
        }
    }
}

/// Octets that one way holds at most.
pub const BUFFER: usize = 32 * 1024;

/// For the side that has not ended yet, counted from the last octet that was carried: a server may search for long
/// before it answers a client that has closed its half; a peer that is gone must not hold its session for ever.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// One of the two ways, from its source to its sink.
struct Way {
    /// Read and not yet written.
    pending: BytesMut,
    /// In the sink, but perhaps not yet on its way.
    unflushed: bool,
    state: State,
    carried: u64,
    failure: Option<Failure>,
}

enum State {
    /// The source has not ended.
    Open,
    /// The source has ended; the sink is to be told.
    Ending,
    /// The sink takes nothing more. The source is read on, unheeded: closed with octets unread, it would lose what is
    /// still on its way to it.
    Draining,
    Done,
}

enum Failure {
    Source(io::Error),
    Sink(io::Error),
}

impl Way {
    fn new(residual: BytesMut) -> Self {
        Self { pending: residual, unflushed: false, state: State::Open, carried: 0, failure: None }
    }

    fn sink_failed(&self) -> bool {
        matches!(self.failure, Some(Failure::Sink(_)))
    }

    /// Carries what can be carried now; ready when the source has ended and the sink has been told.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, source: &mut R, sink: &mut W) -> Poll<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            match self.state {
                State::Open => {
                    if let Err(error) = ready!(self.poll_write(cx, sink)) {
                        self.failure = Some(Failure::Sink(error));
                        self.state = State::Draining;
                        continue;
                    }
                    match self.poll_read(cx, source) {
                        Poll::Ready(Ok(0)) => self.state = State::Ending,
                        Poll::Ready(Ok(_)) => {}
                        // What came before the failure is delivered all the same.
                        Poll::Ready(Err(error)) => {
                            self.failure = Some(Failure::Source(error));
                            self.state = State::Ending;
                        }
                        Poll::Pending => {
                            // Only when nothing more comes at once: one flush for many reads.
                            if self.unflushed && Pin::new(sink).poll_flush(cx).is_ready() {
                                self.unflushed = false;
                            }
                            return Poll::Pending;
                        }
                    }
                }
                State::Ending => {
                    if let Err(error) = ready!(Pin::new(&mut *sink).poll_shutdown(cx)) {
                        self.failure.get_or_insert(Failure::Sink(error));
                    }
                    self.state = State::Done;
                }
                State::Draining => match ready!(self.poll_read(cx, source)) {
                    Ok(0) | Err(_) => self.state = State::Done,
                    Ok(_) => self.pending.clear(),
                },
                State::Done => return Poll::Ready(()),
            }
        }
    }

    /// Ready when all that was read is in the sink.
    fn poll_write<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, sink: &mut W) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let written = ready!(Pin::new(&mut *sink).poll_write(cx, &self.pending))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.advance(written);
            self.carried += written as u64;
            self.unflushed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read<R: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, source: &mut R) -> Poll<io::Result<usize>> {
        self.pending.reserve(BUFFER - self.pending.len().min(BUFFER));
        // Cancel-safe: where it is not ready, nothing has been read.
        pin!(source.read_buf(&mut self.pending)).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::{BUFFER, CLOSE_TIMEOUT, Carried, End, relay};

    /// The far ends of both connections, whose pipes hold `capacity` octets, and the relay between them.
    fn arrange(
        capacity: usize,
        from_client: &str,
        from_upstream: &str,
    ) -> (DuplexStream, DuplexStream, JoinHandle<Carried>) {
        let (client, mut near_client) = duplex(capacity);
        let (upstream, mut near_upstream) = duplex(capacity);
        let (from_client, from_upstream) = (BytesMut::from(from_client), BytesMut::from(from_upstream));
        let relaying =
            tokio::spawn(async move { relay(&mut near_client, &mut near_upstream, from_client, from_upstream).await });
        (client, upstream, relaying)
    }

    async fn all_from(stream: &mut DuplexStream) -> Vec<u8> {
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.expect("it ends");
        received
    }

    #[tokio::test]
    async fn f1_what_was_read_too_far_goes_first() {
        let (mut client, mut upstream, relaying) = arrange(64, "a SELECT INBOX\r\n", "* 1 EXISTS\r\n");
        client.write_all(b"b NOOP\r\n").await.expect("taken");
        upstream.write_all(b"a OK\r\n").await.expect("taken");
        client.shutdown().await.expect("taken");
        upstream.shutdown().await.expect("taken");
        assert_eq!(all_from(&mut upstream).await, b"a SELECT INBOX\r\nb NOOP\r\n");
        assert_eq!(all_from(&mut client).await, b"* 1 EXISTS\r\na OK\r\n");
        let carried = relaying.await.expect("no panic");
        assert_eq!((carried.to_upstream, carried.to_client), (24, 18));
        assert!(matches!(carried.end, End::Complete), "{:?}", carried.end);
    }

    #[tokio::test]
    async fn f40_half_close_is_kept_and_all_is_delivered() {
        let (mut client, mut upstream, relaying) = arrange(1000, "", "");
        client.write_all(b"QUIT\r\n").await.expect("taken");
        client.shutdown().await.expect("taken");
        assert_eq!(all_from(&mut upstream).await, b"QUIT\r\n", "the end of the client's half arrives");
        let message = vec![b'x'; 10 * BUFFER];
        let sending = async {
            upstream.write_all(&message).await.expect("the upstream's half is open");
            drop(upstream);
        };
        let ((), received) = tokio::join!(sending, all_from(&mut client));
        assert_eq!(received.len(), message.len());
        assert!(matches!(relaying.await.expect("no panic").end, End::Complete));
    }

    #[tokio::test(start_paused = true)]
    async fn back_pressure_bounds_what_is_held() {
        let (client, mut upstream, relaying) = arrange(1, "", "");
        let chunk = vec![b'x'; 1000];
        let mut sent = 0;
        // The client reads nothing: the upstream can send what the buffers hold and no more.
        while tokio::time::timeout(std::time::Duration::from_millis(50), upstream.write_all(&chunk)).await.is_ok() {
            sent += chunk.len();
            assert!(sent <= 2 * BUFFER, "{sent} octets held for a client that does not read");
        }
        relaying.abort();
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn f46_a_peer_that_stays_half_open_is_given_up() {
        let (mut client, upstream, relaying) = arrange(64, "", "");
        let before = tokio::time::Instant::now();
        drop(upstream);
        assert_eq!(all_from(&mut client).await, b"");
        let carried = relaying.await.expect("no panic");
        assert!(matches!(carried.end, End::HalfOpen), "{:?}", carried.end);
        assert!(before.elapsed() >= CLOSE_TIMEOUT);
    }

    #[tokio::test]
    async fn the_last_words_of_a_client_that_is_gone_are_delivered() {
        let (mut client, mut upstream, relaying) = arrange(64, "", "");
        client.write_all(b"DELE 1\r\nQUIT\r\n").await.expect("taken");
        drop(client);
        upstream.write_all(b"+OK\r\n").await.expect("taken");
        assert_eq!(all_from(&mut upstream).await, b"DELE 1\r\nQUIT\r\n");
        assert!(matches!(relaying.await.expect("no panic").end, End::ClientFailed(_)));
    }
}

//! The TCP side of both servers: listeners that can be closed and opened again, sockets that can end with a reset.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;

/// A listening socket. While it is closed, connecting to its port is refused.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    slot: Arc<Mutex<Slot>>,
    address: SocketAddr,
    runtime: Handle,
}

#[derive(Debug)]
struct Slot {
    listener: Option<TcpListener>,
    waiting: Option<Waker>,
}

impl Listener {
    /// Must be called within a runtime.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = listen(address)?;
        let address = listener.local_addr()?;
        let slot = Slot { listener: Some(listener), waiting: None };
        Ok(Self { slot: Arc::new(Mutex::new(slot)), address, runtime: Handle::current() })
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Waits for a client, while closed as well.
    pub(crate) async fn accept(&self) -> io::Result<TcpStream> {
        std::future::poll_fn(|context| self.poll_accept(context)).await
    }

    /// Closes at once; what has not been accepted yet is reset by the operating system.
    pub(crate) fn close(&self) {
        self.lock().listener = None;
    }

    /// Listens again on the same port.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        let mut slot = self.lock();
        if slot.listener.is_none() {
            let _runtime = self.runtime.enter();
            slot.listener = Some(listen(self.address)?);
            if let Some(waker) = slot.waiting.take() {
                waker.wake();
            }
        }
        Ok(())
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        let mut slot = self.lock();
        // Kept while open too: a listener that is closed meanwhile wakes nobody.
        slot.waiting = Some(context.waker().clone());
        match &slot.listener {
            Some(listener) => listener.poll_accept(context).map_ok(|(stream, _)| stream),
            None => Poll::Pending,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Elsewhere than on Unix the option lets two processes share the port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A TCP connection that ends with a reset instead of an orderly close, once told to.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    reset: Reset,
}

/// Tells a [`Socket`] to end with a reset when it is dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reset(Arc<AtomicBool>);

impl Reset {
    pub(crate) fn arm(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_armed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> (Self, Reset) {
        // Without it, an answer that is written in two parts waits for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let reset = Reset::default();
        (Self { stream, reset: reset.clone() }, reset)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.is_armed() {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.is_armed() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Enough for a load test's clients to connect all at once.
const BACKLOG: u32 = 1024;

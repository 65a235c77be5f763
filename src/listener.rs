//! How do clients come in? A listener binds an address and starts a session for each connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{Instrument as _, error, error_span, warn};

use crate::session::{self, Service, Stop};

/// A bound address of a listener.
#[derive(Debug)]
pub struct Listener {
    name: String,
    socket: TcpListener,
    service: Arc<Service>,
}

impl Listener {
    /// Binds `address`. From here on clients can connect; they are served by [`Listener::serve`].
    ///
    /// # Errors
    /// Those of the operating system: the port is taken, is not allowed, or the address is not this machine's.
    pub fn bind(name: &str, address: SocketAddr, service: &Arc<Service>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            // `[::]` is IPv6 alone: `0.0.0.0` is written beside it by who wants both.
            socket.set_only_v6(true)?;
        }
        // On Unix a restart need not wait for old connections; on Windows it would let another program take the port.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from_std(socket.into())?;
        Ok(Self { name: name.to_owned(), socket, service: Arc::clone(service) })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its clients are served with.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The address that was bound, with the real port where port 0 was asked for.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts clients until `stop`; answers with the sessions that are still going on.
    pub async fn serve(self, mut stop: Stop) -> JoinSet<()> {
        let mut sessions = JoinSet::new();
        let stopping = stop.clone();
        loop {
            tokio::select! {
                () = session::told_to_stop(&mut stop) => return sessions,
                accepted = self.socket.accept() => match accepted {
                    Ok((client, peer)) => {
                        let (service, stop) = (Arc::clone(&self.service), stopping.clone());
                        let span = error_span!("session", listener = self.name);
                        sessions.spawn(async move { session::serve(&service, client, peer, stop).await }.instrument(span));
                    }
                    Err(error) => {
                        warn!(listener = self.name, %error, "a connection was not accepted");
                        sleep(ACCEPT_BACKOFF).await;
                    }
                },
                Some(ended) = sessions.join_next() => if let Err(error) = ended {
                    // A panic ends its own session only.
                    error!(listener = self.name, %error, "a session did not end as it should");
                },
            }
        }
    }
}

/// Pending connections that the kernel keeps for us: all pollers of an office at the full minute.
const BACKLOG: i32 = 1024;

/// Out of descriptors, accept fails at once and for ever: without a pause it would take a whole core.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

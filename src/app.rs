//! How is the program put together? From a checked configuration to bound listeners, and from there to the last session.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::config::{self, Config};
use crate::listener::Listener;
use crate::platform;
use crate::profiles::{Admitted, Profiles};
use crate::session::{ListenerTls, Service};
use crate::tls::{Certificate, TlsError, server_identity};
use crate::token::entra::token_source;

pub use crate::config::{Fault, PREFIX, Place, Sources, is_key};

/// The proxy with all its listeners bound.
#[derive(Debug)]
pub struct App {
    listeners: Vec<Listener>,
}

/// Why the proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// Something is wrong with the configuration.
    #[error("{}", .0.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))]
    Configuration(Vec<Fault>),
    /// A listener has no certificate.
    #[error("listener {listener}: {source}")]
    Tls {
        /// Which listener.
        listener: String,
        /// Why not.
        source: TlsError,
    },
    /// The HTTP client for an app cannot be set up.
    #[error("app {app}: {source}")]
    Http {
        /// Which app.
        app: String,
        /// Why not.
        source: reqwest::Error,
    },
    /// The process cannot be told to end.
    #[error("signals cannot be listened to: {0}")]
    Signals(io::Error),
    /// An address cannot be bound.
    #[error("listener {listener}: cannot listen on {address}: {source}")]
    Bind {
        /// Which listener.
        listener: String,
        /// Which of its addresses.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// Reads the configuration: the file, if there is one, and the process's environment.
///
/// # Errors
/// The file cannot be read, or something is wrong with it; then all faults at once.
pub fn load(file: Option<&Path>) -> Result<Config, StartError> {
    let file = match file {
        None => None,
        Some(path) => {
            let octets = std::fs::read(path);
            let octets = octets.map_err(|source| StartError::File { path: path.display().to_string(), source })?;
            let text = String::from_utf8(octets).map_err(|error| {
                let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + good.iter().filter(|&&octet| octet == b'\n').count();
                not_utf8(Place::File { path: path.to_owned(), line: Some(line) })
            })?;
            Some((path.to_owned(), text))
        }
    };
    let mut environment = HashMap::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => {
                environment.insert(name, value);
            }
            Err(_) if is_key(&name) => return Err(not_utf8(Place::Variable(name))),
            Err(_) => {}
        }
    }
    parse(&Sources { file, environment })
}

fn not_utf8(place: Place) -> StartError {
    let text = String::from("is not UTF-8 here: save it as UTF-8");
    StartError::Configuration(vec![Fault { place, key: String::new(), text }])
}

/// Reads a configuration from text.
///
/// # Errors
/// All faults at once.
pub fn parse(sources: &Sources) -> Result<Config, StartError> {
    Config::load(sources).map_err(StartError::Configuration)
}

impl App {
    /// Binds every listener, or none.
    ///
    /// # Errors
    /// The first thing that is not to be had: a certificate, an address.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        let by_address: HashMap<_, _> = config
            .profiles
            .iter()
            .filter_map(|profile| {
                let mailbox = profile.mailbox.clone()?;
                Some((profile.name.clone(), Admitted { profile: Arc::new(profile.clone()), mailbox }))
            })
            .collect();
        let profiles = Arc::new(Profiles::new(config.profiles));
        let mut tokens = HashMap::new();
        for app in config.apps {
            let name = app.application.name.clone();
            let source = token_source(app.application, &app.tls)
                .map_err(|source| StartError::Http { app: name.clone(), source })?;
            tokens.insert(name, source);
        }
        let tokens = Arc::new(tokens);
        let mut listeners = Vec::new();
        for listener in config.listeners {
            // The configuration has a mail server for each protocol.
            let Some(server) = config.upstreams.get(&listener.protocol) else { continue };
            let service = Arc::new(Service {
                protocol: listener.protocol,
                tls: listener_tls(&listener)?,
                capabilities: server.capabilities.clone().into(),
                profiles: Arc::clone(&profiles),
                tokens: Arc::clone(&tokens),
                upstream: Arc::new(server.upstream.clone()),
                trusted: listener
                    .trusted
                    .iter()
                    .filter_map(|trusted| Some((trusted.network, by_address.get(&trusted.profile)?.clone())))
                    .collect(),
            });
            for config::ListenAddress { address, optional } in listener.addresses {
                match Listener::bind(&listener.name, address, &service) {
                    Ok(bound) => listeners.push(bound),
                    Err(error) if optional && is_absent(&error) => {
                        info!(listener = listener.name, %address, "this machine has no such address: left out");
                    }
                    Err(source) => return Err(StartError::Bind { listener: listener.name, address, source }),
                }
            }
        }
        Ok(Self { listeners })
    }

    /// The bound addresses, by the listener's name.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let address = |listener: &Listener| Some((listener.name().to_owned(), listener.local_address().ok()?));
        self.listeners.iter().filter_map(address).collect()
    }

    /// Serves clients until `stop` is done; then says goodbye to those that have not logged in, and gives the others
    /// [`DRAIN_TIMEOUT`] to finish.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        for listener in &self.listeners {
            let service = listener.service();
            let address = listener.local_address().map(|address| address.to_string()).unwrap_or_default();
            let tls = match service.tls {
                ListenerTls::None => "none",
                ListenerTls::StartTls(_) => "starttls",
                ListenerTls::Implicit(_) => "implicit",
            };
            info!(listener = listener.name(), %address, protocol = %service.protocol, tls, upstream = service.upstream.address, "listening");
        }
        info!(version = env!("CARGO_PKG_VERSION"), "ready");
        let (stopping, stopped) = watch::channel(false);
        let mut accepting: JoinSet<_> =
            self.listeners.into_iter().map(|listener| listener.serve(stopped.clone())).collect();
        stop.await;
        stopping.send_replace(true);
        let mut sessions = Vec::new();
        while let Some(stopped) = accepting.join_next().await {
            sessions.extend(stopped.ok());
        }
        let going_on: usize = sessions.iter().map(JoinSet::len).sum();
        info!(sessions = going_on, "stopping");
        let draining = async {
            for sessions in &mut sessions {
                while sessions.join_next().await.is_some() {}
            }
        };
        if tokio::time::timeout(DRAIN_TIMEOUT, draining).await.is_err() {
            for sessions in &mut sessions {
                while sessions.try_join_next().is_some() {}
            }
            let cut_off: usize = sessions.iter().map(JoinSet::len).sum();
            warn!(sessions = cut_off, "sessions did not end in time and are cut off");
        }
        info!("stopped");
    }
}

/// Serves until the process is told to end: once, to end in order; twice, to end at once.
///
/// # Errors
/// [`StartError`], before anything was served.
pub async fn run(config: Config) -> Result<(), StartError> {
    let app = App::bind(config)?;
    // Listened to from here on, so that the second one is heard however soon it comes.
    let mut signals = platform::StopSignals::listen().map_err(StartError::Signals)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let mut serving = pin!(app.serve(async {
        // Sent or dropped, it is time.
        let _ = stopped.await;
    }));
    tokio::select! {
        () = &mut serving => return Ok(()),
        signal = signals.next() => info!(signal, "told to stop"),
    }
    drop(stop);
    tokio::select! {
        () = &mut serving => {}
        signal = signals.next() => warn!(signal, "told twice: stopping at once"),
    }
    Ok(())
}

fn listener_tls(listener: &config::Listener) -> Result<ListenerTls, StartError> {
    let identity = |certificate: &Certificate| {
        let identity = server_identity(certificate)
            .map_err(|source| StartError::Tls { listener: listener.name.clone(), source })?;
        let what = if identity.made { "certificate made" } else { "certificate" };
        info!(listener = listener.name, sha256_fingerprint = identity.fingerprint, "{what}");
        Ok(identity.config)
    };
    match &listener.tls {
        config::ListenerTls::None => Ok(ListenerTls::None),
        config::ListenerTls::StartTls(certificate) => Ok(ListenerTls::StartTls(identity(certificate)?)),
        config::ListenerTls::Implicit(certificate) => Ok(ListenerTls::Implicit(identity(certificate)?)),
    }
}

/// The machine has no IPv6, or not this address.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        // EAFNOSUPPORT, which has no kind of its own.
        || cfg!(target_os = "linux") && error.raw_os_error() == Some(97)
}

/// For sessions with an open mailbox, after the process was told to end. Service managers wait longer before they kill.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

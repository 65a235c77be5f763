//! How does one connection go? This is the driver: it performs what the dialogues decide, owns every deadline, and knows
//! no protocol.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, info, trace, warn};

use crate::printable::printable;
use crate::profiles::{Admitted, Denied, Profiles};
use crate::protocol::line::{Framer, LineTooLong, MAX_LINE, MAX_UPSTREAM_LINE};
use crate::protocol::sasl::XOAuth2;
use crate::protocol::{
    Accepted, ClientAction, ClientDialogue, ClientTls, Credential, Goodbye, Mailbox, Protocol, Refusal, Rejection,
    UpstreamAction, UpstreamTls,
};
use crate::relay::relay;
use crate::remedy::remedy;
use crate::token::{AccessToken, TokenError, TokenSource};
use crate::transport::{DialError, Stream, Upstream};

/// What the sessions of a listener share.
#[derive(Debug)]
pub struct Service {
    /// What clients speak here.
    pub protocol: Protocol,
    /// How clients' connections are secured.
    pub tls: ListenerTls,
    /// What clients are told before login of what the upstream can do after it.
    pub capabilities: Arc<[String]>,
    /// Who may come in.
    pub profiles: Arc<Profiles>,
    /// The token source of each application, by its key in the configuration.
    pub tokens: Arc<HashMap<String, TokenSource>>,
    /// The mail server.
    pub upstream: Arc<Upstream>,
    /// Networks whose clients are let in without a credential, where the protocol goes on without one; the narrowest decides.
    pub trusted: Vec<(IpNet, Admitted)>,
}

/// How clients' connections are secured.
#[derive(Clone, Debug)]
pub enum ListenerTls {
    /// Not at all: a loopback listener.
    None,
    /// By STARTTLS or STLS, before login.
    StartTls(Arc<ServerConfig>),
    /// From the first byte on.
    Implicit(Arc<ServerConfig>),
}

/// Turns true when the process is to end. Who has not logged in by then is told so.
pub type Stop = watch::Receiver<bool>;

/// Waits until the process is to end. Cancel-safe.
pub async fn told_to_stop(stop: &mut Stop) {
    // Without its sender, which never goes before it has sent, it is time as well.
    let _ = stop.wait_for(|&stop| stop).await;
}

/// A client and the mailbox it has opened. Only a session that ran the whole way can make one, and only this can be
/// relayed.
struct Authenticated {
    client: Conversation,
    upstream: Conversation,
    username: String,
    admitted: Admitted,
    /// What the upstream hears first: the command that a client without a credential went on with.
    first: Bytes,
}

/// What a client wants to be let in for.
enum Claim {
    Credential(Credential),
    /// Its address; and the command that it went on with.
    Address(IpAddr, Bytes),
}

impl Claim {
    /// Who it is, for the log.
    fn name(&self) -> String {
        match self {
            Self::Credential(credential) => credential.username.to_string(),
            Self::Address(address, _) => address.to_string(),
        }
    }
}

/// Serves a client from its first byte to its last, and logs it: one `info` line at the end of a session that opened a
/// mailbox, one `warn` line for a refused login, `debug` for whoever came and went.
pub async fn serve(service: &Service, client: TcpStream, peer: SocketAddr, stop: Stop) {
    let begun = Instant::now();
    let authenticated = match log_in(service, client, peer, stop).await {
        Ok(authenticated) => authenticated,
        Err(ended) => return debug!(%peer, reason = %ended, "session ended without a login"),
    };
    let Authenticated { mut client, mut upstream, username, admitted, first } = authenticated;
    debug!(%peer, user = username, mailbox = %admitted.mailbox, "mailbox opened");
    let (from_client, from_upstream) = (client.residual(), upstream.residual());
    let from_client =
        if first.is_empty() { from_client } else { BytesMut::from(&[&first[..], &from_client].concat()[..]) };
    let carried = relay(&mut client.stream, &mut upstream.stream, from_client, from_upstream).await;
    info!(
        %peer,
        user = username,
        profile = admitted.profile.name,
        mailbox = %admitted.mailbox,
        bytes_to_client = carried.to_client,
        bytes_to_upstream = carried.to_upstream,
        seconds = begun.elapsed().as_secs_f64(),
        end = %carried.end,
        "session ended"
    );
}

/// The client dialogue: it ends with an open mailbox, or without a client.
async fn log_in(
    service: &Service,
    client: TcpStream,
    peer: SocketAddr,
    mut stop: Stop,
) -> Result<Authenticated, Ended> {
    client.set_nodelay(true)?;
    let mut client = Conversation::new(Stream::Plain(client), MAX_LINE);
    let mut tls = ClientTls::Absent;
    match &service.tls {
        ListenerTls::None => {}
        ListenerTls::StartTls(_) => tls = ClientTls::Required,
        ListenerTls::Implicit(config) => {
            client = client.accept_tls(config, &mut stop).await?;
            tls = ClientTls::Active;
        }
    }
    let mut dialogue = service.protocol.client_dialogue(tls, &service.capabilities);
    client.send(&dialogue.greeting()).await?;
    let mut deadline = tokio::time::Instant::now() + LOGIN_TIMEOUT;
    let mut actions = Vec::new();
    loop {
        // Cancel-safe: what was read stays in the conversation. A stop is looked at first, or a client that never pauses
        // would not hear of it.
        let unit = tokio::select! {
            biased;
            () = told_to_stop(&mut stop) => Err(Broken::Goodbye(Goodbye::ShuttingDown)),
            () = tokio::time::sleep_until(deadline) => Err(Broken::Goodbye(Goodbye::TimedOut)),
            unit = client.unit(dialogue.literal()) => unit,
        };
        let unit = match unit {
            Ok(unit) => unit,
            Err(Broken::Goodbye(why)) => return Err(client.part(dialogue.as_mut(), why).await),
            Err(Broken::Closed) => return Err(Ended::Closed),
            Err(Broken::Failed(error)) => return Err(Ended::Failed(error)),
        };
        dialogue.hear(unit, &mut actions);
        for action in actions.drain(..) {
            trace!(%peer, ?action, "client dialogue");
            let claim = match action {
                ClientAction::Authenticate(credential) => Claim::Credential(credential),
                ClientAction::AuthenticateByAddress(first) => Claim::Address(peer.ip(), first),
                ClientAction::Send(reply) => {
                    client.send(&reply).await?;
                    continue;
                }
                ClientAction::StartTls(reply) => {
                    let ListenerTls::StartTls(config) = &service.tls else {
                        return Err(Ended::Failed(io::Error::other("STARTTLS without a certificate")));
                    };
                    client.send(&reply).await?;
                    client = client.accept_tls(config, &mut stop).await?;
                    dialogue.secured();
                    continue;
                }
                ClientAction::Close(reply) => {
                    client.send(&reply).await?;
                    client.close().await;
                    return Err(Ended::Closed);
                }
            };
            let opened = tokio::select! {
                biased;
                () = told_to_stop(&mut stop) => {
                    return Err(client.part(dialogue.as_mut(), Goodbye::ShuttingDown).await);
                }
                opened = service.open(&claim) => opened,
            };
            let username = claim.name();
            match opened {
                Ok((admitted, upstream, said)) => {
                    client.send(&dialogue.admit(said)).await?;
                    let first = if let Claim::Address(_, first) = claim { first } else { Bytes::new() };
                    return Ok(Authenticated { client, upstream, username, admitted, first });
                }
                Err(cause) => {
                    let why = cause.refusal();
                    // Logged first: a client that is gone by now must not escape it.
                    if matches!(cause, Cause::Untrusted) {
                        // Nobody has tried to log in: it costs nothing to say MAIL, and so it counts for nothing.
                        debug!(%peer, "{cause}");
                    } else {
                        warn!(%peer, user = username, refusal = ?why, "login refused: {cause}");
                        deadline = tokio::time::Instant::now() + LOGIN_TIMEOUT;
                    }
                    client.send(&dialogue.refuse(why)).await?;
                }
            }
        }
    }
}

impl Service {
    /// From a claim to an open mailbox. Nothing is dialled before the password, or the address, was found right.
    async fn open(&self, claim: &Claim) -> Result<(Admitted, Conversation, Accepted), Cause> {
        let admitted = match claim {
            Claim::Credential(credential) => self.profiles.admit(credential).await?,
            Claim::Address(address, _) => self.trusted(*address).ok_or(Cause::Untrusted)?.clone(),
        };
        let app = &admitted.profile.app;
        let source = self.tokens.get(app).ok_or_else(|| Cause::NoSuchApp(app.clone()))?;
        loop {
            let (taken, stream) = tokio::try_join!(async { source.token().await.map_err(Cause::Token) }, async {
                self.upstream.dial().await.map_err(Cause::Dial)
            },)?;
            let presenting = self.present(stream, &admitted.mailbox, &taken.token);
            let presented = timeout(UPSTREAM_TIMEOUT, presenting).await.unwrap_or(Err(Cause::Silent));
            match presented {
                Ok((upstream, said)) => return Ok((admitted, upstream, said)),
                // Roles and permissions may have changed since a kept token was issued, so a new one is tried, once: it
                // is not a kept one.
                Err(Cause::Rejected { rejection: Rejection { why: Refusal::Mailbox, .. }, .. })
                    if taken.cached && source.refused_by_mail_server(&taken.token) =>
                {
                    debug!(mailbox = %admitted.mailbox, "mailbox refused with a cached token: trying a new one");
                }
                Err(cause) => return Err(cause),
            }
        }
    }

    /// Whom a client at this address is, without a credential.
    fn trusted(&self, address: IpAddr) -> Option<&Admitted> {
        let matching = self.trusted.iter().filter(|(network, _)| network.contains(&address));
        matching.max_by_key(|(network, _)| network.prefix_len()).map(|(_, admitted)| admitted)
    }

    /// The upstream dialogue: it ends with the mailbox open, or with the reason why not.
    async fn present(
        &self,
        stream: Stream,
        mailbox: &Mailbox,
        token: &AccessToken,
    ) -> Result<(Conversation, Accepted), Cause> {
        let mut upstream = Conversation::new(stream, MAX_UPSTREAM_LINE);
        let tls = if self.upstream.implicit_tls { UpstreamTls::Active } else { UpstreamTls::StartTls };
        let mut dialogue = self.protocol.upstream_dialogue(tls, XOAuth2::new(mailbox, token.value()));
        let (mut decided, mut actions) = (Vec::new(), VecDeque::new());
        loop {
            let line = upstream.unit(None).await?;
            trace!(said = printable(&line), "upstream dialogue");
            dialogue.hear(line, &mut decided);
            actions.extend(decided.drain(..));
            while let Some(action) = actions.pop_front() {
                trace!(?action, "upstream dialogue");
                match action {
                    UpstreamAction::Send(line) => upstream.send(&line).await?,
                    // The dialogues ask for TLS first; that they do is checked here once more, for all of them.
                    UpstreamAction::SendSecret(_) if matches!(upstream.stream, Stream::Plain(_)) => {
                        return Err(Cause::Unprotected);
                    }
                    UpstreamAction::SendSecret(line) => upstream.send(line.expose()).await?,
                    UpstreamAction::StartTls if !upstream.framer.is_empty() => return Err(Cause::Injected),
                    UpstreamAction::StartTls => {
                        let stream = upstream.stream.connect_tls(&self.upstream).await?;
                        upstream = Conversation::new(stream, MAX_UPSTREAM_LINE);
                        dialogue.secured(&mut decided);
                        actions.extend(decided.drain(..));
                    }
                    UpstreamAction::Accepted(said) => return Ok((upstream, said)),
                    UpstreamAction::Refused(rejection) => {
                        return Err(Cause::Rejected { rejection, mailbox: mailbox.clone(), protocol: self.protocol });
                    }
                }
            }
        }
    }
}

/// Why a login came to nothing, for the log: what happened, and what the administrator can do.
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("mail came without a login, and from no trusted address of this listener")]
    Untrusted,
    #[error("there is no app {0:?}")]
    NoSuchApp(String),
    #[error(transparent)]
    Token(TokenError),
    #[error(transparent)]
    Dial(DialError),
    #[error("the mail server's connection failed: {0}")]
    Failed(io::Error),
    #[error("the mail server closed the connection during login")]
    Closed,
    #[error("the mail server did not finish the login within {} s", UPSTREAM_TIMEOUT.as_secs())]
    Silent,
    #[error("the mail server sent a line that is too long")]
    LineTooLong,
    #[error("plaintext came in with the mail server's answer to STARTTLS: somebody may be in between")]
    Injected,
    #[error("the token was not sent, because the connection is not protected by TLS")]
    Unprotected,
    #[error("the mail server said {:?} to mailbox {mailbox}{}", rejection.said, remedy(*protocol, rejection))]
    Rejected { rejection: Rejection, mailbox: Mailbox, protocol: Protocol },
}

impl Cause {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Denied(Denied::WrongAuthorizationId { .. }) => Refusal::Authorization,
            Self::Denied(Denied::UnknownUsername | Denied::WrongPassword { .. }) => Refusal::Credentials,
            Self::Untrusted => Refusal::Unauthenticated,
            Self::NoSuchApp(_) => Refusal::Application,
            Self::Token(error) if error.is_temporary() => Refusal::TokenUnavailable,
            Self::Token(_) => Refusal::Application,
            Self::Dial(_)
            | Self::Failed(_)
            | Self::Closed
            | Self::Silent
            | Self::LineTooLong
            | Self::Injected
            | Self::Unprotected => Refusal::UpstreamUnavailable,
            Self::Rejected { rejection, .. } => rejection.why,
        }
    }
}

impl From<Broken> for Cause {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Closed => Self::Closed,
            Broken::Goodbye(_) => Self::LineTooLong,
            Broken::Failed(error) => Self::Failed(error),
        }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Why a session ended without an open mailbox.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the client closed the connection")]
    Closed,
    #[error("{}", .0.text())]
    Goodbye(Goodbye),
    #[error("{0}")]
    Failed(#[from] io::Error),
}

/// A connection, and what was read from it and not yet heard.
#[derive(Debug)]
struct Conversation {
    stream: Stream,
    framer: Framer,
}

/// Why no unit came.
#[derive(Debug)]
enum Broken {
    Closed,
    Goodbye(Goodbye),
    Failed(io::Error),
}

impl From<LineTooLong> for Broken {
    fn from(_: LineTooLong) -> Self {
        Self::Goodbye(Goodbye::LineTooLong)
    }
}

impl Conversation {
    fn new(stream: Stream, limit: usize) -> Self {
        Self { stream, framer: Framer::new(limit) }
    }

    /// The next line or literal. Cancel-safe.
    async fn unit(&mut self, literal: Option<usize>) -> Result<Bytes, Broken> {
        loop {
            if let Some(unit) = self.framer.unit(literal)? {
                return Ok(unit);
            }
            let buffer = self.framer.buffer_mut();
            buffer.reserve(READ);
            match self.stream.read_buf(buffer).await {
                Ok(0) => return Err(Broken::Closed),
                Ok(_) => {}
                Err(error) => return Err(Broken::Failed(error)),
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(SEND_TIMEOUT, sending).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Begins TLS as a server. What the client sent in clear behind its command is forgotten: somebody else may have put
    /// it there (RFC 9051, 6.2.1; RFC 2595, 4).
    async fn accept_tls(mut self, config: &Arc<ServerConfig>, stop: &mut Stop) -> Result<Self, Ended> {
        self.framer.discard();
        tokio::select! {
            // In the middle of a handshake there is nothing that could be said.
            () = told_to_stop(stop) => Err(Ended::Goodbye(Goodbye::ShuttingDown)),
            secured = self.stream.accept_tls(config) => Ok(Self { stream: secured?, framer: self.framer }),
        }
    }

    /// Says goodbye to a client that has not logged in.
    async fn part(&mut self, dialogue: &mut dyn ClientDialogue, why: Goodbye) -> Ended {
        if let Err(error) = self.send(&dialogue.goodbye(why)).await {
            return Ended::Failed(error);
        }
        self.close().await;
        Ended::Goodbye(why)
    }

    /// Ends the connection so that the last words arrive: closed with octets unread, the client would lose them.
    async fn close(&mut self) {
        let closing = async {
            self.stream.shutdown().await?;
            let mut unheard = BytesMut::with_capacity(READ);
            while self.stream.read_buf(&mut unheard).await? > 0 {
                unheard.clear();
            }
            io::Result::Ok(())
        };
        // The connection is over: how it ends changes nothing any more.
        let _ = timeout(LINGER, closing).await;
    }

    fn residual(&mut self) -> BytesMut {
        std::mem::replace(&mut self.framer, Framer::new(0)).into_residual()
    }
}

/// From the connection, or the last refusal, to a credential. People type; programs do not wait.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(180);

/// From the upstream's greeting to its verdict: Exchange holds refusals back for several seconds.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(90);

/// A reply before login is short; a peer that does not take it in this time is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// For the client to close its half after our goodbye.
const LINGER: Duration = Duration::from_secs(2);

/// Octets read at a time before login.
const READ: usize = 4096;

//! Exchange Online: who may open which mailbox, what goes wrong, and what a test can see of it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::ca::TestCa;
use crate::mailbox::Mailbox;
use crate::socket::Listener;
use crate::token::{Protocol, TokenVerifier};
use crate::wire::Wire;
use crate::{imap, pop3, smtp};

/// Exchange Online's IMAP, POP3 and SMTP front ends, listening until the value is dropped.
#[derive(Debug)]
pub struct Exchange {
    service: Arc<Service>,
    imap: Listener,
    pop3: Listener,
    smtp: Listener,
    servers: [AbortHandle; 3],
}

/// The two generations of front end that are live; texts and capability lists differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontEnd {
    /// 2015 to about the end of 2025.
    Classic,
    /// `tcpproxy`: POP3 since about September 2025, IMAP since 2026. No basic authentication is offered.
    TcpProxy,
}

/// How TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTls {
    /// With the first octet, as Exchange Online does on 993 and 995, and other servers on 465.
    Implicit,
    /// After STARTTLS or STLS, as Exchange Online does on 587 and other servers on 143 and 110. Before it no login is
    /// offered.
    StartTls,
}

/// What goes wrong at the mail server. It is looked at when its moment comes, so that it also meets connections that
/// are already open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeFault {
    /// A refusal in place of the greeting, then the end: `* BYE Connection closed. 14`, `-ERR Server Unavailable. 21` or
    /// `421 4.3.2 Service not available`.
    ByeAtGreeting,
    /// No greeting at all.
    SilentGreeting,
    /// The greeting's text is so many octets longer.
    GreetingPadding(usize),
    /// The greeting's line never ends: octets until the client goes.
    EndlessGreeting,
    /// The greeting, then the end.
    CloseAfterGreeting,
    /// The end in place of the verdict on a login.
    CloseDuringAuth,
    /// No verdict on a login.
    SilentAuth,
    /// Logins are refused, whatever the token.
    AuthFailed,
    /// The same, with the cause behind the text: `NO AUTHENTICATE failed. ... Error="AuthFailed:LogonDenied-..."`, and
    /// `535 5.7.139 ... the request did not meet the criteria ...`.
    AuthFailedVerbose,
    /// "User is authenticated but not connected", as each generation says it. SMTP takes the login, and then fails as
    /// with [`StoreDriver`](Self::StoreDriver).
    NotConnected,
    /// `NO Server Unavailable. 15`, `-ERR Server Unavailable. 21`, `454 4.7.0 Temporary authentication failure`. The last
    /// is RFC 4954's: what Exchange itself is known to say is the answer to [`Throttled`](Self::Throttled).
    ServerUnavailable,
    /// `BAD Request is throttled. Suggested Backoff Time: N milliseconds`. What POP3 says is not known;
    /// here it is `-ERR Server Unavailable. 21`. Nor is SMTP's; here it is what Exchange's front end says when it cannot
    /// reach what stands behind it, `451 4.7.0 Temporary server error. Please try again later.`
    Throttled(Duration),
    /// The same with `* BYE Connection closed. 14` behind it, and the end.
    ThrottledThenBye(Duration),
    /// The refusal of Gmail and Dovecot: a challenge with JSON, then silence until the client has answered it.
    ErrorChallenge,
    /// Continuations are `+` without a space. Both are seen. SMTP has no such thing.
    BarePlus,
    /// These octets follow in the same write as the login's OK.
    BehindLogin(Vec<u8>),
    /// These octets follow in clear, in the same write as the OK to STARTTLS or STLS.
    InjectBehindStartTls(Vec<u8>),
    /// STARTTLS is neither offered nor taken, and logins are invited in clear: a man in the middle.
    StripStartTls,
    /// STARTTLS is offered, but refused.
    RefuseStartTls,
    /// The greeting says that somebody is logged in already: `* PREAUTH`. POP3 and SMTP have no such
    /// thing.
    PreauthGreeting,
    /// A continuation stands behind the greeting, in the same write: it invites the token before TLS is up.
    EarlyContinuation,
    /// The greeting has more than one line (RFC 5321 4.2). Only SMTP has such a thing.
    MultiLineGreeting,
    /// Refusals of a login come so much later; with SMTP also those of a message.
    Tarpit(Duration),
    /// After login, silence of so long ends the connection: `* BYE Connection is closed. 13`,
    /// `421 4.4.1 Connection timed out`.
    IdleTimeout(Duration),
    /// When so many octets have been sent, greeting included, the connection is reset.
    ResetAfter(usize),
    /// When so many octets have been sent after the login's OK, the connection ends cleanly and all of them arrive.
    CloseAfter(usize),
    /// `Set-TransportConfig -SmtpClientAuthenticationDisabled $true`: SMTP refuses every login, with a token too.
    SmtpAuthDisabledForTenant,
    /// `Set-CASMailbox -SmtpClientAuthenticationDisabled $true`.
    SmtpAuthDisabledForMailbox,
    /// Basic authentication is a thing of the past: `550 5.7.30` to AUTH LOGIN. Tokens are taken as ever.
    SmtpBasicRetired,
    /// A message is refused at its end: `432 4.3.2 Concurrent connections limit exceeded.` That is where it was seen.
    SmtpConcurrencyLimit,
    /// A message is refused at its end, whoever sent it: `554 5.2.252 SendAsDenied`.
    SendAsDenied,
    /// A message is refused at its end: `430 4.2.0 STOREDRV; mailbox logon failure`. So it is without a fault if the
    /// application holds neither FullAccess nor SendAs for the mailbox that it logged in to.
    StoreDriver,
}

/// A message that was accepted for delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    /// The mailbox that the client logged in to, in lower case.
    pub authenticated_as: String,
    /// The address in MAIL, as it was written, without angle brackets; empty for the null reverse-path.
    pub from: String,
    /// The addresses in RCPT, as they were written, without angle brackets, in their order.
    pub to: Vec<String>,
    /// The message without its stuffed dots, or the chunks of BDAT in one piece: not an octet more or less.
    pub octets: Vec<u8>,
}

impl Exchange {
    /// Listens on three free ports of 127.0.0.1, with a certificate for `localhost` and `127.0.0.1`.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start(ca: &TestCa, trust: TokenVerifier, front_end: FrontEnd, tls: ServerTls) -> io::Result<Self> {
        let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
        Self::bind(ca, trust, front_end, tls, anywhere, anywhere).await
    }

    /// As [`start`](Self::start), on addresses of one's own. SMTP gets a free port of the address that IMAP has.
    ///
    /// Async although it waits for nothing: binding needs a runtime, and an async function is sure to have one.
    ///
    /// # Errors
    /// If an address cannot be bound.
    pub async fn bind(
        ca: &TestCa,
        trust: TokenVerifier,
        front_end: FrontEnd,
        tls: ServerTls,
        imap: SocketAddr,
        pop3: SocketAddr,
    ) -> io::Result<Self> {
        let smtp = Listener::bind((imap.ip(), 0).into())?;
        let (imap, pop3) = (Listener::bind(imap)?, Listener::bind(pop3)?);
        let service = Arc::new(Service {
            trust,
            front_end,
            tls,
            acceptor: TlsAcceptor::from(ca.server_config(&[])),
            accounts: Mutex::default(),
            fault: Mutex::default(),
            refuse_next: AtomicU32::new(0),
            connections: watch::Sender::new(0),
            open: watch::Sender::new(0),
            logins: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            heard: Mutex::default(),
            sent: watch::Sender::default(),
        });
        let servers = [
            tokio::spawn(serve(imap.clone(), service.clone(), Protocol::Imap)).abort_handle(),
            tokio::spawn(serve(pop3.clone(), service.clone(), Protocol::Pop3)).abort_handle(),
            tokio::spawn(serve(smtp.clone(), service.clone(), Protocol::Smtp)).abort_handle(),
        ];
        Ok(Self { service, imap, pop3, smtp, servers })
    }

    /// `localhost:PORT` of IMAP.
    pub fn imap_address(&self) -> String {
        format!("localhost:{}", self.imap.port())
    }

    /// `localhost:PORT` of POP3.
    pub fn pop3_address(&self) -> String {
        format!("localhost:{}", self.pop3.port())
    }

    /// `localhost:PORT` of SMTP submission.
    pub fn smtp_address(&self) -> String {
        format!("localhost:{}", self.smtp.port())
    }

    /// Adds a mailbox, or replaces the one of this address. Its inbox holds the messages, none of them seen.
    pub fn add_mailbox(&self, address: &str, messages: Vec<Vec<u8>>) {
        let mailbox = Mailbox::new(messages);
        self.service.accounts().mailboxes.insert(address.to_lowercase(), Arc::new(mailbox));
    }

    /// Puts a new message into an inbox; those who IDLE there are told. False if there is no such mailbox.
    pub fn deliver(&self, address: &str, message: Vec<u8>) -> bool {
        let mailbox = self.service.accounts().mailboxes.get(&address.to_lowercase()).cloned();
        mailbox.is_some_and(|mailbox| {
            mailbox.deliver(message);
            true
        })
    }

    /// `New-ServicePrincipal` and `Add-MailboxPermission -AccessRights FullAccess` in one.
    pub fn grant(&self, object_id: &str, mailbox: &str) {
        let mut accounts = self.service.accounts();
        accounts.principals.insert(object_id.to_lowercase());
        accounts.full_access.insert((object_id.to_lowercase(), mailbox.to_lowercase()));
    }

    /// `New-ServicePrincipal` and `Add-RecipientPermission -AccessRights SendAs` in one: whatever mailbox it logs in to,
    /// the application may name this one as the sender. A mailbox that it has logged in to it may name anyhow.
    pub fn grant_send_as(&self, object_id: &str, mailbox: &str) {
        let mut accounts = self.service.accounts();
        accounts.principals.insert(object_id.to_lowercase());
        accounts.send_as.insert((object_id.to_lowercase(), mailbox.to_lowercase()));
    }

    /// `Remove-MailboxPermission`. The service principal stays, so that IMAP says "authenticated but not connected", and
    /// SMTP takes the login but no message. A right to send is another permission, and stays.
    pub fn revoke(&self, object_id: &str, mailbox: &str) {
        self.service.accounts().full_access.remove(&(object_id.to_lowercase(), mailbox.to_lowercase()));
    }

    /// Sets or takes away what goes wrong.
    pub fn set_fault(&self, fault: Option<ExchangeFault>) {
        *lock(&self.service.fault) = fault;
    }

    /// The next logins are refused though the token is good: a token that the mail server no longer takes.
    pub fn refuse_next(&self, count: u32) {
        self.service.refuse_next.store(count, Ordering::SeqCst);
    }

    /// Connections accepted so far, of all protocols.
    pub fn connections(&self) -> u64 {
        *self.service.connections.borrow()
    }

    /// Waits until so many connections have been accepted.
    pub async fn connections_reach(&self, count: u64) {
        let mut connections = self.service.connections.subscribe();
        connections.wait_for(|accepted| *accepted >= count).await.expect("the sender is ours");
    }

    /// Logins accepted so far.
    pub fn logins(&self) -> u64 {
        self.service.logins.load(Ordering::SeqCst)
    }

    /// Logins with a token that were refused so far, for whatever reason.
    pub fn refused_logins(&self) -> u64 {
        self.service.refused.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> u64 {
        *self.service.open.borrow()
    }

    /// Waits until no more than so many connections are open.
    pub async fn open_connections_fall_to(&self, count: u64) {
        let mut open = self.service.open.subscribe();
        open.wait_for(|open| *open <= count).await.expect("the sender is ours");
    }

    /// Every octet that any client sent inside TLS, or in clear before it, in order of arrival. It ends at 64 MiB, so
    /// that a demonstration may run for long.
    pub fn heard(&self) -> Vec<u8> {
        lock(&self.service.heard).clone()
    }

    /// The messages that were accepted for delivery so far. They are delivered to nobody.
    pub fn sent(&self) -> Vec<SentMessage> {
        self.service.sent.borrow().clone()
    }

    /// Waits until so many messages have been accepted for delivery.
    pub async fn sent_reach(&self, count: usize) {
        let mut sent = self.service.sent.subscribe();
        sent.wait_for(|sent| sent.len() >= count).await.expect("the sender is ours");
    }

    /// False: the listeners are closed, and connecting is refused; open connections go on. True: they listen again on
    /// the same ports.
    ///
    /// # Panics
    /// If another process has taken a port meanwhile.
    pub fn set_reachable(&self, reachable: bool) {
        for listener in [&self.imap, &self.pop3, &self.smtp] {
            if reachable {
                listener.reopen().expect("nobody else has taken the port");
            } else {
                listener.close();
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

/// What all connections share.
pub(crate) struct Service {
    trust: TokenVerifier,
    pub(crate) front_end: FrontEnd,
    pub(crate) tls: ServerTls,
    acceptor: TlsAcceptor,
    accounts: Mutex<Accounts>,
    fault: Mutex<Option<ExchangeFault>>,
    refuse_next: AtomicU32,
    connections: watch::Sender<u64>,
    open: watch::Sender<u64>,
    logins: AtomicU64,
    refused: AtomicU64,
    heard: Mutex<Vec<u8>>,
    sent: watch::Sender<Vec<SentMessage>>,
}

/// All names in lower case: Exchange tells neither addresses nor GUIDs apart by case.
#[derive(Default)]
struct Accounts {
    mailboxes: HashMap<String, Arc<Mailbox>>,
    principals: HashSet<String>,
    full_access: HashSet<(String, String)>,
    send_as: HashSet<(String, String)>,
}

/// What Exchange makes of a login.
#[derive(Debug)]
pub(crate) enum Verdict {
    Open(Login),
    /// The token is good, the mailbox is there, but the permission is missing.
    NotConnected,
    Refused(Refusal),
}

/// Who has logged in, and to what. The names are in lower case.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) address: String,
    object_id: String,
}

/// Why a login is refused, where that shows in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Failed,
    FailedVerbose,
    Unavailable,
    Throttled {
        backoff: Duration,
        bye: bool,
    },
    /// SMTP is switched off for the `Tenant` or the `Mailbox`.
    SmtpDisabled(&'static str),
}

/// Why a message is not taken, though its transaction was in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// The front end's view of a sender that is not the client's own.
    SendAs,
    /// The mailbox server's view of the same.
    SendAsDenied,
    StoreDriver,
    ConcurrencyLimit,
}

impl Service {
    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    pub(crate) fn with_fault<T>(&self, read: impl FnOnce(Option<&ExchangeFault>) -> T) -> T {
        read(lock(&self.fault).as_ref())
    }

    pub(crate) fn fault(&self) -> Option<ExchangeFault> {
        lock(&self.fault).clone()
    }

    pub(crate) fn has_fault(&self, fault: &ExchangeFault) -> bool {
        self.with_fault(|current| current == Some(fault))
    }

    /// A continuation request without text.
    pub(crate) fn continuation(&self) -> &'static str {
        if self.has_fault(&ExchangeFault::BarePlus) { "+\r\n" } else { "+ \r\n" }
    }

    pub(crate) fn hear(&self, octets: &[u8]) {
        let mut heard = lock(&self.heard);
        let room = HEARD - heard.len();
        heard.extend_from_slice(&octets[..octets.len().min(room)]);
    }

    /// Waits for what a login has to wait for, then decides. `response` is the client's SASL response, still in base64.
    pub(crate) async fn judge(&self, protocol: Protocol, response: &[u8]) -> Verdict {
        let verdict = self.verdict(protocol, response);
        let counter = if matches!(verdict, Verdict::Open(_)) { &self.logins } else { &self.refused };
        counter.fetch_add(1, Ordering::SeqCst);
        if !matches!(verdict, Verdict::Open(_)) {
            self.tarpit().await;
        }
        verdict
    }

    /// Sits out the [`ExchangeFault::Tarpit`], if there is one.
    pub(crate) async fn tarpit(&self) {
        let pause = self.with_fault(|fault| match fault {
            Some(ExchangeFault::Tarpit(time)) => Some(*time),
            _ => None,
        });
        if let Some(time) = pause {
            tokio::time::sleep(time).await;
        }
    }

    fn verdict(&self, protocol: Protocol, response: &[u8]) -> Verdict {
        let forced = self.with_fault(|fault| match fault? {
            ExchangeFault::AuthFailed | ExchangeFault::ErrorChallenge => Some(Verdict::Refused(Refusal::Failed)),
            ExchangeFault::AuthFailedVerbose => Some(Verdict::Refused(Refusal::FailedVerbose)),
            ExchangeFault::NotConnected if protocol != Protocol::Smtp => Some(Verdict::NotConnected),
            ExchangeFault::SmtpAuthDisabledForTenant if protocol == Protocol::Smtp => {
                Some(Verdict::Refused(Refusal::SmtpDisabled("Tenant")))
            }
            ExchangeFault::SmtpAuthDisabledForMailbox if protocol == Protocol::Smtp => {
                Some(Verdict::Refused(Refusal::SmtpDisabled("Mailbox")))
            }
            ExchangeFault::ServerUnavailable => Some(Verdict::Refused(Refusal::Unavailable)),
            ExchangeFault::Throttled(backoff) => {
                Some(Verdict::Refused(Refusal::Throttled { backoff: *backoff, bye: false }))
            }
            ExchangeFault::ThrottledThenBye(backoff) => {
                Some(Verdict::Refused(Refusal::Throttled { backoff: *backoff, bye: true }))
            }
            _ => None,
        });
        if let Some(verdict) = forced {
            return verdict;
        }
        let one_less = |count: u32| count.checked_sub(1);
        if self.refuse_next.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            return Verdict::Refused(Refusal::Failed);
        }
        self.open(protocol, response).unwrap_or(Verdict::Refused(Refusal::Failed))
    }

    fn open(&self, protocol: Protocol, response: &[u8]) -> Option<Verdict> {
        let credential = Xoauth2::decode(response)?;
        // Since July 2025 POP3 does not get along with longer ones.
        if protocol == Protocol::Pop3 && self.front_end == FrontEnd::TcpProxy && credential.token.len() > 4096 {
            return None;
        }
        let object_id = self.trust.object_id(&credential.token, protocol)?.to_lowercase();
        let address = credential.user.to_lowercase();
        let accounts = self.accounts();
        let mailbox = accounts.mailboxes.get(&address)?.clone();
        if !accounts.principals.contains(&object_id) {
            return None;
        }
        let login = Login { mailbox, address, object_id };
        match protocol {
            // Whether the mailbox may be used shows when there is a message.
            Protocol::Smtp => Some(Verdict::Open(login)),
            _ if accounts.may_open(&login) => Some(Verdict::Open(login)),
            Protocol::Imap => Some(Verdict::NotConnected),
            // That the authentication failed is all that it says.
            Protocol::Pop3 => None,
        }
    }

    /// Takes a message for delivery, or says why not.
    pub(crate) fn submit(&self, login: &Login, from: String, to: Vec<String>, octets: Vec<u8>) -> Result<(), NotSent> {
        let forced = self.with_fault(|fault| match fault? {
            ExchangeFault::SmtpConcurrencyLimit => Some(NotSent::ConcurrencyLimit),
            ExchangeFault::SendAsDenied => Some(NotSent::SendAsDenied),
            ExchangeFault::StoreDriver | ExchangeFault::NotConnected => Some(NotSent::StoreDriver),
            _ => None,
        });
        forced.map_or(Ok(()), Err)?;
        self.accounts().may_send(login, &from)?;
        let message = SentMessage { authenticated_as: login.address.clone(), from, to, octets };
        self.sent.send_modify(|sent| sent.push(message));
        Ok(())
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        lock(&self.accounts)
    }
}

impl Accounts {
    fn may_open(&self, login: &Login) -> bool {
        self.full_access.contains(&(login.object_id.clone(), login.address.clone()))
    }

    fn may_send(&self, login: &Login, from: &str) -> Result<(), NotSent> {
        let granted = |mailbox: &str| self.send_as.contains(&(login.object_id.clone(), mailbox.to_owned()));
        let from = from.to_lowercase();
        if from != login.address && !granted(&from) {
            return Err(NotSent::SendAs);
        }
        if !self.may_open(login) && !granted(&login.address) {
            return Err(NotSent::StoreDriver);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("front_end", &self.front_end).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// The initial client response of XOAUTH2: `user=` mailbox ^A `auth=Bearer ` token ^A ^A.
#[derive(PartialEq, Eq)]
struct Xoauth2 {
    user: String,
    token: String,
}

impl Xoauth2 {
    /// Base64 of the standard alphabet, padded.
    fn decode(response: &[u8]) -> Option<Self> {
        let text = String::from_utf8(STANDARD.decode(response).ok()?).ok()?;
        let (user, rest) = text.strip_prefix("user=")?.split_once('\x01')?;
        let token = rest.strip_prefix("auth=Bearer ")?.strip_suffix("\x01\x01")?;
        (!token.contains('\x01')).then(|| Self { user: user.to_owned(), token: token.to_owned() })
    }
}

async fn serve(listener: Listener, service: Arc<Service>, protocol: Protocol) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(stream) => {
                    let open = Open::count(service.clone());
                    sessions.spawn(session(stream, open, protocol));
                }
                // Out of descriptors: some will be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = sessions.join_next() => {}
        }
    }
}

async fn session(stream: TcpStream, open: Open, protocol: Protocol) {
    let mut wire = Wire::new(stream, open.0.clone());
    // An error is a client that went away, or a fault that was asked for.
    let _ = converse(&mut wire, protocol).await;
    // The socket goes first: who waits for the count may connect again at once.
    drop(wire);
    drop(open);
}

async fn converse(wire: &mut Wire, protocol: Protocol) -> io::Result<()> {
    if wire.service().tls == ServerTls::Implicit {
        wire.start_tls().await?;
    }
    match protocol {
        Protocol::Imap => imap::serve(wire).await?,
        Protocol::Pop3 => pop3::serve(wire).await?,
        Protocol::Smtp => smtp::serve(wire).await?,
    }
    wire.close().await
}

/// Counts a connection while it is open.
struct Open(Arc<Service>);

impl Open {
    fn count(service: Arc<Service>) -> Self {
        service.open.send_modify(|open| *open += 1);
        service.connections.send_modify(|accepted| *accepted += 1);
        Self(service)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the record of what was heard ends.
const HEARD: usize = 64 << 20;

/// The host in the brackets of a greeting: base64 of UTF-16LE.
pub(crate) const HOST: &str =
    "RgBSADMAUAAyADgAMQBDAEEAMAAxADUANwAuAEQARQBVAFAAMgA4ADEALgBQAFIATwBEAC4ATwBVAFQATABPAE8ASwAuAEMATwBNAA==";

/// The challenge by which Gmail refuses a token: `{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}`.
pub(crate) const ERROR_CHALLENGE: &str =
    "eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ==";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_test_vector_is_read() {
        let vector = b"dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVyIEV3QkFBbDNCQUFVRkZwVUFvN0ozVmUwYmpMQldaV0NjbFJDM0VvQUEBAQ==";
        let credential = Xoauth2::decode(vector).unwrap();
        assert_eq!(credential.user, "test@contoso.onmicrosoft.com");
        assert_eq!(credential.token, "EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA");
    }

    #[test]
    fn what_is_not_xoauth2() {
        for text in [
            "",
            "user=a",
            "user=a\x01auth=Bearer t",
            "user=a\x01auth=Bearer t\x01",
            "\0alice@example.com\0password",
            "n,a=a,\x01auth=Bearer t\x01\x01",
            "user=a\x01auth=Bearer t\x01\x01\x01",
        ] {
            assert!(Xoauth2::decode(STANDARD.encode(text).as_bytes()).is_none(), "{text:?}");
        }
        assert!(Xoauth2::decode(b"dXNlcj1hAWF1dGg9QmVhcmVyIHQBAQ").is_none(), "padding is missing");
    }

    #[test]
    fn the_challenge_is_json() {
        let json: serde_json::Value = serde_json::from_slice(&STANDARD.decode(ERROR_CHALLENGE).unwrap()).unwrap();
        assert_eq!(json["status"], "400");
    }
}

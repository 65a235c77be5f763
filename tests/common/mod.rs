//! What the socket tests share: the whole proxy in front of the simulator, a small client for both protocols, what the
//! proxy logs, and the forms in which a secret could be shown.

#![allow(dead_code, reason = "each test program uses its own part of it")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Once};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use simulator::{Entra, Exchange, FrontEnd, Registration, ServerTls, TestCa, sample_messages};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tracing_subscriber::filter::LevelFilter;
use xoauth2_proxy::app::{self, App, Sources};
use xoauth2_proxy::protocol::Refusal;

/// The mailbox of the profile that every scene has; `alice` is a user name for it as well.
pub(crate) const ALICE: &str = "alice@example.com";

/// Her password, with all that needs quoting, spaces at the end included.
pub(crate) const PASSWORD: &str = r#"Open "Sesame" \o/ 7%  "#;

/// Another one of hers, fit for an atom.
pub(crate) const PLAIN_PASSWORD: &str = "open-sesame-4711";

/// What is to be built, where it is not the usual.
pub(crate) struct Setup {
    pub(crate) front_end: FrontEnd,
    pub(crate) upstream_tls: ServerTls,
    /// Where Exchange listens; its certificate is for `localhost` and `127.0.0.1`.
    pub(crate) upstream_ip: Ipv4Addr,
    /// The CA that the proxy trusts for Exchange and Entra, where it is not theirs.
    pub(crate) trusted_upstream: Option<TestCa>,
    pub(crate) trusted_entra: Option<TestCa>,
    /// Alice's.
    pub(crate) messages: Vec<Vec<u8>>,
    /// More TOML; `{authority}` stands for Entra's. Files are beside it.
    pub(crate) more: &'static str,
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            front_end: FrontEnd::TcpProxy,
            upstream_tls: ServerTls::Implicit,
            upstream_ip: Ipv4Addr::LOCALHOST,
            trusted_upstream: None,
            trusted_entra: None,
            messages: sample_messages(),
            more: "",
            environment: Vec::new(),
            files: Vec::new(),
        }
    }
}

/// The proxy in front of a simulated Microsoft 365, until the value is dropped.
pub(crate) struct Scene {
    pub(crate) entra: Entra,
    pub(crate) exchange: Exchange,
    /// The application `contoso`, which may open Alice's mailbox.
    pub(crate) app: Registration,
    /// What the proxy was configured from.
    pub(crate) sources: Sources,
    /// Whose certificates everybody has, and by default everybody trusts.
    pub(crate) ca: TestCa,
    addresses: HashMap<String, SocketAddr>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    directory: TempDir,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        log_by_thread();
        let ca = TestCa::new();
        let app = Registration::example();
        let entra = Entra::start(&ca).await.expect("a free port");
        entra.register(app.clone());
        let any_port = SocketAddr::from((setup.upstream_ip, 0));
        let exchange =
            Exchange::bind(&ca, entra.verifier(), setup.front_end, setup.upstream_tls, any_port, any_port).await;
        let exchange = exchange.expect("free ports");
        exchange.add_mailbox(ALICE, setup.messages.clone());
        exchange.grant(&app.object_id, ALICE);

        let directory = TempDir::new().expect("a directory");
        let write = |name: &str, content: &[u8]| std::fs::write(directory.path().join(name), content).expect("written");
        let own = ca.issue(&["localhost", "127.0.0.1"]);
        write("listener.pem", own.certificate_pem.as_bytes());
        write("listener.key", own.key_pem.as_bytes());
        write("entra-ca.pem", setup.trusted_entra.as_ref().unwrap_or(&ca).pem().as_bytes());
        write("upstream-ca.pem", setup.trusted_upstream.as_ref().unwrap_or(&ca).pem().as_bytes());
        for (name, content) in &setup.files {
            write(name, content);
        }
        let mut environment: HashMap<_, _> =
            setup.environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        for (name, value) in
            [("CLIENT_SECRET", app.secrets[0].as_str()), ("PASSWORD", PASSWORD), ("PLAIN_PASSWORD", PLAIN_PASSWORD)]
        {
            environment.insert(name.to_owned(), value.to_owned());
        }
        let text = configuration(&setup, &app, &entra, &exchange);
        let sources = Sources { file: Some((directory.path().join("proxy.toml"), text)), environment };

        let proxy = app::parse(&sources).unwrap_or_else(|error| panic!("{error}"));
        let proxy = App::bind(proxy).unwrap_or_else(|error| panic!("{error}"));
        let addresses = proxy.addresses().into_iter().collect();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(proxy.serve(async {
            // A scene that is dropped needs no proxy any more.
            let _ = stopped.await;
        }));
        Self { entra, exchange, app, sources, ca, addresses, stop, serving, directory }
    }

    /// A listener that is no [`Door`].
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        self.addresses[name]
    }

    pub(crate) fn address(&self, door: Door) -> SocketAddr {
        self.addresses[door.listener()]
    }

    /// A client's connection as the operating system makes it: nothing has been said, TLS is not up.
    pub(crate) async fn connect(&self, door: Door) -> TcpStream {
        let stream = soon("connecting", TcpStream::connect(self.address(door))).await.expect("the proxy listens");
        stream.set_nodelay(true).expect("an open socket");
        stream
    }

    /// A client that has been greeted and, where there is any, has TLS up.
    pub(crate) async fn enter(&self, door: Door) -> Client {
        self.enter_over(door, self.connect(door).await).await
    }

    /// The same over a connection that the test has made.
    pub(crate) async fn enter_over(&self, door: Door, stream: TcpStream) -> Client {
        let mut client = Client::over(door.protocol(), stream);
        if door.tls() == ClientTls::Implicit {
            client = client.handshake(self.trust()).await;
        }
        client.greeting().await;
        if door.tls() == ClientTls::StartTls {
            client.ask_for_tls().await;
            client = client.handshake(self.trust()).await;
        }
        client
    }

    /// A client in Alice's open mailbox.
    pub(crate) async fn enter_as_alice(&self, door: Door) -> Client {
        let mut client = self.enter(door).await;
        client.must_log_in(ALICE, PASSWORD).await;
        client
    }

    /// Whom clients of the proxy trust.
    pub(crate) fn trust(&self) -> Arc<ClientConfig> {
        self.ca.client_config()
    }

    /// Tells the proxy to end; the handle is done when it has.
    pub(crate) fn stop(self) -> Stopping {
        let Self { entra, exchange, stop, serving, addresses, directory, .. } = self;
        drop(stop);
        Stopping { serving, addresses, _upstream: (entra, exchange, directory) }
    }
}

/// A proxy that has been told to end.
pub(crate) struct Stopping {
    serving: JoinHandle<()>,
    addresses: HashMap<String, SocketAddr>,
    _upstream: (Entra, Exchange, TempDir),
}

impl Stopping {
    /// Waits until it has ended; then nobody listens any more.
    pub(crate) async fn ended(self) {
        soon("the proxy's end", self.serving).await.expect("no panic");
        for address in self.addresses.values() {
            let refused = soon("connecting", TcpStream::connect(address)).await.expect_err("nobody listens");
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        }
    }
}

fn configuration(setup: &Setup, app: &Registration, entra: &Entra, exchange: &Exchange) -> String {
    let host = match setup.upstream_ip {
        Ipv4Addr::LOCALHOST => "localhost".to_owned(),
        other => other.to_string(),
    };
    let tls = match setup.upstream_tls {
        ServerTls::Implicit => "implicit",
        ServerTls::StartTls => "starttls",
    };
    let mut text = format!(
        r#"
[apps.contoso]
tenant_id = "{tenant}"
client_id = "{client}"
client_secret_env = "CLIENT_SECRET"
authority = "{authority}"
ca_file = "entra-ca.pem"

[profiles.alice]
mailbox = "{ALICE}"
username = ["{ALICE}", "alice"]
password_env = ["PASSWORD", "PLAIN_PASSWORD"]
app = "contoso"

[upstreams.imap]
address = "{imap}"
tls = "{tls}"
ca_file = "upstream-ca.pem"

[upstreams.pop3]
address = "{pop3}"
tls = "{tls}"
ca_file = "upstream-ca.pem"

[upstreams.smtp]
address = "{smtp}"
tls = "{tls}"
ca_file = "upstream-ca.pem"

[listeners.smtp]
address = "127.0.0.1:0"

[listeners.smtp-starttls]
protocol = "smtp"
address = "127.0.0.1:0"
tls = "starttls"
certificate_file = "listener.pem"
private_key_file = "listener.key"
"#,
        tenant = app.tenant_id,
        client = app.client_id,
        authority = entra.authority(),
        imap = exchange.imap_address().replace("localhost", &host),
        pop3 = exchange.pop3_address().replace("localhost", &host),
        smtp = exchange.smtp_address().replace("localhost", &host),
    );
    for door in Door::ALL {
        let (protocol, tls) = (door.protocol().name(), door.tls());
        text += &format!("\n[listeners.{}]\nprotocol = \"{protocol}\"\naddress = \"127.0.0.1:0\"\n", door.listener());
        text += match tls {
            ClientTls::None => "tls = \"none\"\n",
            ClientTls::StartTls => {
                "tls = \"starttls\"\ncertificate_file = \"listener.pem\"\nprivate_key_file = \"listener.key\"\n"
            }
            ClientTls::Implicit => {
                "tls = \"implicit\"\ncertificate_file = \"listener.pem\"\nprivate_key_file = \"listener.key\"\n"
            }
        };
    }
    text + &setup.more.replace("{authority}", &entra.authority())
}

/// What a [`Client`] speaks: mail is read by these. Submission has a client of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Imap,
    Pop3,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
        }
    }
}

/// The listeners that every scene has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Imap,
    ImapStartTls,
    Imaps,
    Pop3,
    Pop3Stls,
    Pop3s,
}

/// How a client's connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientTls {
    None,
    StartTls,
    Implicit,
}

impl Door {
    pub(crate) const ALL: [Self; 6] =
        [Self::Imap, Self::ImapStartTls, Self::Imaps, Self::Pop3, Self::Pop3Stls, Self::Pop3s];

    /// One for each protocol, in clear.
    pub(crate) const PLAIN: [Self; 2] = [Self::Imap, Self::Pop3];

    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::Imap | Self::ImapStartTls | Self::Imaps => Protocol::Imap,
            Self::Pop3 | Self::Pop3Stls | Self::Pop3s => Protocol::Pop3,
        }
    }

    pub(crate) fn tls(self) -> ClientTls {
        match self {
            Self::Imap | Self::Pop3 => ClientTls::None,
            Self::ImapStartTls | Self::Pop3Stls => ClientTls::StartTls,
            Self::Imaps | Self::Pop3s => ClientTls::Implicit,
        }
    }

    fn listener(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::ImapStartTls => "imap-starttls",
            Self::Imaps => "imaps",
            Self::Pop3 => "pop3",
            Self::Pop3Stls => "pop3-stls",
            Self::Pop3s => "pop3s",
        }
    }
}

/// A mail program that knows passwords only.
pub(crate) struct Client {
    protocol: Protocol,
    stream: BufReader<Box<dyn Duplex>>,
    commands: u32,
}

/// Whatever a client's bytes travel over.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Client {
    pub(crate) fn over(protocol: Protocol, stream: impl Duplex + 'static) -> Self {
        Self { protocol, stream: BufReader::new(Box::new(stream)), commands: 0 }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Sends octets as they are, in one write.
    pub(crate) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        let sending = async {
            self.stream.write_all(octets.as_ref()).await?;
            self.stream.flush().await
        };
        soon("sending", sending).await.expect("the proxy takes it");
    }

    /// Says that nothing more comes; what the other side says is still heard.
    pub(crate) async fn finish_sending(&mut self) {
        soon("half-close", self.stream.shutdown()).await.expect("an open connection");
    }

    /// The next line, without its CRLF.
    pub(crate) async fn line(&mut self) -> String {
        String::from_utf8_lossy(&self.line_octets().await).into_owned()
    }

    async fn line_octets(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        soon("a line", self.stream.read_until(b'\n', &mut line)).await.expect("an open connection");
        assert!(line.ends_with(b"\r\n"), "no line: {:?}", String::from_utf8_lossy(&line));
        line.truncate(line.len() - 2);
        line
    }

    pub(crate) async fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut octets = vec![0; count];
        soon("octets", self.stream.read_exact(&mut octets)).await.expect("as many as announced");
        octets
    }

    /// All that comes until the other side ends the connection in order.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let (octets, end) = self.whatever_comes().await;
        end.expect("an orderly end");
        octets
    }

    /// All that comes until the connection ends, be it by a reset.
    pub(crate) async fn whatever_comes(&mut self) -> (Vec<u8>, io::Result<usize>) {
        let mut octets = Vec::new();
        let end = soon("the end of the connection", self.stream.read_to_end(&mut octets)).await;
        (octets, end)
    }

    /// The other side says nothing more and ends the connection in order.
    pub(crate) async fn ended(&mut self) {
        assert_eq!(String::from_utf8_lossy(&self.rest().await), "");
    }

    pub(crate) async fn greeting(&mut self) -> String {
        let greeting = self.line().await;
        let status = match self.protocol {
            Protocol::Imap => "* OK ",
            Protocol::Pop3 => "+OK ",
        };
        assert!(greeting.starts_with(status), "{greeting}");
        greeting
    }

    /// STARTTLS or STLS, up to the word that it may begin.
    pub(crate) async fn ask_for_tls(&mut self) {
        let command = match self.protocol {
            Protocol::Imap => "STARTTLS",
            Protocol::Pop3 => "STLS",
        };
        let status = self.ask(command).await;
        assert!(is_ok(&status), "{status}");
    }

    /// Brings TLS up as a client.
    pub(crate) async fn handshake(self, trust: Arc<ClientConfig>) -> Self {
        assert!(self.stream.buffer().is_empty(), "plaintext behind the word that TLS may begin");
        let name = ServerName::try_from("localhost").expect("a name");
        let connecting = TlsConnector::from(trust).connect(name, self.stream.into_inner());
        let stream = soon("TLS handshake", connecting).await.expect("a certificate of the test CA");
        Self { protocol: self.protocol, stream: BufReader::new(Box::new(stream)), commands: self.commands }
    }

    /// Sends a command and waits for its status. IMAP's untagged responses are passed over.
    pub(crate) async fn ask(&mut self, text: &str) -> String {
        let tag = self.next_tag();
        self.send(format!("{tag}{text}\r\n")).await;
        self.status(&tag).await
    }

    /// With the space behind it; POP3 has none.
    fn next_tag(&mut self) -> String {
        self.commands += 1;
        match self.protocol {
            Protocol::Imap => format!("a{} ", self.commands),
            Protocol::Pop3 => String::new(),
        }
    }

    /// The status of the command of this tag.
    pub(crate) async fn status(&mut self, tag: &str) -> String {
        loop {
            let line = self.line().await;
            if self.protocol == Protocol::Imap && line.starts_with("* ") {
                continue;
            }
            return line.strip_prefix(tag).unwrap_or_else(|| panic!("no answer to {tag:?}: {line}")).to_owned();
        }
    }

    /// LOGIN, or USER and PASS. Answers with the status of the last command.
    pub(crate) async fn log_in(&mut self, username: &str, password: &str) -> String {
        match self.protocol {
            Protocol::Imap => self.ask(&format!("LOGIN {} {}", quoted(username), quoted(password))).await,
            Protocol::Pop3 => {
                let named = self.ask(&format!("USER {username}")).await;
                assert!(is_ok(&named), "{named}");
                self.ask(&format!("PASS {password}")).await
            }
        }
    }

    pub(crate) async fn must_log_in(&mut self, username: &str, password: &str) {
        let status = self.log_in(username, password).await;
        assert!(is_ok(&status), "{username}: {status}");
    }

    /// The login is refused for this reason, in these very words.
    pub(crate) async fn must_be_refused(&mut self, username: &str, password: &str, why: Refusal) {
        let status = self.log_in(username, password).await;
        assert_eq!(status, refusal(self.protocol, why), "{username}");
    }

    /// Reads message number `number` of the inbox, octet for octet.
    pub(crate) async fn message(&mut self, number: usize) -> Vec<u8> {
        match self.protocol {
            Protocol::Imap => self.fetch(number).await,
            Protocol::Pop3 => {
                let status = self.ask(&format!("RETR {number}")).await;
                assert!(is_ok(&status), "{status}");
                soon("a message", self.multi_line()).await
            }
        }
    }

    /// RFC 3501 7.4.2, of the selected folder.
    async fn fetch(&mut self, number: usize) -> Vec<u8> {
        let tag = self.next_tag();
        self.send(format!("{tag}FETCH {number} BODY.PEEK[]\r\n")).await;
        let message = self.fetched(number).await;
        let status = self.status(&tag).await;
        assert!(is_ok(&status), "{status}");
        message
    }

    /// A FETCH response with nothing but the message.
    pub(crate) async fn fetched(&mut self, number: usize) -> Vec<u8> {
        let line = self.line().await;
        let announced = line.strip_prefix(&format!("* {number} FETCH (BODY[] {{"));
        let announced = announced.and_then(|rest| rest.strip_suffix('}')).and_then(|octets| octets.parse().ok());
        let message = self.octets(announced.unwrap_or_else(|| panic!("no message announced: {line}"))).await;
        assert_eq!(self.line().await, ")");
        message
    }

    /// RFC 1939 3: what stands ahead of the lonely dot, without the dots that were stuffed in.
    async fn multi_line(&mut self) -> Vec<u8> {
        let (mut octets, mut line) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            self.stream.read_until(b'\n', &mut line).await.expect("an open connection");
            assert!(line.ends_with(b"\r\n"), "cut off: {:?}", String::from_utf8_lossy(&line));
            match line.strip_prefix(b".") {
                Some(b"\r\n") => return octets,
                Some(unstuffed) => octets.extend_from_slice(unstuffed),
                None => octets.extend_from_slice(&line),
            }
        }
    }

    /// LOGOUT or QUIT: the upstream says goodbye, and the connection ends.
    pub(crate) async fn leave(mut self) {
        match self.protocol {
            Protocol::Imap => {
                self.send("bye LOGOUT\r\n").await;
                assert_eq!(self.line().await, "* BYE Microsoft Exchange Server IMAP4 server signing off.");
                assert_eq!(self.line().await, "bye OK LOGOUT completed.");
            }
            Protocol::Pop3 => {
                assert_eq!(self.ask("QUIT").await, "+OK Microsoft Exchange Server POP3 server signing off.");
            }
        }
        self.ended().await;
    }
}

/// Whether a status says yes.
pub(crate) fn is_ok(status: &str) -> bool {
    status.starts_with("OK") || status.starts_with("+OK")
}

/// RFC 9051, 9: `quoted`.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// RFC 4616, 2, in base64.
pub(crate) fn plain(authorization_id: &str, username: &str, password: &str) -> String {
    STANDARD.encode(format!("{authorization_id}\0{username}\0{password}"))
}

pub(crate) fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// The status of a refused login: response codes of RFC 5530, RFC 2449 and RFC 3206.
pub(crate) fn refusal(protocol: Protocol, why: Refusal) -> String {
    let (imap, pop3) = match why {
        Refusal::Credentials | Refusal::Unauthenticated => ("AUTHENTICATIONFAILED", "AUTH"),
        Refusal::Authorization => ("AUTHORIZATIONFAILED", "AUTH"),
        Refusal::Application | Refusal::Mailbox => ("CONTACTADMIN", "SYS/PERM"),
        Refusal::TokenUnavailable | Refusal::UpstreamUnavailable => ("UNAVAILABLE", "SYS/TEMP"),
        Refusal::MailboxInUse => ("INUSE", "IN-USE"),
    };
    match protocol {
        Protocol::Imap => format!("NO [{imap}] {}", why.text()),
        Protocol::Pop3 => format!("-ERR [{pop3}] {}", why.text()),
    }
}

/// What the proxy logs, at every level, until the value is dropped.
///
/// A test runs on a thread of its own, with all that it starts: what is logged there is its own.
pub(crate) struct Log(());

thread_local! {
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

impl Log {
    pub(crate) fn capture() -> Self {
        log_by_thread();
        LOG.set(Some(Vec::new()));
        Self(())
    }

    /// All of it.
    pub(crate) fn octets(&self) -> Vec<u8> {
        LOG.with_borrow(|log| log.clone().unwrap_or_default())
    }

    /// The messages and fields at WARN that begin with "login refused".
    pub(crate) fn refused_logins(&self) -> Vec<String> {
        let text = String::from_utf8(self.octets()).expect("text");
        let warnings = text.lines().filter_map(|line| line.trim_start().strip_prefix("WARN "));
        // Ahead of the message stands the session.
        let messages = warnings.map(|line| line.split_once("}: ").map_or(line, |(_, message)| message));
        messages.filter(|message| message.starts_with("login refused")).map(str::to_owned).collect()
    }
}

/// Has everything logged to where its thread wants it, from before the first log line of the process: what threads
/// without a subscriber have logged may be switched off for all.
fn log_by_thread() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).without_time();
        subscriber.with_target(false).with_ansi(false).with_writer(|| OwnLog).init();
    });
}

impl Drop for Log {
    fn drop(&mut self) {
        LOG.set(None);
    }
}

/// Writes to the log of the thread that it is used on.
struct OwnLog;

impl io::Write for OwnLog {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| {
            if let Some(log) = log {
                log.extend_from_slice(octets);
            }
        });
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Nothing that a test waits for takes this long: a hang is a failure.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    const PATIENCE: Duration = Duration::from_secs(30);
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("{what}: still not there after {} s", PATIENCE.as_secs()),
    }
}

/// Waits until something has come about of which nobody tells.
pub(crate) async fn until(what: &str, come_about: impl Fn() -> bool) {
    let looking = async {
        while !come_about() {
            tokio::task::yield_now().await;
        }
    };
    soon(what, looking).await;
}

/// Lets the time go by for which the proxy waits: everybody waits for something else than time already.
pub(crate) async fn let_pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Fails if the text shows the secret in any form that could be read back.
pub(crate) fn assert_hidden(text: &[u8], what: &str, secret: &str) {
    for form in forms(secret) {
        assert!(!contains(text, &form), "{what} is shown as {:?}", String::from_utf8_lossy(&form));
    }
}

pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    assert!(!part.is_empty());
    // Substantially faster than windows() without optimization: most positions are dismissed at once.
    let mut rest = text;
    while let Some(at) = rest.iter().position(|octet| *octet == part[0]) {
        if rest[at..].starts_with(part) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// As it is, quoted or as `Debug` has it, as a list of numbers, and in base64 wherever it may stand in the encoded text.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let numbers: Vec<String> = secret.bytes().map(|octet| octet.to_string()).collect();
    let escaped = secret.escape_debug().to_string();
    let mut forms = vec![secret.to_owned(), escaped, numbers.join(", ")];
    for offset in 0..3 {
        let octets = [&b"\0\0"[..offset], secret.as_bytes()].concat();
        // The characters at either end hold bits of its neighbours too.
        let (begin, end) = ((offset * 8).div_ceil(6), octets.len() * 8 / 6);
        forms.push(STANDARD_NO_PAD.encode(&octets)[begin..end].to_owned());
    }
    forms.into_iter().map(String::into_bytes).collect()
}

/// The access tokens in what Exchange has heard.
pub(crate) fn tokens(heard: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(heard).split_ascii_whitespace().filter_map(token).collect()
}

/// The lines that Exchange has heard, with `(token)` for every XOAUTH2 message.
pub(crate) fn without_tokens(heard: &[u8]) -> Vec<String> {
    let shown = |word| if token(word).is_some() { "(token)" } else { word };
    let text = String::from_utf8_lossy(heard);
    text.lines().map(|line| line.split(' ').map(shown).collect::<Vec<_>>().join(" ")).collect()
}

/// The access token in an XOAUTH2 message in base64.
fn token(word: &str) -> Option<String> {
    let message = String::from_utf8(STANDARD.decode(word).ok()?).ok()?;
    let (_, token) = message.strip_prefix("user=")?.split_once("\x01auth=Bearer ")?;
    Some(token.strip_suffix("\x01\x01")?.to_owned())
}

//! A client that speaks lines over TLS, and transcripts of what is said.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use serde_json::Value;
use simulator::{Entra, Exchange, FrontEnd, Registration, ServerTls, TestCa, sample_messages};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Everything, with alice and bob granted.
pub(crate) struct World {
    pub(crate) ca: TestCa,
    pub(crate) entra: Entra,
    pub(crate) exchange: Exchange,
    pub(crate) app: Registration,
}

impl World {
    pub(crate) async fn new(front_end: FrontEnd) -> Self {
        Self::with(front_end, ServerTls::Implicit).await
    }

    pub(crate) async fn with(front_end: FrontEnd, tls: ServerTls) -> Self {
        let ca = TestCa::new();
        let entra = Entra::start(&ca).await.unwrap();
        let app = Registration::example();
        entra.register(app.clone());
        let exchange = Exchange::start(&ca, entra.verifier(), front_end, tls).await.unwrap();
        for mailbox in ["alice@example.com", "bob@example.com"] {
            exchange.add_mailbox(mailbox, sample_messages());
            exchange.grant(&app.object_id, mailbox);
        }
        Self { ca, entra, exchange, app }
    }

    pub(crate) fn token(&self) -> String {
        self.entra.mint(self.entra.claims(&self.app))
    }

    /// A good SASL response.
    pub(crate) fn sasl(&self, user: &str) -> String {
        sasl(user, &self.token())
    }

    pub(crate) async fn imap(&self) -> Client {
        self.connect(&self.exchange.imap_address()).await
    }

    pub(crate) async fn pop3(&self) -> Client {
        self.connect(&self.exchange.pop3_address()).await
    }

    pub(crate) async fn smtp(&self) -> Client {
        self.connect(&self.exchange.smtp_address()).await
    }

    async fn connect(&self, address: &str) -> Client {
        Client::plain(address).await.start_tls(&self.ca).await
    }

    /// Greeted and logged in.
    pub(crate) async fn imap_as(&self, user: &str) -> Client {
        let mut client = self.imap().await;
        client.line().await;
        client.talk(&format!("C: a AUTHENTICATE XOAUTH2 {}\nS: a OK AUTHENTICATE completed.", self.sasl(user))).await;
        client
    }

    /// Greeted and logged in.
    pub(crate) async fn pop3_as(&self, user: &str) -> Client {
        let mut client = self.pop3().await;
        client.line().await;
        let sasl = self.sasl(user);
        client.talk(&format!("C: AUTH XOAUTH2\nS: + \nC: {sasl}\nS: +OK User successfully authenticated.")).await;
        client
    }

    /// Greeted, introduced and logged in.
    pub(crate) async fn smtp_as(&self, user: &str) -> Client {
        let mut client = self.smtp().await;
        client.talk("S< 220 \nC: EHLO client.example.com").await;
        client.until("250 ").await;
        let sasl = self.sasl(user);
        client.talk(&format!("C: AUTH XOAUTH2\nS: 334 \nC: {sasl}\nS: 235 2.7.0 Authentication successful")).await;
        client
    }
}

pub(crate) fn sasl(user: &str, token: &str) -> String {
    STANDARD.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01"))
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub(crate) struct Client {
    stream: Stream,
    inbox: Vec<u8>,
    read: usize,
}

impl Client {
    pub(crate) async fn plain(address: &str) -> Self {
        Self { stream: Stream::Plain(TcpStream::connect(address).await.unwrap()), inbox: Vec::new(), read: 0 }
    }

    pub(crate) async fn start_tls(self, ca: &TestCa) -> Self {
        let Stream::Plain(tcp) = self.stream else { panic!("TLS is up already") };
        let name = ServerName::try_from("localhost").unwrap();
        let tls = TlsConnector::from(ca.client_config()).connect(name, tcp).await.unwrap();
        Self { stream: Stream::Tls(Box::new(tls)), inbox: Vec::new(), read: 0 }
    }

    /// Plays a transcript: `C: ` is sent, `S: ` must come, `S< ` must begin so, `=` must be the end.
    pub(crate) async fn talk(&mut self, transcript: &str) {
        for line in transcript.lines() {
            let line = line.trim_start();
            if let Some(text) = line.strip_prefix("C: ") {
                self.send(format!("{text}\r\n")).await;
            } else if let Some(expected) = line.strip_prefix("S: ") {
                assert_eq!(self.line().await, expected, "in {transcript}");
            } else if let Some(expected) = line.strip_prefix("S< ") {
                let heard = self.line().await;
                assert!(heard.starts_with(expected), "{heard:?} does not begin with {expected:?}");
            } else if line == "=" {
                assert_eq!(self.rest().await.unwrap(), b"", "in {transcript}");
            } else {
                assert!(line.is_empty(), "{line:?}");
            }
        }
    }

    pub(crate) async fn send(&mut self, data: impl AsRef<[u8]>) {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.write_all(data.as_ref()).await.unwrap(),
            Stream::Tls(tls) => {
                tls.write_all(data.as_ref()).await.unwrap();
                tls.flush().await.unwrap();
            }
        }
    }

    pub(crate) async fn line(&mut self) -> String {
        let mut scanned = self.read;
        loop {
            if let Some(at) = self.inbox[scanned..].iter().position(|octet| *octet == b'\n') {
                let line = String::from_utf8_lossy(&self.inbox[self.read..scanned + at]).into_owned();
                self.read = scanned + at + 1;
                return line.strip_suffix('\r').expect("lines end in CRLF").to_owned();
            }
            scanned = self.inbox.len();
            assert!(
                self.fill().await.unwrap() > 0,
                "the server closed after {:?}",
                String::from_utf8_lossy(&self.inbox)
            );
        }
    }

    pub(crate) async fn octets(&mut self, count: usize) -> Vec<u8> {
        while self.inbox.len() - self.read < count {
            assert!(self.fill().await.unwrap() > 0, "the server closed");
        }
        self.read += count;
        self.inbox[self.read - count..self.read].to_vec()
    }

    /// Lines up to and with the one that begins so.
    pub(crate) async fn until(&mut self, start: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            lines.push(self.line().await);
            if lines.last().is_some_and(|line| line.starts_with(start)) {
                return lines;
            }
        }
    }

    /// Everything up to the server's end.
    pub(crate) async fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill().await? > 0 {}
        Ok(self.inbox.split_off(self.read))
    }

    /// One read; what came is kept for the next line.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        let read = async {
            match &mut self.stream {
                Stream::Plain(tcp) => tcp.read_buf(&mut self.inbox).await,
                Stream::Tls(tls) => tls.read_buf(&mut self.inbox).await,
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the server says nothing")
    }

    /// What has come and has not been looked at.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.inbox[self.read..]
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Whether the body is as long as its header says.
    pub(crate) whole: bool,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One HTTP request on a connection of its own.
pub(crate) async fn http(world: &World, method: &str, path: &str, kind: &str, body: &str) -> io::Result<Reply> {
    let address = format!("localhost:{}", world.entra.port());
    let mut client = Client::plain(&address).await.start_tls(&world.ca).await;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    client.send(request).await;
    let (mut inbox, ended) = match client.rest().await {
        Ok(rest) => (rest, true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => (client.unread().to_vec(), false),
        Err(error) => return Err(error),
    };
    let split = inbox.windows(4).position(|window| window == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8(inbox[..split].to_vec()).unwrap();
    let body = inbox.split_off(split + 4);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut reply = Reply { status, head, body, whole: ended };
    if let Some(length) = reply.header("Content-Length") {
        reply.whole = length.parse() == Ok(reply.body.len());
    }
    Ok(reply)
}

const PATIENCE: Duration = Duration::from_secs(20);

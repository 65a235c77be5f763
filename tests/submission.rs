//! Does mail that is handed to the proxy arrive? SMTP submission over sockets, in front of the simulated Exchange: what was
//! sent is compared with what arrived, octet for octet, and refusals with what a device makes of them.

mod common;

use simulator::{EntraFault, ExchangeFault, FrontEnd, SentMessage, ServerTls};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use common::{ALICE, Log, PASSWORD, Scene, Setup, base64, plain, soon, tokens};

/// A client in clear, which says and reads lines.
struct Device(BufReader<TcpStream>);

impl Device {
    async fn connect(scene: &Scene) -> Self {
        let stream = TcpStream::connect(scene.listener("smtp")).await.expect("it listens");
        let mut device = Self(BufReader::new(stream));
        assert_eq!(device.reply().await, "220 localhost ESMTP ready.");
        device
    }

    async fn say(&mut self, text: &str) -> String {
        self.send(format!("{text}\r\n").as_bytes()).await;
        self.reply().await
    }

    async fn send(&mut self, octets: &[u8]) {
        self.0.get_mut().write_all(octets).await.expect("taken");
    }

    /// The last line of the next reply.
    async fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = soon("a reply", self.0.read_line(&mut line)).await.expect("text");
            assert!(read > 0, "closed instead of a reply");
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    async fn log_in(&mut self) {
        assert_eq!(self.say("EHLO [192.0.2.7]").await, "250 AUTH PLAIN LOGIN");
        let reply = self.say(&format!("AUTH PLAIN {}", plain("", "alice", PASSWORD))).await;
        assert_eq!(reply, "235 2.7.0 Authentication successful");
    }

    /// Envelope and content; the reply to its end.
    async fn submit(&mut self, from: &str, content: &[u8]) -> String {
        assert!(self.say(&format!("MAIL FROM:<{from}> BODY=8BITMIME")).await.starts_with("250 "));
        assert!(self.say("RCPT TO:<bob@example.org>").await.starts_with("250 "));
        assert!(self.say("DATA").await.starts_with("354 "));
        // RFC 5321, 4.5.2.
        let mut stuffed = Vec::with_capacity(content.len() + 1000);
        for line in content.split_inclusive(|&octet| octet == b'\n') {
            if line.first() == Some(&b'.') {
                stuffed.push(b'.');
            }
            stuffed.extend(line);
        }
        stuffed.extend(b".\r\n");
        self.send(&stuffed).await;
        self.reply().await
    }
}

fn content(octets: usize) -> Vec<u8> {
    let mut content = b"From: alice\r\nSubject: 8 bit \xe4\xff\r\n\r\n.\r\n..\r\n.x\r\n".to_vec();
    while content.len() < octets {
        content
            .extend(vec![b'a' + u8::try_from(content.len() % 26).expect("small"); 5_000.min(octets - content.len())]);
        content.extend(b"\r\n");
    }
    content
}

async fn arrived(scene: &Scene, count: usize) -> SentMessage {
    soon("the message", scene.exchange.sent_reach(count)).await;
    scene.exchange.sent().pop().expect("it was sent")
}

#[tokio::test]
async fn mail_arrives_octet_for_octet_by_every_way_of_tls() {
    for upstream_tls in [ServerTls::Implicit, ServerTls::StartTls] {
        for front_end in [FrontEnd::Classic, FrontEnd::TcpProxy] {
            let scene = Scene::with(Setup { upstream_tls, front_end, ..Setup::default() }).await;
            let mut device = Device::connect(&scene).await;
            device.log_in().await;
            for (number, octets) in [(1, 100), (2, 300_000)] {
                assert!(device.submit(ALICE, &content(octets)).await.starts_with("250 2.0.0 "));
                let sent = arrived(&scene, number).await;
                assert_eq!(sent.authenticated_as, ALICE);
                assert!(sent.octets == content(octets), "{octets} octets arrived changed");
            }
            assert!(device.say("QUIT").await.starts_with("221 "));
            let mut rest = Vec::new();
            soon("the end", device.0.read_to_end(&mut rest)).await.expect("a clean end");
            assert_eq!(rest, b"");
        }
    }
}

/// A scanner that sends everything it has in one segment.
#[tokio::test]
async fn f2_what_is_pipelined_behind_auth_reaches_exchange_after_login_and_not_before() {
    let scene = Scene::new().await;
    let mut device = Device::connect(&scene).await;
    let bdat = content(200);
    let mut all = format!(
        "EHLO scanner\r\nAUTH PLAIN {}\r\nMAIL FROM:<{ALICE}>\r\nRCPT TO:<bob@example.org>\r\nBDAT {} LAST\r\n",
        plain("", "alice", PASSWORD),
        bdat.len()
    )
    .into_bytes();
    all.extend(&bdat);
    all.extend(b"QUIT\r\n");
    device.send(&all).await;
    for code in ["250 ", "235 ", "250 ", "250 ", "250 ", "221 "] {
        let reply = device.reply().await;
        assert!(reply.starts_with(code), "{code}: {reply}");
    }
    assert!(arrived(&scene, 1).await.octets == bdat);
    let heard = scene.exchange.heard();
    for secret in [PASSWORD.to_owned(), base64(PASSWORD), plain("", "alice", PASSWORD)] {
        assert!(!heard.windows(secret.len()).any(|window| window == secret.as_bytes()), "Exchange heard {secret}");
    }
}

/// Different in the words, and permanent only where the identity is at fault: a device drops its job at a 5xx.
#[tokio::test]
async fn each_refusal_is_told_and_logged_with_its_remedy() {
    let log = Log::capture();
    let scene = Scene::new().await;
    let mut device = Device::connect(&scene).await;
    assert!(device.say("HELO x").await.starts_with("250 "));
    assert_eq!(device.say("MAIL FROM:<alice@example.com>").await, "530 5.7.0 Authentication required.");
    assert_eq!(
        device.say(&format!("AUTH PLAIN {}", plain("", "alice", "wrong"))).await,
        "535 5.7.8 Authentication failed."
    );
    assert_eq!((scene.exchange.connections(), scene.entra.requests()), (0, 0));

    let right = format!("AUTH PLAIN {}", plain("", "alice", PASSWORD));
    scene.entra.set_fault(Some(EntraFault::Status { status: 503, retry_after: None }));
    assert!(device.say(&right).await.starts_with("454 4.7.0 The identity provider cannot be reached"));
    scene.entra.set_fault(None);
    scene.exchange.set_reachable(false);
    assert!(device.say(&right).await.starts_with("454 4.7.0 The mail server cannot be reached"));
    scene.exchange.set_reachable(true);
    scene.exchange.set_fault(Some(ExchangeFault::SmtpAuthDisabledForTenant));
    assert!(device.say(&right).await.starts_with("535 5.7.8 The mail server refuses this mailbox"));
    scene.exchange.set_fault(Some(ExchangeFault::SmtpAuthDisabledForMailbox));
    assert!(device.say(&right).await.starts_with("535 5.7.8 The mail server refuses this mailbox"));
    scene.exchange.set_fault(Some(ExchangeFault::ServerUnavailable));
    assert!(device.say(&right).await.starts_with("454 4.7.0 The mail server cannot be reached"));
    scene.exchange.set_fault(Some(ExchangeFault::ErrorChallenge));
    assert!(device.say(&right).await.starts_with("535 5.7.8 The mail server refuses this mailbox"), "F8");
    scene.exchange.set_fault(None);
    assert!(device.say(&right).await.starts_with("235 "));
    // From here on it is Exchange that speaks.
    scene.exchange.set_fault(Some(ExchangeFault::SendAsDenied));
    assert!(device.submit("boss@example.com", b"x\r\n").await.starts_with("554 5.2.252 "));

    let lines = log.refused_logins();
    assert_eq!(lines.len(), 7, "{lines:#?}");
    assert!(lines[3].contains("Set-TransportConfig -SmtpClientAuthenticationDisabled $false"), "{}", lines[3]);
    assert!(lines[4].contains("Set-CASMailbox -SmtpClientAuthenticationDisabled $false"), "{}", lines[4]);
}

/// A printer that cannot log in sends from an address that stands for Alice; nobody else does.
const TRUSTING: &str = r#"
[listeners.printers]
protocol = "smtp"
address = "127.0.0.1:0"
trusted = [
    { address = "127.0.0.0/24", profile = "ghost" },
    { address = "127.0.0.2", profile = "alice" },
]

[profiles.ghost]
mailbox = "ghost@example.com"
password_env = "PASSWORD"
app = "contoso"
"#;

#[tokio::test]
#[cfg(target_os = "linux")] // 127.0.0.2 is no address of its own elsewhere.
async fn a_device_that_cannot_log_in_sends_from_its_address_alone() {
    let scene = Scene::with(Setup { more: TRUSTING, ..Setup::default() }).await;
    let from = |ip: &str, listener: &str| {
        let (ip, listener) = (ip.parse().expect("an address"), scene.listener(listener));
        async move {
            let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
            socket.bind(std::net::SocketAddr::new(ip, 0)).expect("an address of this machine");
            let mut device = Device(BufReader::new(socket.connect(listener).await.expect("it listens")));
            device.reply().await;
            assert!(device.say("HELO printer").await.starts_with("250 "));
            device
        }
    };
    let mut stranger = from("127.1.0.1", "printers").await;
    assert_eq!(stranger.say("MAIL FROM:<alice@example.com>").await, "530 5.7.0 Authentication required.");
    let mut elsewhere = from("127.0.0.2", "smtp").await;
    assert_eq!(elsewhere.say("MAIL FROM:<alice@example.com>").await, "530 5.7.0 Authentication required.");
    assert_eq!((scene.exchange.connections(), scene.entra.requests()), (0, 0), "nothing is dialled for strangers");

    // The narrowest network decides.
    let mut printer = from("127.0.0.2", "printers").await;
    assert_eq!(scene.exchange.connections(), 0, "nor before the first MAIL");
    assert!(printer.submit(ALICE, &content(1_000)).await.starts_with("250 2.0.0 "));
    let sent = arrived(&scene, 1).await;
    assert_eq!((sent.authenticated_as.as_str(), sent.octets), (ALICE, content(1_000)));
    let mut other = from("127.0.0.3", "printers").await;
    assert!(other.say("MAIL FROM:<ghost@example.com>").await.starts_with("550 5.7.1 The mail server refuses"));
}

/// F22, F23: who strips, injects or answers early gets no token.
#[tokio::test]
async fn no_token_goes_where_tls_was_tampered_with() {
    let scene = Scene::with(Setup { upstream_tls: ServerTls::StartTls, ..Setup::default() }).await;
    for fault in [
        ExchangeFault::StripStartTls,
        ExchangeFault::RefuseStartTls,
        ExchangeFault::EarlyContinuation,
        ExchangeFault::InjectBehindStartTls(b"334 \r\n".to_vec()),
    ] {
        scene.exchange.set_fault(Some(fault.clone()));
        let mut device = Device::connect(&scene).await;
        let reply = device.say(&format!("AUTH PLAIN {}", plain("", "alice", PASSWORD))).await;
        assert!(reply.starts_with("454 4.7.0 "), "{fault:?}: {reply}");
        assert_eq!(tokens(&scene.exchange.heard()), [""; 0], "{fault:?}");
    }
}

#[tokio::test]
async fn where_tls_is_required_nothing_is_taken_before_it() {
    let scene = Scene::new().await;
    let stream = TcpStream::connect(scene.listener("smtp-starttls")).await.expect("it listens");
    let mut device = Device(BufReader::new(stream));
    device.reply().await;
    assert_eq!(device.say("EHLO x").await, "250 STARTTLS");
    assert!(device.say(&format!("AUTH PLAIN {}", plain("", "alice", PASSWORD))).await.starts_with("538 5.7.11 "));
    assert!(device.say("MAIL FROM:<alice@example.com>").await.starts_with("530 5.7.0 "));
    assert!(device.say("STARTTLS").await.starts_with("220 "));
    let connector = tokio_rustls::TlsConnector::from(scene.trust());
    let name = "localhost".try_into().expect("a name");
    let tls = soon("TLS", connector.connect(name, device.0.into_inner())).await.expect("TLS comes up");
    let mut tls = BufReader::new(tls);
    tls.get_mut().write_all(b"EHLO x\r\nAUTH LOGIN\r\n").await.expect("taken");
    let mut heard = String::new();
    while !heard.contains("334 ") {
        assert!(soon("a line", tls.read_line(&mut heard)).await.expect("text") > 0, "{heard}");
    }
    assert!(heard.contains("250 AUTH PLAIN LOGIN\r\n334 VXNlcm5hbWU6\r\n"), "{heard}");
    tls.get_mut()
        .write_all(format!("{}\r\n{}\r\n", base64("alice"), base64(PASSWORD)).as_bytes())
        .await
        .expect("taken");
    while !heard.contains("235 2.7.0 Authentication successful\r\n") {
        assert!(soon("a line", tls.read_line(&mut heard)).await.expect("text") > 0, "{heard}");
    }
}

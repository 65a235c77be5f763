//! What must hold for any input? The bodies of the fuzz targets in `fuzz/`, which `cargo test` runs over their corpora.
//!
//! Each takes bytes and panics where a promise is broken.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{Config, Sources};
use crate::protocol::line::{Framer, MAX_LINE, MAX_LITERAL, MAX_UPSTREAM_LINE};
use crate::protocol::sasl::XOAuth2;
use crate::protocol::{Accepted, ClientAction, ClientTls, Mailbox, Protocol, Refusal, UpstreamAction, UpstreamTls};
use crate::secret::Secret;

/// A target: its name in `fuzz/`, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 8] = [
    ("imap_client", |data| client(Protocol::Imap, data)),
    ("imap_upstream", |data| upstream(Protocol::Imap, data)),
    ("pop3_client", |data| client(Protocol::Pop3, data)),
    ("pop3_upstream", |data| upstream(Protocol::Pop3, data)),
    ("smtp_client", |data| client(Protocol::Smtp, data)),
    ("smtp_upstream", |data| upstream(Protocol::Smtp, data)),
    ("handover", handover),
    ("config", config),
];

/// The target of that name.
///
/// # Panics
/// There is none, or the target panics.
pub fn run(target: &str, data: &[u8]) {
    let (_, body) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target of this name");
    body(data);
}

/// What a client's conversation came to.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    actions: Vec<ClientAction>,
    /// What is left for the relay, where a login was let in.
    residual: Option<Vec<u8>>,
}

/// The first octet says how TLS stands and how logins are answered, the second the size of chunks, the rest is what the
/// client sends.
fn client(protocol: Protocol, data: &[u8]) {
    let [setting, chunk, input @ ..] = data else { return };
    let tls = [ClientTls::Absent, ClientTls::Required, ClientTls::Active][usize::from(setting & 3) % 3];
    let let_in_at = usize::from(setting >> 2);
    let whole = converse(protocol, tls, let_in_at, input, input.len().max(1));
    // F9, F11: how the network cuts the bytes changes nothing.
    let cut = converse(protocol, tls, let_in_at, input, usize::from(*chunk).max(1));
    assert_eq!(whole, cut, "chunks of {chunk} octets make a difference");
    for action in &whole.actions {
        let (ClientAction::Send(reply) | ClientAction::StartTls(reply) | ClientAction::Close(reply)) = action else {
            continue;
        };
        // Empty where the upstream gives the answer.
        assert!(reply.is_empty() || reply.ends_with(b"\r\n"), "a reply is not ended: {reply:?}");
        let line_ends = reply.windows(2).filter(|pair| pair == b"\r\n").count();
        let line_feeds = reply.iter().filter(|&&octet| octet == b'\n').count();
        let returns = reply.iter().filter(|&&octet| octet == b'\r').count();
        assert!(line_ends == line_feeds && line_ends == returns, "the client's words break a reply: {reply:?}");
    }
}

/// Plays the driver: refuses so many logins, lets the next one in.
fn converse(protocol: Protocol, tls: ClientTls, let_in_at: usize, input: &[u8], chunk: usize) -> Heard {
    let capabilities: Arc<[String]> = protocol.exchange_capabilities().iter().map(|&name| name.to_owned()).collect();
    let mut dialogue = protocol.client_dialogue(tls, &capabilities);
    let mut framer = Framer::new(MAX_LINE);
    let (mut heard, mut logins) = (vec![ClientAction::Send(dialogue.greeting())], 0);
    let mut secured = false;
    for (index, bytes) in input.chunks(chunk).enumerate() {
        let position = index * chunk + bytes.len();
        framer.buffer_mut().extend_from_slice(bytes);
        loop {
            let literal = dialogue.literal();
            assert!(literal.is_none_or(|octets| octets <= MAX_LITERAL), "a literal of {literal:?} octets is awaited");
            let Ok(unit) = framer.unit(literal) else {
                return Heard { actions: heard, residual: None };
            };
            let Some(unit) = unit else { break };
            let mut out = Vec::new();
            dialogue.hear(unit, &mut out);
            for action in out {
                let verdict = match &action {
                    ClientAction::Send(_) => None,
                    ClientAction::StartTls(_) => {
                        assert!(tls == ClientTls::Required && !secured, "STARTTLS where it was not offered");
                        secured = true;
                        dialogue.secured();
                        None
                    }
                    ClientAction::Authenticate(credential) => {
                        assert!(tls != ClientTls::Required || secured, "a login before TLS");
                        assert!(!credential.username.as_str().chars().any(char::is_control));
                        logins += 1;
                        Some(logins > let_in_at)
                    }
                    ClientAction::AuthenticateByAddress(first) => {
                        assert!(tls != ClientTls::Required || secured, "mail before TLS");
                        assert!(first.ends_with(b"\r\n"));
                        logins += 1;
                        Some(logins > let_in_at)
                    }
                    ClientAction::Close(_) => {
                        heard.push(action);
                        return Heard { actions: heard, residual: None };
                    }
                };
                heard.push(action);
                match verdict {
                    None => {}
                    Some(true) => {
                        heard.push(ClientAction::Send(dialogue.admit(Accepted::default())));
                        // What is still to be read belongs to the relay as well.
                        let read = framer.into_residual();
                        let residual = [&read[..], &input[position..]].concat();
                        return Heard { actions: heard, residual: Some(residual) };
                    }
                    Some(false) => heard.push(ClientAction::Send(dialogue.refuse(Refusal::Credentials))),
                }
            }
        }
    }
    Heard { actions: heard, residual: None }
}

/// The first octet says how TLS stands, the second the size of chunks, the rest is what the mail server sends.
fn upstream(protocol: Protocol, data: &[u8]) {
    let [setting, chunk, input @ ..] = data else { return };
    let tls = if setting & 1 == 0 { UpstreamTls::Active } else { UpstreamTls::StartTls };
    let whole = listen(protocol, tls, input, input.len().max(1));
    let cut = listen(protocol, tls, input, usize::from(*chunk).max(1));
    assert_eq!(whole, cut, "chunks of {chunk} octets make a difference");
}

fn listen(protocol: Protocol, tls: UpstreamTls, input: &[u8], chunk: usize) -> (Vec<UpstreamAction>, Option<Vec<u8>>) {
    let mailbox = Mailbox::parse("ann@example.org").expect("well-formed");
    let login = XOAuth2::new(&mailbox, &Secret::new(String::from("token")));
    let mut dialogue = protocol.upstream_dialogue(tls, login);
    let mut framer = Framer::new(MAX_UPSTREAM_LINE);
    let (mut heard, mut secured) = (Vec::new(), tls == UpstreamTls::Active);
    for (index, bytes) in input.chunks(chunk).enumerate() {
        let position = index * chunk + bytes.len();
        framer.buffer_mut().extend_from_slice(bytes);
        while let Ok(Some(line)) = framer.unit(None) {
            let mut out = Vec::new();
            dialogue.hear(line, &mut out);
            if out.contains(&UpstreamAction::StartTls) {
                assert!(!secured, "TLS twice");
                secured = true;
                dialogue.secured(&mut out);
            }
            for action in out {
                // F23: never a token in clear.
                assert!(secured || !matches!(action, UpstreamAction::SendSecret(_)), "the token before TLS");
                let ended = matches!(action, UpstreamAction::Accepted(_) | UpstreamAction::Refused(_));
                let accepted = matches!(action, UpstreamAction::Accepted(_));
                heard.push(action);
                if ended {
                    let residual = [&framer.into_residual()[..], &input[position..]].concat();
                    return (heard, accepted.then_some(residual));
                }
            }
        }
    }
    (heard, None)
}

/// F1, F3: whatever stands behind a login reaches the mail server, octet for octet, however it is cut.
fn handover(data: &[u8]) {
    let [spelling, chunk, behind @ ..] = data else { return };
    let logins: [(Protocol, &[u8]); 11] = [
        (Protocol::Imap, b"a LOGIN ann secret\r\n"),
        (Protocol::Imap, b"a LOGIN {3+}\r\nann {6+}\r\nsecret\r\n"),
        (Protocol::Imap, b"a AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=\n"),
        (Protocol::Imap, b"a AUTHENTICATE LOGIN\r\nYW5u\r\nc2VjcmV0\r\n"),
        (Protocol::Pop3, b"USER ann\r\nPASS secret\r\n"),
        (Protocol::Pop3, b"CAPA\r\nUSER ann\nPASS secret\n"),
        (Protocol::Pop3, b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"),
        (Protocol::Pop3, b"AUTH LOGIN\r\nYW5u\r\nc2VjcmV0\r\n"),
        (Protocol::Smtp, b"EHLO x\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n"),
        (Protocol::Smtp, b"AUTH LOGIN YW5u\nc2VjcmV0\n"),
        (Protocol::Smtp, b"HELO x\r\nAUTH PLAIN\r\nAGFubgBzZWNyZXQ=\r\n"),
    ];
    let (protocol, login) = logins[usize::from(*spelling) % logins.len()];
    let input = [login, behind].concat();
    let heard = converse(protocol, ClientTls::Absent, 0, &input, usize::from(*chunk).max(1));
    assert_eq!(heard.residual.as_deref(), Some(behind), "{:?}", heard.actions);
    // And what stands behind the upstream's acceptance reaches the client.
    let accepted: &[u8] = match protocol {
        Protocol::Imap => b"* OK ready\r\nP1 OK done\r\n",
        Protocol::Pop3 => b"+OK ready\r\n+ \r\n+OK done\r\n",
        Protocol::Smtp => b"220 ready\r\n250-x\r\n250 AUTH XOAUTH2\r\n334 \r\n235 2.7.0 done\r\n",
    };
    let (_, residual) = listen(protocol, UpstreamTls::Active, &[accepted, behind].concat(), usize::from(*chunk).max(1));
    assert_eq!(residual.as_deref(), Some(behind));
}

/// No file is too strange to be told what is wrong with it, and no fault shows a secret.
fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let sources = Sources { file: Some((PathBuf::from("proxy.toml"), text.to_owned())), environment: HashMap::new() };
    if let Err(faults) = Config::load(&sources) {
        assert!(!faults.is_empty(), "refused without a reason");
        for fault in faults {
            assert!(!fault.to_string().contains("hunter2"), "a fault shows a secret: {fault}");
        }
    }
}

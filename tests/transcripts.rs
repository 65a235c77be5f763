//! Do the dialogues say what the transcripts say? Each file in `transcripts/` is one promise, named after it; this runs
//! them all, whole and cut into small chunks, and compares every word.
//!
//! A transcript begins with `#` lines that say why, then one setting, then the conversation:
//!
//! ```text
//! % client tls=absent|required|active [capabilities="A B C"]      or      % upstream tls=active|starttls
//! C: S:  what the client, the mail server sends; lines in a row are one block of pipelined input
//! P:     what the proxy sends; <xoauth2> stands for the message that holds the token
//! =      what passes between dialogue and driver
//! ```
//!
//! Between two inputs stands all that the first one leads to, and nothing else happens. The driver's inputs are
//! `= untagged`, `= accepted`, `= refused`, `= secured`, `= goodbye`. Its outputs are `= starttls`, `= relay`, for a client
//! `= authenticate USER PASSWORD [as AUTHZID]`, `= by-address LINE`, `= discarded`, `= close`, for an upstream
//! `= injected`, `= too-long`, `= untagged`, `= accepted`, `= refused`. What is no input is an output that is expected: a
//! typo fails the transcript.
//!
//! Lines end in CRLF unless they end in `\c`. Escapes are `\r \n \t \\ \0 \xNN`, `\(5 ab)` for `ab` five times, and `\"`,
//! which stands for itself; a space within a capability is `\x20`. Outputs are written as [`escaped`] and [`word`] write
//! them.

#[path = "transcripts/read.rs"]
mod read;

use std::collections::HashMap;
use std::fmt::Debug;
use std::mem;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use xoauth2_proxy::protocol::line::{Framer, LineTooLong, MAX_LINE, MAX_UPSTREAM_LINE};
use xoauth2_proxy::protocol::sasl::XOAuth2;
use xoauth2_proxy::protocol::{
    Accepted, ClientAction, ClientDialogue, ClientTls, Goodbye, Mailbox, Protocol, Refusal, UpstreamAction,
    UpstreamDialogue, UpstreamTls, Username,
};
use xoauth2_proxy::secret::Secret;

use read::{escaped, files, parts, unescape, word};

/// Sizes that the input is cut into; the first leaves it whole.
const CHUNKS: [usize; 5] = [usize::MAX, 1, 2, 3, 7];

/// With fewer files than this in a folder, the tests look into the wrong one.
const FEWEST: usize = 100;

/// `user=ann@example.org^Aauth=Bearer token^A^A` in base64, not made by the code that is tested.
const XOAUTH2: &str = "dXNlcj1hbm5AZXhhbXBsZS5vcmcBYXV0aD1CZWFyZXIgdG9rZW4BAQ==";

#[test]
fn every_transcript_holds_however_it_is_cut() {
    let faults: Vec<_> = files()
        .iter()
        .filter_map(|(protocol, path, text)| Some(format!("{}:{}", path.display(), run(*protocol, text).err()?)))
        .collect();
    assert!(faults.is_empty(), "{} transcripts fail\n\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_folders_are_full_and_no_two_transcripts_are_identical() {
    let mut seen = HashMap::new();
    for (protocol, path, text) in files() {
        let conversation: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        let twin = seen.insert((protocol, conversation), path.clone());
        assert_eq!(twin, None, "the same conversation as {}", path.display());
    }
    for protocol in Protocol::ALL {
        let count = seen.keys().filter(|(of, _)| *of == protocol).count();
        assert!(count >= FEWEST, "only {count} transcripts for {protocol}");
    }
}

#[test]
fn a_transcript_that_is_wrong_fails() {
    const GOOD: &str = "# why\n% client tls=absent\nP: +OK xoauth2-proxy ready.\nC: NOOP\nC: QUIT\nP: +OK NOOP completed.\n\
                        P: +OK xoauth2-proxy is signing off.\n= close\n";
    assert_eq!(run(Protocol::Pop3, GOOD), Ok(()));
    for (right, wrong, complaint) in [
        ("# why\n", "", "1: begin with"),
        ("absent", "abesnt", "2: unknown setting"),
        ("client tls=absent", "upstream tls=active capabilities=\"A\"", "2: unknown setting"),
        ("P: +OK xoauth2-proxy ready.\n", "", "3: whole\n"),
        ("C: NOOP\n", "c: NOOP\n", "4: unknown line"),
        ("C: NOOP\n", "S: NOOP\n", "4: whole: not awaited"),
        ("C: NOOP\n", "\n", "4: unknown line"),
        ("C: NOOP\n", "C: NOOP \n", "4: white space"),
        ("C: NOOP\n", "C: DOMAIN\\user\n", "4: whole: unknown escape"),
        ("C: NOOP\n", "", "4: whole\n"),
        ("C: NOOP\n", "= secured\n", "4: whole: not awaited"),
        ("completed", "done", "4: whole\n"),
        ("C: QUIT\n", "= qiut\n", "4: whole\n"),
        ("= close\n", "", "4: whole\n"),
        ("= close\n", "= close\n= close\n", "4: whole\n"),
        ("= close\n", "= close\nC: NOOP\n", "9: whole: not awaited"),
        ("= close\n", "= close\n= refused Credential\n", "9: whole: not awaited"),
    ] {
        let fault = run(Protocol::Pop3, &GOOD.replace(right, wrong)).expect_err(wrong);
        assert!(fault.starts_with(complaint), "{wrong:?}: {fault}");
    }
}

/// Runs a transcript in all its cuts. A fault begins with the number of a line.
fn run(protocol: Protocol, text: &str) -> Result<(), String> {
    let mut lines = text.lines().zip(1..).skip_while(|(line, _)| line.starts_with("# "));
    let (setting, at) = lines.next().filter(|(_, at)| *at > 1).ok_or("1: begin with a # line that says why")?;
    let mut steps = vec![Step { at: at + 1, inputs: Vec::new(), expected: Vec::new() }];
    for (line, at) in lines {
        let appended = Step::append(&mut steps, line, at, setting.starts_with("% client "));
        appended.map_err(|fault| format!("{at}: {fault}"))?;
    }
    for chunk in CHUNKS {
        let cut = if chunk == usize::MAX { String::from("whole") } else { format!("in chunks of {chunk}") };
        let mut driver = Driver::new(protocol, setting, chunk).ok_or_else(|| format!("{at}: unknown setting"))?;
        for Step { at, inputs, expected } in &steps {
            let taken = inputs.iter().try_for_each(|line| driver.take(line)).and_then(|()| driver.listen());
            taken.map_err(|fault| format!("{at}: {cut}: {fault}"))?;
            let actual = mem::take(&mut driver.said);
            if actual != *expected {
                return Err(format!("{at}: {cut}\n{}", side_by_side(expected, &actual)));
            }
        }
    }
    Ok(())
}

fn side_by_side(expected: &[&str], actual: &[String]) -> String {
    let width = expected.iter().map(|line| line.len()).max().unwrap_or(0).clamp(8, 90);
    let mut table = format!("      {:width$} | actual\n", "expected");
    for row in 0..expected.len().max(actual.len()) {
        let left = expected.get(row).copied().unwrap_or_default();
        let right = actual.get(row).map_or("", String::as_str);
        let mark = if left == right { ' ' } else { '!' };
        table.push_str(&format!("    {mark} {left:width$} | {right}\n"));
    }
    table
}

/// An input or a block of them, and all that it leads to.
struct Step<'a> {
    at: usize,
    inputs: Vec<&'a str>,
    expected: Vec<&'a str>,
}

impl<'a> Step<'a> {
    fn append(steps: &mut Vec<Self>, line: &'a str, at: usize, of_client: bool) -> Result<(), String> {
        if line.ends_with(char::is_whitespace) {
            return Err(String::from("white space at the end: write \\x20"));
        }
        let last = steps.last_mut().expect("there is a first step");
        let (mark, name, _) = parts(line);
        match (mark, name) {
            ("C:" | "S:", _) if last.expected.is_empty() && last.inputs.iter().any(|of| of[..2] == line[..2]) => {
                last.inputs.push(line);
            }
            ("P:", _) => last.expected.push(line),
            ("=", "untagged" | "accepted" | "refused") if !of_client => last.expected.push(line),
            ("C:" | "S:", _) | ("=", "secured" | "untagged" | "accepted" | "refused" | "goodbye") => {
                steps.push(Self { at, inputs: vec![line], expected: Vec::new() });
            }
            ("=", _) => last.expected.push(line),
            _ => return Err(format!("unknown line {line:?}")),
        }
        Ok(())
    }
}

/// The part of `session.rs` that has to do with one dialogue, without sockets.
struct Driver {
    protocol: Protocol,
    dialogue: Dialogue,
    awaits: Awaits,
    untagged: Vec<Bytes>,
    framer: Framer,
    /// What is still to be read, in chunks.
    wire: BytesMut,
    chunk: usize,
    /// What was sent and done, each line as a transcript has it.
    said: Vec<String>,
}

enum Dialogue {
    Client(Box<dyn ClientDialogue>),
    Upstream(Box<dyn UpstreamDialogue>),
}

#[derive(Clone, Copy, PartialEq)]
enum Awaits {
    Octets,
    Verdict,
    Tls,
    Nothing,
}

impl Driver {
    /// The peer has connected; none where the setting is unknown.
    fn new(protocol: Protocol, setting: &str, chunk: usize) -> Option<Self> {
        let (setting, capabilities) = match setting.split_once(" capabilities=\"") {
            Some((setting, names)) => {
                let name = |name| String::from_utf8(unescape(name, "").ok()?).ok();
                (setting, Some(names.strip_suffix('"')?.split(' ').map(name).collect::<Option<_>>()?))
            }
            None => (setting, None),
        };
        let exchange = || protocol.exchange_capabilities().iter().map(|&name| name.to_owned()).collect();
        let client = |tls, names: Option<Arc<[String]>>| {
            Dialogue::Client(protocol.client_dialogue(tls, &names.unwrap_or_else(exchange)))
        };
        let upstream = |tls| {
            let mailbox = Mailbox::parse("ann@example.org").expect("well-formed");
            let login = XOAuth2::new(&mailbox, &Secret::new(String::from("token")));
            Dialogue::Upstream(protocol.upstream_dialogue(tls, login))
        };
        let (mut dialogue, limit) = match (setting, capabilities) {
            ("% client tls=absent", names) => (client(ClientTls::Absent, names), MAX_LINE),
            ("% client tls=required", names) => (client(ClientTls::Required, names), MAX_LINE),
            ("% client tls=active", names) => (client(ClientTls::Active, names), MAX_LINE),
            ("% upstream tls=active", None) => (upstream(UpstreamTls::Active), MAX_UPSTREAM_LINE),
            ("% upstream tls=starttls", None) => (upstream(UpstreamTls::StartTls), MAX_UPSTREAM_LINE),
            _ => return None,
        };
        let greeting = match &mut dialogue {
            Dialogue::Client(client) => client.greeting(),
            Dialogue::Upstream(_) => Bytes::new(),
        };
        let mut driver = Self {
            protocol,
            dialogue,
            awaits: Awaits::Octets,
            untagged: Vec::new(),
            framer: Framer::new(limit),
            wire: BytesMut::new(),
            chunk,
            said: Vec::new(),
        };
        driver.send(&greeting);
        Some(driver)
    }

    /// Takes an input's line in.
    fn take(&mut self, line: &str) -> Result<(), String> {
        let (mark, name, rest) = parts(line);
        match (mark, name, self.awaits, &mut self.dialogue) {
            // What a client sends before the verdict waits for it.
            ("C:", _, Awaits::Octets | Awaits::Verdict, Dialogue::Client(_))
            | ("S:", _, Awaits::Octets, Dialogue::Upstream(_)) => {
                self.wire.extend_from_slice(&unescape(line.get(3..).unwrap_or_default(), "\r\n")?);
            }
            ("=", "goodbye", Awaits::Octets, Dialogue::Client(client)) => {
                let words = client.goodbye(named(&GOODBYES, rest)?);
                self.close(&words);
            }
            ("=", "untagged", Awaits::Verdict, _) => self.untagged.push(unescape(rest, "")?.into()),
            ("=", "accepted", Awaits::Verdict, Dialogue::Client(client)) => {
                let text = rest.strip_prefix(success(self.protocol)).ok_or("accepted without the status")?;
                let text = unescape(text.trim_start(), "")?.into();
                let reply = client.admit(Accepted { text, untagged: mem::take(&mut self.untagged) });
                self.send(&reply);
                self.relay();
            }
            ("=", "refused", Awaits::Verdict, Dialogue::Client(client)) => {
                let reply = client.refuse(named(&REFUSALS, rest)?);
                self.send(&reply);
                self.awaits = Awaits::Octets;
            }
            ("=", "secured", Awaits::Tls, dialogue) => {
                self.awaits = Awaits::Octets;
                let mut actions = Vec::new();
                match dialogue {
                    Dialogue::Client(client) => client.secured(),
                    Dialogue::Upstream(upstream) => upstream.secured(&mut actions),
                }
                return actions.into_iter().try_for_each(|action| self.upstream_action(action));
            }
            _ => return Err(format!("not awaited here: {line:?}")),
        }
        Ok(())
    }

    /// One unit at a time, until more must be read or somebody else has the word.
    fn listen(&mut self) -> Result<(), String> {
        while self.awaits == Awaits::Octets {
            let literal = match &self.dialogue {
                Dialogue::Client(client) => client.literal(),
                Dialogue::Upstream(_) => None,
            };
            match (self.framer.unit(literal), &mut self.dialogue) {
                (Ok(None), _) if self.wire.is_empty() => break,
                (Ok(None), _) => {
                    let read = self.wire.split_to(self.chunk.min(self.wire.len()));
                    self.framer.buffer_mut().extend_from_slice(&read);
                }
                (Ok(Some(unit)), Dialogue::Client(client)) => {
                    let mut actions = Vec::new();
                    client.hear(unit, &mut actions);
                    actions.into_iter().try_for_each(|action| self.client_action(action))?;
                }
                (Ok(Some(line)), Dialogue::Upstream(upstream)) => {
                    let mut actions = Vec::new();
                    upstream.hear(line, &mut actions);
                    actions.into_iter().try_for_each(|action| self.upstream_action(action))?;
                }
                (Err(LineTooLong { .. }), Dialogue::Client(client)) => {
                    let words = client.goodbye(Goodbye::LineTooLong);
                    self.close(&words);
                }
                (Err(LineTooLong { .. }), Dialogue::Upstream(_)) => self.end("too-long"),
            }
        }
        Ok(())
    }

    fn client_action(&mut self, action: ClientAction) -> Result<(), String> {
        match action {
            _ if self.awaits != Awaits::Octets => return Err(format!("too late for {action:?}")),
            ClientAction::Send(reply) => self.send(&reply),
            ClientAction::StartTls(reply) => {
                self.send(&reply);
                self.event("starttls");
                let discarded = self.unheard();
                if !discarded.is_empty() {
                    self.event(&format!("discarded {}", word(&discarded)));
                }
                self.awaits = Awaits::Tls;
            }
            ClientAction::Authenticate(credential) => {
                let name = |name: &Username| word(name.as_str().as_bytes());
                let (username, password) = (name(&credential.username), word(credential.password.expose()));
                let authzid = credential.authorization_id.map(|id| format!(" as {}", name(&id))).unwrap_or_default();
                self.event(&format!("authenticate {username} {password}{authzid}"));
                self.awaits = Awaits::Verdict;
            }
            ClientAction::AuthenticateByAddress(first) => {
                let first = first.strip_suffix(b"\r\n").ok_or("a command without its end")?;
                self.event(&format!("by-address {}", word(first)));
                self.awaits = Awaits::Verdict;
            }
            ClientAction::Close(reply) => self.close(&reply),
        }
        Ok(())
    }

    fn upstream_action(&mut self, action: UpstreamAction) -> Result<(), String> {
        match action {
            _ if self.awaits != Awaits::Octets => return Err(format!("too late for {action:?}")),
            UpstreamAction::Send(line) => self.send(&line),
            UpstreamAction::SendSecret(line) => {
                let line = String::from_utf8_lossy(line.expose()).replace(XOAUTH2, "<xoauth2>");
                self.send(line.as_bytes());
            }
            // However the network cuts it: what stands in one block with the reply was sent before TLS.
            UpstreamAction::StartTls => match self.unheard() {
                injected if !injected.is_empty() => self.end("injected"),
                _ => {
                    self.event("starttls");
                    self.awaits = Awaits::Tls;
                }
            },
            UpstreamAction::Accepted(Accepted { text, untagged }) => {
                untagged.iter().for_each(|line| self.event(&format!("untagged {}", escaped(line))));
                let text = format!("accepted {} {}", success(self.protocol), escaped(&text));
                self.event(text.trim_end());
                self.relay();
            }
            UpstreamAction::Refused(rejection) => {
                self.end(&format!("refused {:?} {}", rejection.why, word(rejection.said.as_bytes())));
            }
        }
        Ok(())
    }

    fn send(&mut self, octets: &[u8]) {
        for line in octets.split_inclusive(|&octet| octet == b'\n') {
            let (text, open) = line.strip_suffix(b"\r\n").map_or((line, "\\c"), |text| (text, ""));
            self.said.push(format!("P: {}{open}", escaped(text)).trim_end().to_owned());
        }
    }

    fn event(&mut self, event: &str) {
        self.said.push(format!("= {event}"));
    }

    fn end(&mut self, event: &str) {
        self.event(event);
        self.awaits = Awaits::Nothing;
    }

    fn close(&mut self, reply: &[u8]) {
        self.send(reply);
        self.end("close");
    }

    fn relay(&mut self) {
        match self.unheard() {
            nothing if nothing.is_empty() => self.end("relay"),
            unheard => self.end(&format!("relay {}", word(&unheard))),
        }
    }

    /// Takes what was read or is to be read, and was not heard.
    fn unheard(&mut self) -> Vec<u8> {
        let read = self.framer.buffer_mut().split();
        self.framer.discard();
        [read, self.wire.split()].concat()
    }
}

/// The success status that stands before the text in `= accepted`.
fn success(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "OK",
        Protocol::Pop3 => "+OK",
        Protocol::Smtp => "235",
    }
}

const REFUSALS: [Refusal; 8] = [
    Refusal::Credentials,
    Refusal::Unauthenticated,
    Refusal::Authorization,
    Refusal::Application,
    Refusal::TokenUnavailable,
    Refusal::UpstreamUnavailable,
    Refusal::MailboxInUse,
    Refusal::Mailbox,
];

const GOODBYES: [Goodbye; 3] = [Goodbye::LineTooLong, Goodbye::TimedOut, Goodbye::ShuttingDown];

fn named<T: Copy + Debug>(all: &[T], name: &str) -> Result<T, String> {
    all.iter().copied().find(|known| format!("{known:?}") == name).ok_or_else(|| format!("none of {all:?}: {name:?}"))
}

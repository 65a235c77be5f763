//! IMAP4rev1 as Exchange Online speaks it (RFC 3501 with 2177, 2342, 2971, 3348, 3691, 4315, 4959, 6851, 7888).

mod fetch;
mod search;
mod session;
pub(crate) mod syntax;

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::exchange::{ERROR_CHALLENGE, ExchangeFault, FrontEnd, HOST, Refusal, ServerTls, Verdict};
use crate::mailbox::Mailbox;
use crate::pop3::VERBOSE;
use crate::random;
use crate::token::Protocol;
use crate::wire::{Input, Wire};
use syntax::Parser;

/// Talks to one client until it leaves or is shown out.
pub(crate) async fn serve(wire: &mut Wire) -> io::Result<()> {
    if !greet(wire).await? {
        return Ok(());
    }
    match not_authenticated(wire).await? {
        Entry::Open(mailbox) => session::serve(wire, mailbox).await,
        Entry::NotConnected => not_connected(wire).await,
        Entry::Closed => Ok(()),
    }
}

/// How the state before the login ends.
enum Entry {
    Open(Arc<Mailbox>),
    /// The older front end says OK first.
    NotConnected,
    Closed,
}

/// False if that was all.
async fn greet(wire: &mut Wire) -> io::Result<bool> {
    let mut greeting = match wire.service().front_end {
        FrontEnd::Classic => format!("* OK The Microsoft Exchange IMAP4 service is ready. [{HOST}]"),
        FrontEnd::TcpProxy => format!(
            "* OK Microsoft Exchange IMAP4 service ready. {} (tcpproxy/15.21.0406.000 BACKENDAUTHENTICATE) [{HOST}]",
            random::guid()
        ),
    };
    match wire.service().fault() {
        Some(ExchangeFault::ByeAtGreeting) => {
            wire.put(BYE);
            return Ok(false);
        }
        Some(ExchangeFault::SilentGreeting) => {
            wire.ignore().await?;
            return Ok(false);
        }
        Some(ExchangeFault::EndlessGreeting) => loop {
            greeting.push_str(&"x".repeat(4096));
            wire.put(&greeting);
            wire.flush().await?;
            greeting.clear();
        },
        Some(ExchangeFault::GreetingPadding(count)) => greeting.push_str(&"x".repeat(count)),
        Some(ExchangeFault::PreauthGreeting) => greeting.replace_range(2..4, "PREAUTH"),
        Some(ExchangeFault::EarlyContinuation) => greeting.push_str("\r\n+ "),
        Some(ExchangeFault::CloseAfterGreeting) => {
            wire.put(greeting + "\r\n");
            return Ok(false);
        }
        _ => {}
    }
    wire.put(greeting + "\r\n");
    Ok(true)
}

/// RFC 3501 3.1.
async fn not_authenticated(wire: &mut Wire) -> io::Result<Entry> {
    let mut refused = Refused::default();
    loop {
        let command = match read_command(wire).await? {
            Framed::Command(command) => command,
            Framed::Malformed if refused.answer(wire, "*", "BAD Command Error. 12") => continue,
            Framed::TooLong => {
                wire.put("* BAD Command Error. 12\r\n");
                return Ok(Entry::Closed);
            }
            Framed::Malformed | Framed::End => return Ok(Entry::Closed),
        };
        let (tag, name, arguments) = split(&command);
        let stripped = wire.service().has_fault(&ExchangeFault::StripStartTls);
        let open = wire.is_tls() || stripped;
        let refusal = match name.as_str() {
            "CAPABILITY" => {
                let list = offered(wire, open);
                wire.put(format!("* CAPABILITY {list}\r\n{tag} OK CAPABILITY completed.\r\n"));
                None
            }
            "NOOP" => {
                wire.put(format!("{tag} OK NOOP completed.\r\n"));
                None
            }
            "ID" => {
                wire.put(format!("{ID}{tag} OK ID completed.\r\n"));
                None
            }
            "LOGOUT" => {
                log_out(wire, &tag);
                return Ok(Entry::Closed);
            }
            "STARTTLS" if wire.service().tls == ServerTls::StartTls && !wire.is_tls() && !stripped => {
                start_tls(wire, &tag).await?;
                None
            }
            "LOGIN" if open => login(wire, &tag, arguments),
            "AUTHENTICATE" if open => match authenticate(wire, &tag, arguments).await? {
                Outcome::Enter(entry) => return Ok(entry),
                Outcome::Refused => None,
                Outcome::Malformed => Some("BAD Command Error. 12"),
            },
            name if session::COMMANDS.contains(&name) || matches!(name, "LOGIN" | "AUTHENTICATE") => {
                Some("BAD Command received in Invalid state.")
            }
            _ => Some("BAD Command Error. 12"),
        };
        if let Some(text) = refusal
            && !refused.answer(wire, &tag, text)
        {
            return Ok(Entry::Closed);
        }
    }
}

/// Counts the commands that were answered BAD.
#[derive(Default)]
struct Refused(u8);

impl Refused {
    /// The third is answered with BYE instead; then this is false.
    fn answer(&mut self, wire: &mut Wire, tag: &str, text: &str) -> bool {
        self.0 += 1;
        if self.0 == 3 {
            wire.put(BYE);
            return false;
        }
        wire.put(format!("{tag} {text}\r\n"));
        true
    }
}

/// What stands in CAPABILITY before the login. Other servers, which wait for STARTTLS, offer none until then.
fn offered(wire: &Wire, open: bool) -> &'static str {
    match wire.service().front_end {
        _ if !open => "IMAP4 IMAP4rev1 STARTTLS LOGINDISABLED ID LITERAL+",
        FrontEnd::Classic => {
            "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+"
        }
        FrontEnd::TcpProxy => {
            "IMAP4 IMAP4rev1 AUTH=XOAUTH2 LOGINDISABLED SASL-IR UIDPLUS MOVE ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+"
        }
    }
}

/// RFC 3501 6.2.1.
async fn start_tls(wire: &mut Wire, tag: &str) -> io::Result<()> {
    if wire.service().has_fault(&ExchangeFault::RefuseStartTls) {
        wire.put(format!("{tag} NO TLS is not available.\r\n"));
        return Ok(());
    }
    wire.put(format!("{tag} OK Begin TLS negotiation now.\r\n"));
    let injected = wire.service().with_fault(|fault| match fault {
        Some(ExchangeFault::InjectBehindStartTls(octets)) => octets.clone(),
        _ => Vec::new(),
    });
    wire.put(injected);
    wire.start_tls().await
}

/// Basic authentication is refused by both generations. Returns what is to be said of a malformed command.
fn login(wire: &mut Wire, tag: &str, arguments: &[u8]) -> Option<&'static str> {
    let mut parser = Parser::new(arguments);
    let credentials = parser.astring().is_some() && parser.space() && parser.astring().is_some() && parser.is_done();
    if !credentials {
        return Some("BAD Command Error. 12");
    }
    wire.put(match wire.service().front_end {
        FrontEnd::Classic => format!("{tag} NO LOGIN failed.\r\n"),
        FrontEnd::TcpProxy => format!("{tag} NO Basic authentication is disabled.\r\n"),
    });
    None
}

enum Outcome {
    Enter(Entry),
    Refused,
    Malformed,
}

/// RFC 3501 6.2.2 with the initial response of RFC 4959.
async fn authenticate(wire: &mut Wire, tag: &str, arguments: &[u8]) -> io::Result<Outcome> {
    let mut words = arguments.split(|octet| *octet == b' ').filter(|word| !word.is_empty());
    let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
    let initial = words.next().map(Bytes::copy_from_slice);
    if words.next().is_some() {
        return Ok(Outcome::Malformed);
    }
    match (mechanism.as_slice(), wire.service().front_end) {
        (b"XOAUTH2", _) | (b"PLAIN", FrontEnd::Classic) => {}
        (b"PLAIN", FrontEnd::TcpProxy) => {
            wire.put(format!("{tag} NO Basic authentication is disabled.\r\n"));
            return Ok(Outcome::Refused);
        }
        _ => return Ok(Outcome::Malformed),
    }
    let response = match initial {
        Some(initial) => initial,
        None => {
            wire.put(wire.service().continuation());
            match wire.line().await? {
                Input::Line(line) if line == "*" => return Ok(Outcome::Malformed),
                Input::Line(line) => line,
                Input::Malformed => return Ok(Outcome::Malformed),
                Input::TooLong | Input::End => return Ok(Outcome::Enter(Entry::Closed)),
            }
        }
    };
    if mechanism == b"PLAIN" {
        wire.put(format!("{tag} {FAILED}\r\n"));
        return Ok(Outcome::Refused);
    }
    match wire.service().fault() {
        Some(ExchangeFault::CloseDuringAuth) => return Ok(Outcome::Enter(Entry::Closed)),
        Some(ExchangeFault::SilentAuth) => {
            wire.ignore().await?;
            return Ok(Outcome::Enter(Entry::Closed));
        }
        Some(ExchangeFault::ErrorChallenge) => {
            wire.put(format!("+ {ERROR_CHALLENGE}\r\n"));
            if wire.line().await? == Input::End {
                return Ok(Outcome::Enter(Entry::Closed));
            }
        }
        _ => {}
    }
    let service = wire.service().clone();
    let verdict = service.judge(Protocol::Imap, &response).await;
    Ok(answer(wire, tag, verdict))
}

fn answer(wire: &mut Wire, tag: &str, verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Open(login) => {
            wire.put(format!("{tag} OK AUTHENTICATE completed.\r\n"));
            wire.mark_login();
            let service = wire.service().clone();
            service.with_fault(|fault| {
                if let Some(ExchangeFault::BehindLogin(octets)) = fault {
                    wire.put(octets);
                }
            });
            return Outcome::Enter(Entry::Open(login.mailbox));
        }
        Verdict::NotConnected if wire.service().front_end == FrontEnd::Classic => {
            wire.put(format!("{tag} OK AUTHENTICATE completed.\r\n"));
            return Outcome::Enter(Entry::NotConnected);
        }
        Verdict::NotConnected => wire.put(format!("{tag} NO User is authenticated but not connected.\r\n")),
        Verdict::Refused(Refusal::Failed | Refusal::SmtpDisabled(_)) => wire.put(format!("{tag} {FAILED}\r\n")),
        Verdict::Refused(Refusal::FailedVerbose) => wire.put(format!("{tag} {FAILED} {VERBOSE}\r\n")),
        Verdict::Refused(Refusal::Unavailable) => wire.put(format!("{tag} NO Server Unavailable. 15\r\n")),
        Verdict::Refused(Refusal::Throttled { backoff, bye }) => {
            let backoff = backoff.as_millis();
            wire.put(format!("{tag} BAD Request is throttled. Suggested Backoff Time: {backoff} milliseconds\r\n"));
            if bye {
                wire.put(BYE);
                return Outcome::Enter(Entry::Closed);
            }
        }
    }
    Outcome::Refused
}

/// The older front end after "OK": every command that needs the mailbox is refused.
async fn not_connected(wire: &mut Wire) -> io::Result<()> {
    let mut refused = Refused::default();
    loop {
        let (tag, name) = match read_command(wire).await? {
            Framed::Command(command) => {
                let (tag, name, _) = split(&command);
                (tag, name)
            }
            Framed::Malformed => ("*".to_owned(), String::new()),
            Framed::TooLong | Framed::End => return Ok(()),
        };
        match name.as_str() {
            "LOGOUT" => {
                log_out(wire, &tag);
                return Ok(());
            }
            "CAPABILITY" => {
                let list = session::capabilities(wire.service().front_end);
                wire.put(format!("* CAPABILITY {list}\r\n{tag} OK CAPABILITY completed.\r\n"));
            }
            _ if refused.answer(wire, &tag, "BAD User is authenticated but not connected.") => {}
            _ => return Ok(()),
        }
    }
}

/// A command as it came, literals in place (RFC 3501 2.2.1, 4.3), without its last CRLF.
enum Framed {
    Command(Bytes),
    Malformed,
    /// Nothing sensible can follow.
    TooLong,
    End,
}

async fn read_command(wire: &mut Wire) -> io::Result<Framed> {
    let longest = if wire.is_logged_in() { LONGEST_MESSAGE } else { LONGEST_CREDENTIAL };
    let mut before = Vec::new();
    loop {
        let line = match wire.line().await? {
            Input::Line(line) => line,
            Input::Malformed => return Ok(Framed::Malformed),
            Input::TooLong => return Ok(Framed::TooLong),
            Input::End => return Ok(Framed::End),
        };
        let Some(literal) = syntax::Literal::at_end_of(&line) else {
            if before.is_empty() {
                return Ok(Framed::Command(line));
            }
            before.extend_from_slice(&line);
            return Ok(Framed::Command(before.into()));
        };
        if literal.octets > longest || before.len() > longest {
            return Ok(Framed::TooLong);
        }
        if literal.synchronizing {
            wire.put("+ Ready for additional command text.\r\n");
        }
        before.extend_from_slice(&line);
        before.extend_from_slice(b"\r\n");
        before.extend_from_slice(&wire.octets(literal.octets).await?);
    }
}

/// Tag, name in upper case, and the arguments behind the space. A line without a tag is answered under `*`.
fn split(command: &[u8]) -> (String, String, &[u8]) {
    let mut words = command.splitn(3, |octet| *octet == b' ');
    let tag = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
    let name = String::from_utf8_lossy(words.next().unwrap_or_default()).to_ascii_uppercase();
    let tag = if tag.is_empty() { "*".to_owned() } else { tag };
    (tag, name, words.next().unwrap_or_default())
}

fn log_out(wire: &mut Wire, tag: &str) {
    wire.put(format!("* BYE Microsoft Exchange Server IMAP4 server signing off.\r\n{tag} OK LOGOUT completed.\r\n"));
}

/// Throttled, or three refused commands.
const BYE: &str = "* BYE Connection closed. 14\r\n";

const FAILED: &str = "NO AUTHENTICATE failed.";

const ID: &str = "* ID (\"name\" \"Microsoft.Exchange.Imap4.Imap4Server\" \"version\" \"15.21\")\r\n";

/// Before the login a literal is a user name or a password.
const LONGEST_CREDENTIAL: usize = 64 << 10;

/// Exchange Online takes messages of 150 MB at most.
const LONGEST_MESSAGE: usize = 150 << 20;

//! POP3 as Exchange Online speaks it (RFC 1939, 2449, 2595, 5034).

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::exchange::{ERROR_CHALLENGE, ExchangeFault, FrontEnd, HOST, Refusal, ServerTls, Verdict};
use crate::mailbox::Mailbox;
use crate::token::Protocol;
use crate::wire::{Input, Wire};

/// Talks to one client until it leaves or is shown out.
pub(crate) async fn serve(wire: &mut Wire) -> io::Result<()> {
    if !greet(wire).await? {
        return Ok(());
    }
    let Some(mailbox) = authorization(wire).await? else { return Ok(()) };
    Transaction::open(mailbox).run(wire).await
}

/// False if that was all.
async fn greet(wire: &mut Wire) -> io::Result<bool> {
    let mut greeting = match wire.service().front_end {
        FrontEnd::Classic => format!("+OK The Microsoft Exchange POP3 service is ready. [{HOST}]"),
        FrontEnd::TcpProxy => {
            format!("+OK Microsoft Exchange POP3 server ready (tcpproxy/15.20.9137.005). [{HOST}]")
        }
    };
    match wire.service().fault() {
        Some(ExchangeFault::ByeAtGreeting) => {
            wire.put("-ERR Server Unavailable. 21\r\n");
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

/// RFC 1939 4: until somebody is logged in. `None` if the connection is to end.
async fn authorization(wire: &mut Wire) -> io::Result<Option<Arc<Mailbox>>> {
    loop {
        let line = match wire.line().await? {
            Input::Line(line) => line,
            Input::Malformed | Input::TooLong => {
                wire.put(PROTOCOL_ERROR);
                return Ok(None);
            }
            Input::End => return Ok(None),
        };
        let (command, argument) = split(&line);
        let stripped = wire.service().has_fault(&ExchangeFault::StripStartTls);
        let open = wire.is_tls() || stripped;
        match command.as_str() {
            "CAPA" => wire.put(capabilities(wire, open)),
            "NOOP" => wire.put("+OK\r\n"),
            "QUIT" => {
                wire.put(SIGNING_OFF);
                return Ok(None);
            }
            "STLS" if !wire.is_tls() && !stripped => start_tls(wire).await?,
            "AUTH" if open && !argument.is_empty() => match authenticate(wire, argument).await? {
                Outcome::Again => {}
                Outcome::End => return Ok(None),
                Outcome::Open(mailbox) => return Ok(Some(mailbox)),
            },
            "USER" | "PASS" if open => wire.put(match (wire.service().front_end, command.as_str()) {
                (FrontEnd::TcpProxy, _) => "-ERR Basic authentication is disabled\r\n",
                (FrontEnd::Classic, "USER") => "+OK\r\n",
                (FrontEnd::Classic, _) => "-ERR Logon failure: unknown user name or bad password.\r\n",
            }),
            _ => wire.put(INVALID_STATE),
        }
    }
}

/// RFC 2449 5. `open` tells whether logins are offered.
fn capabilities(wire: &Wire, open: bool) -> String {
    let mut list = "+OK\r\nTOP\r\nUIDL\r\n".to_owned();
    if open {
        list.push_str(match wire.service().front_end {
            FrontEnd::Classic => "SASL PLAIN XOAUTH2\r\n",
            FrontEnd::TcpProxy => "SASL XOAUTH2\r\n",
        });
        list.push_str("USER\r\n");
    } else {
        list.push_str("STLS\r\n");
    }
    list.push_str(".\r\n");
    list
}

/// RFC 2595 4.
async fn start_tls(wire: &mut Wire) -> io::Result<()> {
    if wire.service().tls == ServerTls::Implicit || wire.service().has_fault(&ExchangeFault::RefuseStartTls) {
        wire.put(INVALID_STATE);
        return Ok(());
    }
    wire.put("+OK Begin TLS negotiation.\r\n");
    let injected = wire.service().with_fault(|fault| match fault {
        Some(ExchangeFault::InjectBehindStartTls(octets)) => octets.clone(),
        _ => Vec::new(),
    });
    wire.put(injected);
    wire.start_tls().await
}

enum Outcome {
    Open(Arc<Mailbox>),
    Again,
    End,
}

/// RFC 5034 4, of which Exchange takes the form with two lines only.
async fn authenticate(wire: &mut Wire, argument: &[u8]) -> io::Result<Outcome> {
    let mechanism = argument.to_ascii_uppercase();
    if mechanism.contains(&b' ') {
        wire.put(PROTOCOL_ERROR);
        return Ok(Outcome::End);
    }
    match (mechanism.as_slice(), wire.service().front_end) {
        (b"XOAUTH2", _) => {}
        (b"PLAIN", FrontEnd::Classic) => {
            wire.put(wire.service().continuation());
            if wire.line().await? == Input::End {
                return Ok(Outcome::End);
            }
            wire.put(FAILED);
            return Ok(Outcome::Again);
        }
        (b"PLAIN", FrontEnd::TcpProxy) => {
            wire.put("-ERR Basic authentication is disabled\r\n");
            return Ok(Outcome::Again);
        }
        _ => {
            wire.put(INVALID_STATE);
            return Ok(Outcome::Again);
        }
    }
    wire.put(wire.service().continuation());
    let response = match wire.line().await? {
        Input::Line(line) => line,
        Input::Malformed | Input::TooLong => {
            wire.put(PROTOCOL_ERROR);
            return Ok(Outcome::End);
        }
        Input::End => return Ok(Outcome::End),
    };
    match wire.service().fault() {
        Some(ExchangeFault::CloseDuringAuth) => return Ok(Outcome::End),
        Some(ExchangeFault::SilentAuth) => {
            wire.ignore().await?;
            return Ok(Outcome::End);
        }
        Some(ExchangeFault::ErrorChallenge) => {
            wire.put(format!("+ {ERROR_CHALLENGE}\r\n"));
            if wire.line().await? == Input::End {
                return Ok(Outcome::End);
            }
        }
        _ => {}
    }
    let service = wire.service().clone();
    match service.judge(Protocol::Pop3, &response).await {
        Verdict::Open(login) => {
            wire.put("+OK User successfully authenticated.\r\n");
            wire.mark_login();
            service.with_fault(|fault| {
                if let Some(ExchangeFault::BehindLogin(octets)) = fault {
                    wire.put(octets);
                }
            });
            Ok(Outcome::Open(login.mailbox))
        }
        Verdict::NotConnected => {
            wire.put("-ERR User is authenticated but not connected.\r\n");
            Ok(Outcome::Again)
        }
        Verdict::Refused(Refusal::Failed | Refusal::SmtpDisabled(_)) => {
            wire.put(FAILED);
            Ok(Outcome::Again)
        }
        Verdict::Refused(Refusal::FailedVerbose) => {
            wire.put(format!("{} {VERBOSE}\r\n", FAILED.trim_end()));
            Ok(Outcome::Again)
        }
        Verdict::Refused(Refusal::Unavailable | Refusal::Throttled { bye: false, .. }) => {
            wire.put("-ERR Server Unavailable. 21\r\n");
            Ok(Outcome::Again)
        }
        Verdict::Refused(Refusal::Throttled { bye: true, .. }) => {
            wire.put("-ERR Server Unavailable. 21\r\n");
            Ok(Outcome::End)
        }
    }
}

/// RFC 1939 5: the inbox as it was at the login.
struct Transaction {
    mailbox: Arc<Mailbox>,
    validity: u32,
    drops: Vec<Drop>,
}

struct Drop {
    uid: u32,
    data: Bytes,
    deleted: bool,
}

impl Transaction {
    fn open(mailbox: Arc<Mailbox>) -> Self {
        let (validity, drops) = mailbox.read(|folders| match folders.get("INBOX") {
            Some(inbox) => {
                let drop = |(uid, message): (&u32, &crate::mailbox::Message)| Drop {
                    uid: *uid,
                    data: message.data.clone(),
                    deleted: false,
                };
                (inbox.uid_validity, inbox.messages.iter().map(drop).collect())
            }
            None => (0, Vec::new()),
        });
        Self { mailbox, validity, drops }
    }

    async fn run(mut self, wire: &mut Wire) -> io::Result<()> {
        loop {
            let idle = wire.service().with_fault(|fault| match fault {
                Some(ExchangeFault::IdleTimeout(time)) => Some(*time),
                _ => None,
            });
            wire.flush().await?;
            let input = match idle {
                Some(time) => match tokio::time::timeout(time, wire.line()).await {
                    Ok(input) => input?,
                    Err(_) => return Ok(()),
                },
                None => wire.line().await?,
            };
            let line = match input {
                Input::Line(line) => line,
                Input::Malformed | Input::TooLong => {
                    wire.put(PROTOCOL_ERROR);
                    return Ok(());
                }
                // Without QUIT nothing is deleted.
                Input::End => return Ok(()),
            };
            let (command, argument) = split(&line);
            if command == "QUIT" {
                self.update();
                wire.put(SIGNING_OFF);
                return Ok(());
            }
            self.answer(wire, &command, argument).await?;
        }
    }

    async fn answer(&mut self, wire: &mut Wire, command: &str, argument: &[u8]) -> io::Result<()> {
        let numbers = numbers(argument);
        match (command, numbers.as_deref()) {
            ("NOOP", Some([])) => wire.put("+OK\r\n"),
            ("CAPA", Some([])) => wire.put(capabilities(wire, true)),
            ("STAT", Some([])) => {
                let (count, octets) = self.totals();
                wire.put(format!("+OK {count} {octets}\r\n"));
            }
            ("LIST", Some([])) => {
                let (count, octets) = self.totals();
                wire.put(format!("+OK {count} {octets}\r\n"));
                self.list(wire, |drop| drop.data.len().to_string());
            }
            ("UIDL", Some([])) => {
                wire.put("+OK\r\n");
                let validity = self.validity;
                self.list(wire, |drop| format!("{validity}.{}", drop.uid));
            }
            ("RSET", Some([])) => {
                for drop in &mut self.drops {
                    drop.deleted = false;
                }
                wire.put("+OK\r\n");
            }
            ("LIST" | "UIDL" | "RETR" | "TOP" | "DELE", Some(&[number, ref rest @ ..])) => {
                let validity = self.validity;
                let Some(drop) = self.find(number) else {
                    wire.put("-ERR The specified message is out of range.\r\n");
                    return Ok(());
                };
                match (command, rest) {
                    ("LIST", []) => wire.put(format!("+OK {number} {}\r\n", drop.data.len())),
                    ("UIDL", []) => wire.put(format!("+OK {number} {validity}.{}\r\n", drop.uid)),
                    ("DELE", []) => {
                        drop.deleted = true;
                        wire.put("+OK\r\n");
                    }
                    ("RETR", []) => {
                        wire.put("+OK\r\n");
                        let stuffed = stuff(&drop.data);
                        wire.put_long(&stuffed).await?;
                    }
                    ("TOP", &[lines]) => {
                        wire.put("+OK\r\n");
                        let stuffed = stuff(top(&drop.data, lines));
                        wire.put_long(&stuffed).await?;
                    }
                    _ => wire.put(INVALID_STATE),
                }
            }
            _ => wire.put(INVALID_STATE),
        }
        Ok(())
    }

    fn totals(&self) -> (usize, usize) {
        let left = self.drops.iter().filter(|drop| !drop.deleted);
        left.fold((0, 0), |(count, octets), drop| (count + 1, octets + drop.data.len()))
    }

    fn list(&self, wire: &mut Wire, what: impl Fn(&Drop) -> String) {
        for (number, drop) in (1..).zip(&self.drops).filter(|(_, drop)| !drop.deleted) {
            let number: usize = number;
            wire.put(format!("{number} {}\r\n", what(drop)));
        }
        wire.put(".\r\n");
    }

    fn find(&mut self, number: usize) -> Option<&mut Drop> {
        self.drops.get_mut(number.checked_sub(1)?).filter(|drop| !drop.deleted)
    }

    /// RFC 1939 6, the UPDATE state.
    fn update(&self) {
        if self.drops.iter().all(|drop| !drop.deleted) {
            return;
        }
        self.mailbox.change(|folders| {
            if let Some(inbox) = folders.get_mut("INBOX") {
                for drop in self.drops.iter().filter(|drop| drop.deleted) {
                    inbox.messages.remove(&drop.uid);
                }
            }
        });
    }
}

/// The keyword in upper case, and what stands behind the space.
pub(crate) fn split(line: &[u8]) -> (String, &[u8]) {
    let end = line.iter().position(|octet| *octet == b' ').unwrap_or(line.len());
    let keyword = String::from_utf8_lossy(&line[..end]).to_ascii_uppercase();
    (keyword, line.get(end + 1..).unwrap_or_default())
}

/// `None` if there is anything but numbers.
fn numbers(argument: &[u8]) -> Option<Vec<usize>> {
    std::str::from_utf8(argument).ok()?.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
}

/// RFC 1939 3: a dot ahead of lines that start with one, and the line with the dot that ends it all.
fn stuff(data: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(data.len() + data.len() / 64 + 16);
    for line in data.split_inclusive(|octet| *octet == b'\n') {
        if line.first() == Some(&b'.') {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    if !data.is_empty() && !data.ends_with(b"\r\n") {
        stuffed.extend_from_slice(b"\r\n");
    }
    stuffed.extend_from_slice(b".\r\n");
    stuffed
}

/// The header, the blank line, and so many lines of the body.
fn top(data: &[u8], lines: usize) -> &[u8] {
    let mut end = 0;
    let mut left: Option<usize> = None;
    for line in data.split_inclusive(|octet| *octet == b'\n') {
        match &mut left {
            Some(0) => break,
            Some(left) => *left -= 1,
            None if line == b"\r\n" || line == b"\n" => left = Some(lines),
            None => {}
        }
        end += line.len();
    }
    &data[..end]
}

/// Also for what is no command at all: Exchange's word for that is not known.
const INVALID_STATE: &str = "-ERR Command is not valid in this state.\r\n";

/// As Exchange answers the one-line form of AUTH. Then it closes.
const PROTOCOL_ERROR: &str = "-ERR Protocol error. Connection is closed. 10\r\n";

const FAILED: &str = "-ERR Authentication failure: unknown user name or bad password.\r\n";

const SIGNING_OFF: &str = "+OK Microsoft Exchange Server POP3 server signing off.\r\n";

/// What the verbose refusal adds in both protocols.
pub(crate) const VERBOSE: &str =
    "[Error=\"AuthFailed:LogonDenied-OAuth\" Proxy=FR3P281MB0157.DEUP281.PROD.OUTLOOK.COM:1993:SSL]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_stuffed_and_the_end_is_marked() {
        assert_eq!(stuff(b".\r\na.b\r\n..\r\n"), b"..\r\na.b\r\n...\r\n.\r\n");
        assert_eq!(stuff(b"no line end"), b"no line end\r\n.\r\n");
        assert_eq!(stuff(b""), b".\r\n");
    }

    #[test]
    fn top_counts_lines_of_the_body() {
        let message = b"A: b\r\n\r\none\r\ntwo\r\n";
        assert_eq!(top(message, 0), b"A: b\r\n\r\n");
        assert_eq!(top(message, 1), b"A: b\r\n\r\none\r\n");
        assert_eq!(top(message, 9), message);
    }

    #[test]
    fn commands_are_split_once() {
        assert_eq!(split(b"pass with  two spaces "), ("PASS".to_owned(), b"with  two spaces ".as_slice()));
        assert_eq!(split(b"stat"), ("STAT".to_owned(), b"".as_slice()));
        assert_eq!(numbers(b"1 2"), Some(vec![1, 2]));
        assert_eq!(numbers(b"1 x"), None);
    }
}

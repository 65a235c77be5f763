//! How does a login go in POP3? RFC 1939; CAPA and response codes (RFC 2449, RFC 3206), STLS (RFC 2595), AUTH (RFC 5034).

use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use crate::printable::printable;
use crate::secret::Secret;

use super::sasl::{self, MECHANISMS, Mechanism, SaslError};
use super::{
    Accepted, ClientAction, ClientDialogue, ClientTls, Credential, Goodbye, MAX_CHALLENGES, Refusal, Rejection,
    UpstreamAction, UpstreamDialogue, UpstreamTls, Username, contains, exchange_will_recover, says, split_command,
};

/// What Exchange Online has after login.
pub(super) const EXCHANGE_CAPABILITIES: &[&str] = &["TOP", "UIDL"];

/// The proxy as a POP3 server in the AUTHORIZATION state.
#[derive(Debug)]
pub struct Client {
    tls: ClientTls,
    capabilities: Arc<[String]>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A command; PASS only where USER has named somebody.
    ExpectCommand { username: Option<Username> },
    /// The response to a SASL challenge.
    ExpectSaslResponse { exchange: sasl::Exchange },
    /// The driver's word on the credential.
    ExpectVerdict,
    /// The driver's word that TLS is up.
    ExpectTls,
    /// Nothing: the connection is closed or the relay's.
    Finished,
}

impl Client {
    /// A client has connected; `capabilities` are the upstream's after login.
    pub fn new(tls: ClientTls, capabilities: Arc<[String]>) -> Self {
        Self { tls, capabilities, state: State::between_commands() }
    }

    fn command(&self, username: Option<Username>, line: &[u8], out: &mut Vec<ClientAction>) -> State {
        let (keyword, argument) = split_command(line);
        match keyword.to_ascii_uppercase().as_slice() {
            b"USER" => return self.user(argument, out),
            b"PASS" => return self.pass(username, argument, out),
            b"AUTH" => return self.auth(username, argument, out),
            b"STLS" if self.tls == ClientTls::Required => {
                out.push(ClientAction::StartTls(Bytes::from_static(b"+OK Begin TLS negotiation.\r\n")));
                return State::ExpectTls;
            }
            b"STLS" => out.push(err("STLS is not to be had here.")),
            b"CAPA" => out.push(self.capa()),
            b"NOOP" => out.push(ok("NOOP completed.")),
            b"QUIT" => {
                out.push(ClientAction::Close(Bytes::from_static(b"+OK xoauth2-proxy is signing off.\r\n")));
                return State::Finished;
            }
            // The greeting holds no timestamp, so there is nothing that a digest could be made of.
            b"APOP" => out.push(err("APOP is not to be had here: use USER and PASS, or AUTH.")),
            _ => out.push(err("Command unknown, or not valid before login.")),
        }
        State::ExpectCommand { username }
    }

    fn user(&self, argument: &[u8], out: &mut Vec<ClientAction>) -> State {
        if self.tls == ClientTls::Required {
            out.push(err(TLS_FIRST));
            return State::between_commands();
        }
        match Username::from_wire(argument.trim_ascii()) {
            Ok(username) => {
                out.push(ok("Send the password."));
                State::ExpectCommand { username: Some(username) }
            }
            Err(_) => {
                out.push(err("USER takes a user name."));
                State::between_commands()
            }
        }
    }

    /// `PASS string`: "a server may treat spaces in the argument as part of the password" (RFC 1939, 7), so all behind
    /// the first space counts, to the last one.
    fn pass(&self, username: Option<Username>, argument: &[u8], out: &mut Vec<ClientAction>) -> State {
        if self.tls == ClientTls::Required {
            out.push(err(TLS_FIRST));
            return State::between_commands();
        }
        let Some(username) = username else {
            out.push(err("USER comes before PASS."));
            return State::between_commands();
        };
        let password = Secret::new(argument.to_vec());
        out.push(ClientAction::Authenticate(Credential { username, password, authorization_id: None }));
        State::ExpectVerdict
    }

    /// `AUTH [mechanism [initial-response]]`. Without a mechanism it lists them, as in RFC 1734's days.
    fn auth(&self, username: Option<Username>, argument: &[u8], out: &mut Vec<ClientAction>) -> State {
        let mut words = argument.split(|&octet| octet == b' ').filter(|word| !word.is_empty());
        let (name, initial_response, more) = (words.next(), words.next(), words.next());
        let Some(name) = name else {
            let names: String = self.mechanisms().iter().map(|known| format!("{}\r\n", known.name())).collect();
            out.push(ClientAction::Send(format!("+OK Mechanisms follow.\r\n{names}.\r\n").into()));
            return State::ExpectCommand { username };
        };
        if self.tls == ClientTls::Required {
            out.push(err(TLS_FIRST));
            return State::between_commands();
        }
        match Mechanism::parse(name) {
            Some(mechanism) if more.is_none() => Self::sasl(sasl::Exchange::begin(mechanism, initial_response), out),
            Some(_) => {
                out.push(err("AUTH takes a mechanism and at most an initial response."));
                State::between_commands()
            }
            None => {
                out.push(err("There is AUTH PLAIN and LOGIN, no other mechanism."));
                State::ExpectCommand { username }
            }
        }
    }

    fn sasl(step: Result<sasl::Step, SaslError>, out: &mut Vec<ClientAction>) -> State {
        match step {
            Ok(sasl::Step::Challenge(challenge, exchange)) => {
                out.push(ClientAction::Send(format!("+ {challenge}\r\n").into()));
                State::ExpectSaslResponse { exchange }
            }
            Ok(sasl::Step::Complete(credential)) => {
                out.push(ClientAction::Authenticate(credential));
                State::ExpectVerdict
            }
            Err(error) => {
                out.push(err(&error.to_string()));
                State::between_commands()
            }
        }
    }

    fn mechanisms(&self) -> &'static [Mechanism] {
        if self.tls == ClientTls::Required { &[] } else { &MECHANISMS }
    }

    fn capa(&self) -> ClientAction {
        let mut lines: Vec<String> = self.capabilities.to_vec();
        if self.tls == ClientTls::Required {
            lines.push(String::from("STLS"));
        } else {
            lines.push(String::from("USER"));
            let mechanisms: Vec<_> = self.mechanisms().iter().map(|mechanism| mechanism.name()).collect();
            lines.push(format!("SASL {}", mechanisms.join(" ")));
        }
        lines.extend(["RESP-CODES", "AUTH-RESP-CODE"].map(String::from));
        ClientAction::Send(format!("+OK Capabilities follow.\r\n{}\r\n.\r\n", lines.join("\r\n")).into())
    }
}

impl ClientDialogue for Client {
    /// Without `<`: a client would take what stands behind it for APOP's timestamp (RFC 1939, 7).
    fn greeting(&mut self) -> Bytes {
        Bytes::from_static(b"+OK xoauth2-proxy ready.\r\n")
    }

    fn hear(&mut self, unit: Bytes, out: &mut Vec<ClientAction>) {
        self.state = match mem::replace(&mut self.state, State::Finished) {
            // Whom it names is not clear, so nobody is named any more.
            State::ExpectCommand { .. } if unit.contains(&0) => {
                out.push(err("NUL is in no command."));
                State::between_commands()
            }
            State::ExpectCommand { username } => self.command(username, &unit, out),
            State::ExpectSaslResponse { exchange } => Self::sasl(exchange.respond(&unit), out),
            state @ (State::ExpectVerdict | State::ExpectTls | State::Finished) => state,
        };
    }

    fn secured(&mut self) {
        self.tls = ClientTls::Active;
        self.state = State::between_commands();
    }

    fn admit(&mut self, said: Accepted) -> Bytes {
        self.state = State::Finished;
        let text = if said.text.is_empty() { &b"Login completed."[..] } else { &said.text };
        [b"+OK ", text, b"\r\n"].concat().into()
    }

    fn refuse(&mut self, why: Refusal) -> Bytes {
        self.state = State::between_commands();
        let code = match why {
            Refusal::Credentials | Refusal::Unauthenticated | Refusal::Authorization => "AUTH",
            Refusal::Application | Refusal::Mailbox => "SYS/PERM",
            Refusal::TokenUnavailable | Refusal::UpstreamUnavailable => "SYS/TEMP",
            Refusal::MailboxInUse => "IN-USE",
        };
        format!("-ERR [{code}] {}\r\n", why.text()).into()
    }

    fn goodbye(&mut self, why: Goodbye) -> Bytes {
        self.state = State::Finished;
        match why {
            // "The server should close the TCP connection without [...] sending any response" (RFC 1939, 3): it would be
            // taken for the answer to whatever the client says next.
            Goodbye::TimedOut => Bytes::new(),
            Goodbye::ShuttingDown => format!("-ERR [SYS/TEMP] {}\r\n", why.text()).into(),
            Goodbye::LineTooLong => format!("-ERR {}\r\n", why.text()).into(),
        }
    }
}

impl State {
    fn between_commands() -> Self {
        Self::ExpectCommand { username: None }
    }
}

const TLS_FIRST: &str = "STLS comes before login here.";

fn ok(text: &str) -> ClientAction {
    ClientAction::Send(format!("+OK {text}\r\n").into())
}

fn err(text: &str) -> ClientAction {
    ClientAction::Send(format!("-ERR {text}\r\n").into())
}

/// The proxy as a POP3 client, until the upstream has taken the mailbox.
#[derive(Debug)]
pub struct Upstream {
    tls: UpstreamTls,
    login: sasl::XOAuth2,
    state: UpstreamState,
}

#[derive(Debug)]
enum UpstreamState {
    ExpectGreeting,
    ExpectStlsReply,
    ExpectTls,
    /// The continuation request that AUTH asks for.
    ExpectPrompt,
    ExpectVerdict {
        challenges: usize,
    },
    Finished,
}

impl Upstream {
    /// An upstream has been dialled.
    pub fn new(tls: UpstreamTls, login: sasl::XOAuth2) -> Self {
        Self { tls, login, state: UpstreamState::ExpectGreeting }
    }

    fn greeted(&self, line: &[u8], out: &mut Vec<UpstreamAction>) -> UpstreamState {
        match self.tls {
            _ if !says(line, b"+OK") => rejected(refusal_before_auth(line), line, out),
            UpstreamTls::StartTls => {
                out.push(UpstreamAction::Send(Bytes::from_static(b"STLS\r\n")));
                UpstreamState::ExpectStlsReply
            }
            UpstreamTls::Active => Self::authenticate(out),
        }
    }

    /// In two lines: Exchange answers an initial response with a protocol error and closes.
    fn authenticate(out: &mut Vec<UpstreamAction>) -> UpstreamState {
        out.push(UpstreamAction::Send(Bytes::from_static(b"AUTH XOAUTH2\r\n")));
        UpstreamState::ExpectPrompt
    }

    fn verdict(challenges: usize, line: &Bytes, out: &mut Vec<UpstreamAction>) -> UpstreamState {
        if says(line, b"+OK") {
            let text = line.slice_ref(line.get(4..).unwrap_or_default());
            out.push(UpstreamAction::Accepted(Accepted { text, untagged: Vec::new() }));
            return UpstreamState::Finished;
        }
        // Google and Dovecot send an error challenge and wait for an empty response.
        if line.first() == Some(&b'+') && challenges < MAX_CHALLENGES {
            out.push(UpstreamAction::Send(Bytes::from_static(b"\r\n")));
            return UpstreamState::ExpectVerdict { challenges: challenges + 1 };
        }
        rejected(refusal(line), line, out)
    }
}

impl UpstreamDialogue for Upstream {
    fn hear(&mut self, line: Bytes, out: &mut Vec<UpstreamAction>) {
        self.state = match mem::replace(&mut self.state, UpstreamState::Finished) {
            UpstreamState::ExpectGreeting => self.greeted(&line, out),
            UpstreamState::ExpectStlsReply if says(&line, b"+OK") => {
                out.push(UpstreamAction::StartTls);
                UpstreamState::ExpectTls
            }
            UpstreamState::ExpectStlsReply => rejected(refusal_before_auth(&line), &line, out),
            UpstreamState::ExpectPrompt if line.first() == Some(&b'+') && !says(&line, b"+OK") => {
                out.push(UpstreamAction::SendSecret(self.login.line(b"")));
                UpstreamState::ExpectVerdict { challenges: 0 }
            }
            // `+OK` to AUTH itself opens nobody's mailbox.
            UpstreamState::ExpectPrompt => rejected(refusal_before_auth(&line), &line, out),
            UpstreamState::ExpectVerdict { challenges } => Self::verdict(challenges, &line, out),
            state @ (UpstreamState::ExpectTls | UpstreamState::Finished) => state,
        };
    }

    fn secured(&mut self, out: &mut Vec<UpstreamAction>) {
        self.tls = UpstreamTls::Active;
        self.state = Self::authenticate(out);
    }
}

/// What `-ERR` means once the token was shown. Exchange has no response codes, other servers have those of RFC 2449 and
/// RFC 3206.
fn refusal(line: &[u8]) -> Refusal {
    if contains(line, b"[IN-USE]") {
        Refusal::MailboxInUse
    } else if [&b"[SYS/TEMP]"[..], b"[LOGIN-DELAY]"].iter().any(|code| contains(line, code))
        || exchange_will_recover(line)
        || !says(line, b"-ERR")
    {
        Refusal::UpstreamUnavailable
    } else {
        Refusal::Mailbox
    }
}

/// What anything but the expected means before the token was shown: no mailbox has been judged yet.
fn refusal_before_auth(line: &[u8]) -> Refusal {
    match refusal(line) {
        Refusal::Mailbox => Refusal::UpstreamUnavailable,
        refusal => refusal,
    }
}

fn rejected(why: Refusal, line: &[u8], out: &mut Vec<UpstreamAction>) -> UpstreamState {
    out.push(UpstreamAction::Refused(Rejection { why, said: printable(line) }));
    UpstreamState::Finished
}

#[cfg(test)]
mod tests {
    use super::{Refusal, refusal};

    #[test]
    fn temporary_and_permanent_are_told_apart() {
        for (line, expected) in [
            (&b"-ERR Authentication failure: unknown user name or bad password."[..], Refusal::Mailbox),
            (b"-ERR [AUTH] Authentication failed.", Refusal::Mailbox),
            (b"-ERR Server Unavailable. 21", Refusal::UpstreamUnavailable),
            (b"-ERR User is authenticated but not connected.", Refusal::UpstreamUnavailable),
            (b"-ERR [SYS/TEMP] later", Refusal::UpstreamUnavailable),
            (b"-ERR [IN-USE] locked", Refusal::MailboxInUse),
            (b"what?", Refusal::UpstreamUnavailable),
        ] {
            assert_eq!(refusal(line), expected, "{line:?}");
        }
    }
}

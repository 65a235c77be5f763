//! How does a login go in SMTP submission? RFC 5321 and RFC 6409; AUTH (RFC 4954), STARTTLS (RFC 3207), enhanced status
//! codes (RFC 3463), pipelining (RFC 2920).

use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use crate::printable::printable;

use super::line::MAX_LITERAL;
use super::sasl::{self, MECHANISMS, Mechanism, SaslError};
use super::{
    Accepted, ClientAction, ClientDialogue, ClientTls, Goodbye, MAX_CHALLENGES, Refusal, Rejection, UpstreamAction,
    UpstreamDialogue, UpstreamTls, contains, split_command,
};

/// What Exchange Online offers after STARTTLS. PIPELINING is true of the proxy, too: what comes behind AUTH waits.
pub(super) const EXCHANGE_CAPABILITIES: &[&str] =
    &["SIZE 157286400", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8"];

/// The proxy as a submission server, until the client has logged in.
#[derive(Debug)]
pub struct Client {
    tls: ClientTls,
    capabilities: Arc<[String]>,
    /// EHLO or HELO has been said.
    greeted: bool,
    by_address: ByAddress,
    state: State,
}

/// Whether MAIL without a login may ask for the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByAddress {
    /// It may; so often it has.
    Asked(u8),
    /// The client has shown a credential, which was refused, or has said what no mail program says: a web page can have a
    /// browser send commands of SMTP as the body of a request, behind lines of HTTP.
    Never,
}

#[derive(Debug)]
enum State {
    /// A command.
    ExpectCommand,
    /// The rest of a chunk that is not wanted, so many octets.
    ExpectChunk { octets: u64 },
    /// The response to a SASL challenge.
    ExpectSaslResponse { exchange: sasl::Exchange },
    /// The driver's word on the credential, or on the address where MAIL came without one.
    ExpectVerdict { by_address: bool },
    /// The driver's word that TLS is up.
    ExpectTls,
    /// Nothing: the connection is closed or the relay's.
    Finished,
}

impl Client {
    /// A client has connected; `capabilities` are the upstream's EHLO keywords after login.
    pub fn new(tls: ClientTls, capabilities: Arc<[String]>) -> Self {
        Self { tls, capabilities, greeted: false, by_address: ByAddress::Asked(0), state: State::ExpectCommand }
    }

    fn command(&mut self, line: &[u8], out: &mut Vec<ClientAction>) -> State {
        // "Receivers SHOULD tolerate trailing white space before the terminating <CRLF>" (RFC 5321, 4.1.1).
        let (verb, argument) = split_command(line.trim_ascii_end());
        match verb.to_ascii_uppercase().as_slice() {
            // Whatever name it is, it is taken: devices say `EHLO [scanner]`, `EHLO my printer`, or nothing.
            b"EHLO" => {
                self.greeted = true;
                out.push(self.ehlo());
            }
            b"HELO" => {
                self.greeted = true;
                out.push(reply(&format!("250 {OWN_NAME}")));
            }
            b"AUTH" => return self.auth(argument, out),
            b"STARTTLS" => return self.starttls(argument, out),
            b"MAIL" if self.tls != ClientTls::Required => return self.mail(line, out),
            b"VRFY" | b"EXPN" | b"HELP" if self.tls == ClientTls::Required => out.push(self.not_yet()),
            b"MAIL" | b"RCPT" | b"DATA" => out.push(self.not_yet()),
            b"BDAT" => return self.bdat(argument, out),
            b"NOOP" => out.push(reply("250 2.0.0 OK.")),
            b"RSET" => out.push(reply("250 2.0.0 OK.")),
            // RFC 5321, 3.5.3: verification is refused, delivery is not.
            b"VRFY" => out.push(reply("252 2.5.0 Cannot verify, but will take the message after login.")),
            b"EXPN" => out.push(reply("502 5.5.1 EXPN is not to be had here.")),
            b"HELP" => out.push(reply("214 2.0.0 Log in with AUTH PLAIN or AUTH LOGIN.")),
            b"QUIT" => {
                out.push(ClientAction::Close(Bytes::from(format!("221 2.0.0 {OWN_NAME} is signing off.\r\n"))));
                return State::Finished;
            }
            _ => {
                self.by_address = ByAddress::Never;
                out.push(reply("500 5.5.1 Command unknown."));
            }
        }
        State::ExpectCommand
    }

    /// MAIL without a login. Its answer is the upstream's, if the address is let in.
    fn mail(&mut self, line: &[u8], out: &mut Vec<ClientAction>) -> State {
        match self.by_address {
            ByAddress::Never => out.push(self.not_yet()),
            // RFC 5321, 4.1.4.
            ByAddress::Asked(_) if !self.greeted => out.push(reply("503 5.5.1 EHLO or HELO comes first.")),
            ByAddress::Asked(MOST_ASKED) => {
                out.push(ClientAction::Close(Bytes::from_static(b"421 4.7.0 Too many refusals.\r\n")));
                return State::Finished;
            }
            ByAddress::Asked(times) => {
                self.by_address = ByAddress::Asked(times + 1);
                out.push(ClientAction::AuthenticateByAddress([line, b"\r\n"].concat().into()));
                return State::ExpectVerdict { by_address: true };
            }
        }
        State::ExpectCommand
    }

    /// RFC 4954, 6; RFC 3207, 4.
    fn not_yet(&self) -> ClientAction {
        match self.tls {
            ClientTls::Required => reply("530 5.7.0 Must issue a STARTTLS command first."),
            ClientTls::Absent | ClientTls::Active => reply("530 5.7.0 Authentication required."),
        }
    }

    /// `BDAT chunk-size [LAST]`: the octets follow whatever the answer is, and are "accepted and discarded" (RFC 3030, 2).
    fn bdat(&self, argument: &[u8], out: &mut Vec<ClientAction>) -> State {
        let size = argument.split(|&octet| octet == b' ').next().unwrap_or_default();
        let digits = size.iter().all(u8::is_ascii_digit);
        match std::str::from_utf8(size).ok().filter(|_| digits).and_then(|size| size.parse::<u64>().ok()) {
            Some(octets) => self.chunk(octets, out),
            None => {
                // What follows cannot be told from commands.
                out.push(ClientAction::Close(Bytes::from_static(b"501 5.5.4 BDAT takes a number of octets.\r\n")));
                State::Finished
            }
        }
    }

    fn chunk(&self, octets: u64, out: &mut Vec<ClientAction>) -> State {
        if octets > 0 {
            return State::ExpectChunk { octets };
        }
        out.push(self.not_yet());
        State::ExpectCommand
    }

    fn ehlo(&self) -> ClientAction {
        let mut lines = vec![format!("{OWN_NAME} Hello")];
        let login_allowed = self.tls != ClientTls::Required;
        // `AUTH=LOGIN`, which very old clients look for, is a way to log in and no capability after it.
        lines.extend(self.capabilities.iter().filter(|keyword| login_allowed || !is_old_auth(keyword)).cloned());
        if login_allowed {
            let mechanisms: Vec<_> = MECHANISMS.iter().map(|mechanism| mechanism.name()).collect();
            lines.push(format!("AUTH {}", mechanisms.join(" ")));
        } else {
            lines.push(String::from("STARTTLS"));
        }
        let last = lines.len() - 1;
        let reply: String = lines
            .iter()
            .enumerate()
            .map(|(at, line)| format!("250{}{line}\r\n", if at == last { ' ' } else { '-' }))
            .collect();
        ClientAction::Send(reply.into())
    }

    /// `AUTH mechanism [initial-response]` (RFC 4954, 4).
    fn auth(&self, argument: &[u8], out: &mut Vec<ClientAction>) -> State {
        let mut words = argument.split(|&octet| octet == b' ').filter(|word| !word.is_empty());
        let (name, initial_response, more) = (words.next(), words.next(), words.next());
        if self.tls == ClientTls::Required {
            out.push(reply("538 5.7.11 Encryption is required: STARTTLS comes before AUTH here."));
            return State::ExpectCommand;
        }
        match name.map(Mechanism::parse) {
            Some(Some(mechanism)) if more.is_none() => {
                Self::sasl(sasl::Exchange::begin(mechanism, initial_response), out)
            }
            Some(None) => {
                out.push(reply("504 5.5.4 There is AUTH PLAIN and LOGIN, no other mechanism."));
                State::ExpectCommand
            }
            None | Some(Some(_)) => {
                out.push(reply("501 5.5.4 AUTH takes a mechanism and at most an initial response."));
                State::ExpectCommand
            }
        }
    }

    fn sasl(step: Result<sasl::Step, SaslError>, out: &mut Vec<ClientAction>) -> State {
        match step {
            Ok(sasl::Step::Challenge(challenge, exchange)) => {
                out.push(reply(&format!("334 {challenge}")));
                State::ExpectSaslResponse { exchange }
            }
            Ok(sasl::Step::Complete(credential)) => {
                out.push(ClientAction::Authenticate(credential));
                State::ExpectVerdict { by_address: false }
            }
            Err(error) => {
                let code = match error {
                    SaslError::Cancelled => "5.7.0",
                    SaslError::NotBase64 | SaslError::Malformed => "5.5.2",
                };
                out.push(reply(&format!("501 {code} {error}")));
                State::ExpectCommand
            }
        }
    }

    fn starttls(&self, argument: &[u8], out: &mut Vec<ClientAction>) -> State {
        if !argument.trim_ascii().is_empty() {
            out.push(reply("501 5.5.4 STARTTLS takes no arguments."));
            return State::ExpectCommand;
        }
        if self.tls != ClientTls::Required {
            out.push(reply("502 5.5.1 STARTTLS is not to be had here."));
            return State::ExpectCommand;
        }
        out.push(ClientAction::StartTls(Bytes::from_static(b"220 2.0.0 Begin TLS negotiation.\r\n")));
        State::ExpectTls
    }
}

impl ClientDialogue for Client {
    fn greeting(&mut self) -> Bytes {
        Bytes::from(format!("220 {OWN_NAME} ESMTP ready.\r\n"))
    }

    fn hear(&mut self, unit: Bytes, out: &mut Vec<ClientAction>) {
        self.state = match mem::replace(&mut self.state, State::Finished) {
            State::ExpectCommand if unit.contains(&0) => {
                self.by_address = ByAddress::Never;
                out.push(reply("500 5.5.2 NUL is in no command."));
                State::ExpectCommand
            }
            State::ExpectCommand => self.command(&unit, out),
            State::ExpectChunk { octets } => self.chunk(octets.saturating_sub(unit.len() as u64), out),
            State::ExpectSaslResponse { exchange } => Self::sasl(exchange.respond(&unit), out),
            state @ (State::ExpectVerdict { .. } | State::ExpectTls | State::Finished) => state,
        };
    }

    fn secured(&mut self) {
        self.tls = ClientTls::Active;
        self.greeted = false;
        self.state = State::ExpectCommand;
    }

    fn admit(&mut self, said: Accepted) -> Bytes {
        if let State::ExpectVerdict { by_address: true } = mem::replace(&mut self.state, State::Finished) {
            // The upstream answers MAIL itself.
            return Bytes::new();
        }
        let text = if said.text.is_empty() { &b"2.7.0 Authentication successful."[..] } else { &said.text };
        [b"235 ", text, b"\r\n"].concat().into()
    }

    /// A device that is told "wrong password" in an outage drops its job, so only what concerns the identity is permanent.
    fn refuse(&mut self, why: Refusal) -> Bytes {
        let by_address =
            matches!(mem::replace(&mut self.state, State::ExpectCommand), State::ExpectVerdict { by_address: true });
        if !by_address {
            self.by_address = ByAddress::Never;
        }
        let code = match why {
            // RFC 4954, 6.
            Refusal::Unauthenticated => "530 5.7.0",
            Refusal::Credentials | Refusal::Authorization | Refusal::Mailbox if by_address => "550 5.7.1",
            // 454 is an answer to AUTH alone.
            _ if by_address => "451 4.7.0",
            Refusal::Credentials | Refusal::Authorization | Refusal::Mailbox => "535 5.7.8",
            Refusal::Application | Refusal::TokenUnavailable | Refusal::UpstreamUnavailable | Refusal::MailboxInUse => {
                "454 4.7.0"
            }
        };
        format!("{code} {}\r\n", why.text()).into()
    }

    fn goodbye(&mut self, why: Goodbye) -> Bytes {
        self.state = State::Finished;
        let code = match why {
            Goodbye::LineTooLong => "4.5.0",
            Goodbye::TimedOut => "4.4.2",
            Goodbye::ShuttingDown => "4.3.2",
        };
        format!("421 {code} {}\r\n", why.text()).into()
    }

    /// The next piece of an unwanted chunk.
    fn literal(&self) -> Option<usize> {
        match self.state {
            State::ExpectChunk { octets } => Some(piece(octets)),
            _ => None,
        }
    }
}

/// Refused at so many MAILs, a device had better connect anew, later.
const MOST_ASKED: u8 = 3;

/// Octets of a chunk that are taken at a time, to be forgotten.
fn piece(octets: u64) -> usize {
    usize::try_from(octets).unwrap_or(usize::MAX).min(MAX_LITERAL)
}

/// What the proxy calls itself, to clients and to the upstream: Exchange refuses names that are no domain.
const OWN_NAME: &str = "localhost";

fn reply(text: &str) -> ClientAction {
    ClientAction::Send(format!("{text}\r\n").into())
}

fn is_old_auth(keyword: &str) -> bool {
    keyword.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("AUTH="))
}

/// The proxy as a submission client, until the upstream has taken the mailbox.
#[derive(Debug)]
pub struct Upstream {
    tls: UpstreamTls,
    login: sasl::XOAuth2,
    /// The lines of a reply before its last one: some servers say there what they mean.
    begun: Vec<u8>,
    state: UpstreamState,
}

#[derive(Debug)]
enum UpstreamState {
    ExpectGreeting,
    ExpectEhloReply,
    ExpectStartTlsReply,
    ExpectTls,
    /// The continuation that AUTH asks for.
    ExpectPrompt,
    ExpectVerdict {
        challenges: usize,
    },
    Finished,
}

impl Upstream {
    /// An upstream has been dialled.
    pub fn new(tls: UpstreamTls, login: sasl::XOAuth2) -> Self {
        Self { tls, login, begun: Vec::new(), state: UpstreamState::ExpectGreeting }
    }

    /// A whole reply, and its last line.
    fn reply(
        &self,
        state: UpstreamState,
        code: u16,
        whole: &[u8],
        line: &Bytes,
        out: &mut Vec<UpstreamAction>,
    ) -> UpstreamState {
        match (state, code) {
            (UpstreamState::ExpectGreeting, 220) => Self::ehlo(out),
            (UpstreamState::ExpectEhloReply, 250) if self.tls == UpstreamTls::StartTls => {
                out.push(UpstreamAction::Send(Bytes::from_static(b"STARTTLS\r\n")));
                UpstreamState::ExpectStartTlsReply
            }
            // In two steps: with a token of 2 KB in it the line would be longer than servers take.
            (UpstreamState::ExpectEhloReply, 250) => {
                out.push(UpstreamAction::Send(Bytes::from_static(b"AUTH XOAUTH2\r\n")));
                UpstreamState::ExpectPrompt
            }
            (UpstreamState::ExpectStartTlsReply, 220) => {
                out.push(UpstreamAction::StartTls);
                UpstreamState::ExpectTls
            }
            (UpstreamState::ExpectPrompt, 334) => {
                out.push(UpstreamAction::SendSecret(self.login.line(b"")));
                UpstreamState::ExpectVerdict { challenges: 0 }
            }
            (UpstreamState::ExpectVerdict { .. }, 235) => {
                let text = line.slice_ref(line.get(4..).unwrap_or_default());
                out.push(UpstreamAction::Accepted(Accepted { text, untagged: Vec::new() }));
                UpstreamState::Finished
            }
            // Google and Dovecot send an error challenge and wait for an empty response.
            (UpstreamState::ExpectVerdict { challenges }, 334) if challenges < MAX_CHALLENGES => {
                out.push(UpstreamAction::Send(Bytes::from_static(b"\r\n")));
                UpstreamState::ExpectVerdict { challenges: challenges + 1 }
            }
            // Some refuse the mailbox before they have seen the token.
            (UpstreamState::ExpectPrompt | UpstreamState::ExpectVerdict { .. }, code) => {
                rejected(refusal(code, whole), whole, out)
            }
            _ => rejected(Refusal::UpstreamUnavailable, whole, out),
        }
    }

    fn ehlo(out: &mut Vec<UpstreamAction>) -> UpstreamState {
        out.push(UpstreamAction::Send(Bytes::from(format!("EHLO {OWN_NAME}\r\n"))));
        UpstreamState::ExpectEhloReply
    }
}

impl UpstreamDialogue for Upstream {
    fn hear(&mut self, line: Bytes, out: &mut Vec<UpstreamAction>) {
        self.state = match mem::replace(&mut self.state, UpstreamState::Finished) {
            state @ (UpstreamState::ExpectTls | UpstreamState::Finished) => state,
            state => match reply_line(&line) {
                Some((_, false)) => {
                    if self.begun.len() < MOST_BEGUN {
                        self.begun.extend_from_slice(&line);
                        self.begun.push(b' ');
                    }
                    state
                }
                Some((code, true)) => {
                    let mut whole = mem::take(&mut self.begun);
                    whole.extend_from_slice(&line);
                    self.reply(state, code, &whole, &line, out)
                }
                None => rejected(Refusal::UpstreamUnavailable, &line, out),
            },
        };
    }

    /// What was said before TLS counts no more (RFC 3207, 4.2): EHLO once more.
    fn secured(&mut self, out: &mut Vec<UpstreamAction>) {
        self.tls = UpstreamTls::Active;
        self.state = Self::ehlo(out);
    }
}

/// `Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF` (RFC 5321, 4.2): the code, and
/// whether the line is the last one.
fn reply_line(line: &[u8]) -> Option<(u16, bool)> {
    let (code, rest) = line.split_at_checked(3)?;
    let code = std::str::from_utf8(code).ok().filter(|code| code.bytes().all(|octet| octet.is_ascii_digit()))?;
    let last = match rest.first() {
        None | Some(b' ') => true,
        Some(b'-') => false,
        Some(_) => return None,
    };
    Some((code.parse().ok()?, last))
}

/// Octets of a reply that are kept: enough to say what is wrong.
const MOST_BEGUN: usize = 512;

/// What a refusal of the token means. `432 4.3.2` is Exchange's limit of three connections a mailbox.
fn refusal(code: u16, line: &[u8]) -> Refusal {
    match code {
        530 | 534 | 535 | 538 | 550 => Refusal::Mailbox,
        432 if contains(line, b"Concurrent connections") => Refusal::MailboxInUse,
        _ => Refusal::UpstreamUnavailable,
    }
}

fn rejected(why: Refusal, line: &[u8], out: &mut Vec<UpstreamAction>) -> UpstreamState {
    out.push(UpstreamAction::Refused(Rejection { why, said: printable(line) }));
    UpstreamState::Finished
}

#[cfg(test)]
mod tests {
    use super::{Refusal, refusal, reply_line};

    #[test]
    fn the_last_line_of_a_reply_is_told_from_the_others() {
        for (line, expected) in [
            (&b"250-SIZE 157286400"[..], Some((250, false))),
            (b"250 SMTPUTF8", Some((250, true))),
            (b"334 ", Some((334, true))),
            (b"334", Some((334, true))),
            (b"25", None),
            (b"250+x", None),
            (b"+50 x", None),
            (b"", None),
        ] {
            assert_eq!(reply_line(line), expected, "{line:?}");
        }
    }

    #[test]
    fn temporary_and_permanent_are_told_apart() {
        for (code, line, expected) in [
            (535, &b"535 5.7.3 Authentication unsuccessful [HOST 1]"[..], Refusal::Mailbox),
            (
                535,
                b"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
                Refusal::Mailbox,
            ),
            (550, b"550 5.7.30 Basic authentication is not supported for Client Submission.", Refusal::Mailbox),
            (432, b"432 4.3.2 Concurrent connections limit exceeded.", Refusal::MailboxInUse),
            (454, b"454 4.7.0 Temporary authentication failure", Refusal::UpstreamUnavailable),
            (421, b"421 4.3.2 Service not available", Refusal::UpstreamUnavailable),
            (500, b"500 5.3.3 Unrecognized command", Refusal::UpstreamUnavailable),
        ] {
            assert_eq!(refusal(code, line), expected, "{line:?}");
        }
    }
}

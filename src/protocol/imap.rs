//! How does a login go in IMAP? RFC 9051 and RFC 3501; SASL-IR (RFC 4959), LITERAL+ (RFC 7888), ID (RFC 2971), response
//! codes (RFC 5530).

use std::mem;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use nom::branch::alt;
use nom::bytes::complete::{tag as literally, take, take_while, take_while1};
use nom::character::complete::{char, digit1};
use nom::combinator::{all_consuming, map, opt, verify};
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser as _};

use crate::printable::printable;
use crate::secret::Secret;

use super::line::MAX_LITERAL;
use super::sasl::{self, MECHANISMS, Mechanism, SaslError};
use super::{
    Accepted, ClientAction, ClientDialogue, ClientTls, Credential, Goodbye, MAX_CHALLENGES, Refusal, Rejection,
    UpstreamAction, UpstreamDialogue, UpstreamTls, Username, begins_with, contains, exchange_will_recover, says,
};

/// What Exchange Online has after login, without what it keeps to itself (CLIENTACCESSRULES, BACKENDAUTHENTICATE, ...).
/// `IMAP4` stays ahead of `IMAP4rev1`, as Exchange has it.
pub(super) const EXCHANGE_CAPABILITIES: &[&str] =
    &["IMAP4", "IMAP4rev1", "UIDPLUS", "MOVE", "ID", "UNSELECT", "CHILDREN", "IDLE", "NAMESPACE", "LITERAL+"];

/// The proxy as an IMAP server, until the client has logged in.
#[derive(Debug)]
pub struct Client {
    tls: ClientTls,
    capabilities: Arc<[String]>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A command, or where one has begun with literals, its next part.
    ExpectLine { begun: BytesMut },
    /// The literal that the line before announced.
    ExpectLiteral { begun: BytesMut, octets: usize },
    /// The response to a SASL challenge.
    ExpectSaslResponse { tag: Bytes, exchange: sasl::Exchange },
    /// The driver's word on the credential.
    ExpectVerdict { tag: Bytes },
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

    /// A whole line of a command, or its last part behind a literal.
    fn line(&mut self, mut begun: BytesMut, line: &[u8], out: &mut Vec<ClientAction>) -> State {
        begun.extend_from_slice(line);
        if begun.len() > MAX_COMMAND {
            out.push(ClientAction::Close(reply(b"*", b"BYE [TOOBIG] The command is too large.")));
            return State::Finished;
        }
        let Some(literal) = announced_literal(line) else {
            return self.command(&begun.freeze(), out);
        };
        let octets = literal.octets;
        if octets > MAX_LITERAL || begun.len() + octets > MAX_COMMAND {
            return if literal.synchronizing {
                let tag = tag(&begun).map_or(&b"*"[..], |(_, tag)| tag);
                out.push(ClientAction::Send(reply(tag, b"BAD [TOOBIG] The literal is too large.")));
                State::between_commands()
            } else {
                // Its octets are on their way and cannot be told from commands: RFC 7888, 4.
                out.push(ClientAction::Close(reply(b"*", b"BYE [TOOBIG] The literal is too large.")));
                State::Finished
            };
        }
        if literal.synchronizing && self.tls == ClientTls::Required {
            // Before it sends a password in clear, not after.
            if let Ok((rest, tag)) = tag(&begun)
                && command_name(rest).is_ok_and(|(_, name)| name.eq_ignore_ascii_case(b"LOGIN"))
            {
                out.push(send(b"", tag, TLS_FIRST));
                return State::between_commands();
            }
        }
        begun.extend_from_slice(b"\r\n");
        if literal.synchronizing {
            out.push(ClientAction::Send(Bytes::from_static(b"+ OK\r\n")));
        }
        State::ExpectLiteral { begun, octets }
    }

    fn command(&mut self, text: &Bytes, out: &mut Vec<ClientAction>) -> State {
        let Ok((rest, tag)) = tag(text) else {
            out.push(ClientAction::Send(reply(b"*", b"BAD A command begins with a tag.")));
            return State::between_commands();
        };
        let tag = text.slice_ref(tag);
        let Ok((arguments, name)) = command_name(rest) else {
            out.push(ClientAction::Send(reply(&tag, b"BAD There is no command behind the tag.")));
            return State::between_commands();
        };
        match name.to_ascii_uppercase().as_slice() {
            b"LOGIN" => return self.login(tag, arguments, out),
            b"AUTHENTICATE" => return self.authenticate(tag, arguments, out),
            b"STARTTLS" if arguments.is_empty() => return self.starttls(&tag, out),
            b"CAPABILITY" if arguments.is_empty() => {
                let untagged = [b"* CAPABILITY ", self.capability_list().as_bytes(), b"\r\n"].concat();
                out.push(send(&untagged, &tag, b"OK CAPABILITY completed."));
            }
            b"NOOP" if arguments.is_empty() => out.push(send(b"", &tag, b"OK NOOP completed.")),
            // What the client says of itself is not ours to keep; what we are, it may know (RFC 2971, 3.1).
            b"ID" => out.push(send(b"* ID (\"name\" \"xoauth2-proxy\")\r\n", &tag, b"OK ID completed.")),
            b"LOGOUT" if arguments.is_empty() => {
                let untagged = b"* BYE xoauth2-proxy is signing off.\r\n";
                let farewell = [untagged, &reply(&tag, b"OK LOGOUT completed.")[..]].concat();
                out.push(ClientAction::Close(farewell.into()));
                return State::Finished;
            }
            b"STARTTLS" | b"CAPABILITY" | b"NOOP" | b"LOGOUT" => {
                out.push(send(b"", &tag, b"BAD This command takes no arguments."));
            }
            _ => out.push(send(b"", &tag, b"BAD Command unknown, or not valid before login.")),
        }
        State::between_commands()
    }

    fn login(&self, tag: Bytes, arguments: &[u8], out: &mut Vec<ClientAction>) -> State {
        if self.tls == ClientTls::Required {
            out.push(send(b"", &tag, TLS_FIRST));
            return State::between_commands();
        }
        let credential = login_arguments(arguments).ok().and_then(|(_, (userid, password))| {
            Some(Credential { username: Username::from_wire(&userid).ok()?, password, authorization_id: None })
        });
        let Some(credential) = credential else {
            out.push(send(b"", &tag, b"BAD LOGIN takes a user name and a password."));
            return State::between_commands();
        };
        out.push(ClientAction::Authenticate(credential));
        State::ExpectVerdict { tag }
    }

    fn authenticate(&self, tag: Bytes, arguments: &[u8], out: &mut Vec<ClientAction>) -> State {
        if self.tls == ClientTls::Required {
            out.push(send(b"", &tag, TLS_FIRST));
            return State::between_commands();
        }
        let Ok((_, (name, initial_response))) = authenticate_arguments(arguments) else {
            out.push(send(b"", &tag, b"BAD AUTHENTICATE takes a mechanism and at most an initial response."));
            return State::between_commands();
        };
        let Some(mechanism) = Mechanism::parse(name) else {
            out.push(send(b"", &tag, b"NO [CANNOT] There is AUTHENTICATE PLAIN and LOGIN, no other mechanism."));
            return State::between_commands();
        };
        Self::sasl(tag, sasl::Exchange::begin(mechanism, initial_response), out)
    }

    fn sasl(tag: Bytes, step: Result<sasl::Step, SaslError>, out: &mut Vec<ClientAction>) -> State {
        match step {
            Ok(sasl::Step::Challenge(challenge, exchange)) => {
                out.push(ClientAction::Send([b"+ ", challenge.as_bytes(), b"\r\n"].concat().into()));
                State::ExpectSaslResponse { tag, exchange }
            }
            Ok(sasl::Step::Complete(credential)) => {
                out.push(ClientAction::Authenticate(credential));
                State::ExpectVerdict { tag }
            }
            Err(error) => {
                out.push(send(b"", &tag, format!("BAD {error}").as_bytes()));
                State::between_commands()
            }
        }
    }

    fn starttls(&self, tag: &[u8], out: &mut Vec<ClientAction>) -> State {
        if self.tls != ClientTls::Required {
            out.push(send(b"", tag, b"BAD STARTTLS is not to be had here."));
            return State::between_commands();
        }
        out.push(ClientAction::StartTls(reply(tag, b"OK Begin TLS negotiation now.")));
        State::ExpectTls
    }

    /// The upstream's capabilities after login, and ours before it.
    fn capability_list(&self) -> String {
        let (revisions, extensions): (Vec<_>, Vec<_>) =
            self.capabilities.iter().map(String::as_str).partition(|name| begins_with(name.as_bytes(), b"IMAP4"));
        let mechanisms = MECHANISMS.map(|mechanism| format!("AUTH={}", mechanism.name()));
        let before_login = match self.tls {
            ClientTls::Required => vec!["STARTTLS", "LOGINDISABLED"],
            ClientTls::Absent | ClientTls::Active => {
                mechanisms.iter().map(String::as_str).chain(["SASL-IR"]).collect::<Vec<_>>()
            }
        };
        [revisions, before_login, extensions].concat().join(" ")
    }
}

impl ClientDialogue for Client {
    /// Exchange puts no capabilities into its greeting, but some clients leave when there are none.
    fn greeting(&mut self) -> Bytes {
        format!("* OK [CAPABILITY {}] xoauth2-proxy ready.\r\n", self.capability_list()).into()
    }

    fn hear(&mut self, unit: Bytes, out: &mut Vec<ClientAction>) {
        self.state = match mem::replace(&mut self.state, State::Finished) {
            State::ExpectLine { begun } => self.line(begun, &unit, out),
            State::ExpectLiteral { mut begun, .. } => {
                begun.extend_from_slice(&unit);
                State::ExpectLine { begun }
            }
            State::ExpectSaslResponse { tag, exchange } => Self::sasl(tag, exchange.respond(&unit), out),
            state @ (State::ExpectVerdict { .. } | State::ExpectTls | State::Finished) => state,
        };
    }

    fn secured(&mut self) {
        self.tls = ClientTls::Active;
        self.state = State::between_commands();
    }

    fn admit(&mut self, said: Accepted) -> Bytes {
        let mut reply = BytesMut::new();
        for untagged in &said.untagged {
            reply.put_slice(untagged);
            reply.put_slice(b"\r\n");
        }
        if let State::ExpectVerdict { tag } = mem::replace(&mut self.state, State::Finished) {
            reply.put_slice(&tag);
            reply.put_slice(b" OK ");
            reply.put_slice(if said.text.is_empty() { b"Login completed." } else { &said.text });
            reply.put_slice(b"\r\n");
        }
        reply.freeze()
    }

    fn refuse(&mut self, why: Refusal) -> Bytes {
        let code = match why {
            Refusal::Credentials | Refusal::Unauthenticated => "AUTHENTICATIONFAILED",
            Refusal::Authorization => "AUTHORIZATIONFAILED",
            Refusal::Application | Refusal::Mailbox => "CONTACTADMIN",
            Refusal::TokenUnavailable | Refusal::UpstreamUnavailable => "UNAVAILABLE",
            Refusal::MailboxInUse => "INUSE",
        };
        match mem::replace(&mut self.state, State::between_commands()) {
            State::ExpectVerdict { tag } => reply(&tag, format!("NO [{code}] {}", why.text()).as_bytes()),
            _ => Bytes::new(),
        }
    }

    fn goodbye(&mut self, why: Goodbye) -> Bytes {
        self.state = State::Finished;
        let code = if why == Goodbye::ShuttingDown { "[UNAVAILABLE] " } else { "" };
        reply(b"*", format!("BYE {code}{}", why.text()).as_bytes())
    }

    fn literal(&self) -> Option<usize> {
        match self.state {
            State::ExpectLiteral { octets, .. } => Some(octets),
            _ => None,
        }
    }
}

impl State {
    fn between_commands() -> Self {
        Self::ExpectLine { begun: BytesMut::new() }
    }
}

/// A command with all its literals before login: two of the largest literals, and the lines around them.
const MAX_COMMAND: usize = 3 * MAX_LITERAL;

const TLS_FIRST: &[u8] = b"NO [PRIVACYREQUIRED] STARTTLS comes before login here.";

fn reply(tag: &[u8], text: &[u8]) -> Bytes {
    [tag, b" ", text, b"\r\n"].concat().into()
}

fn send(untagged: &[u8], tag: &[u8], text: &[u8]) -> ClientAction {
    ClientAction::Send([untagged, &reply(tag, text)].concat().into())
}

/// A literal that a line announces at its end.
struct AnnouncedLiteral {
    octets: usize,
    synchronizing: bool,
}

/// A literal stands where an argument may begin, behind a space or a parenthesis: `pw{5}` is an atom of a careless client.
fn announced_literal(line: &[u8]) -> Option<AnnouncedLiteral> {
    let start = line.iter().rposition(|&octet| octet == b'{')?;
    let (before, announcement) = line.split_at(start);
    let (_, (octets, plus)) = all_consuming(literal_size).parse(announcement).ok()?;
    matches!(before.last(), None | Some(b' ' | b'('))
        .then_some(AnnouncedLiteral { octets, synchronizing: plus.is_none() })
}

/// `literal = "{" number ["+"] "}" CRLF *CHAR8` (RFC 9051, 9; RFC 7888, 8): the part before CRLF.
fn literal_size(input: &[u8]) -> IResult<&[u8], (usize, Option<char>)> {
    delimited(char('{'), (number, opt(char('+'))), char('}')).parse(input)
}

/// `number = 1*DIGIT`. One that is beyond any limit is as good as the largest there is: it is still a number, and what it
/// counts is refused.
fn number(input: &[u8]) -> IResult<&[u8], usize> {
    let value = |digits: &[u8]| {
        digits.iter().fold(0, |value: usize, digit| value.saturating_mul(10).saturating_add(usize::from(digit - b'0')))
    };
    map(digit1, value).parse(input)
}

/// `literal`, whose octets follow. `CHAR8 = %x01-ff`.
fn literal(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let (rest, (octets, _)) = terminated(literal_size, literally("\r\n")).parse(input)?;
    verify(take(octets), |octets: &[u8]| !octets.contains(&0)).parse(rest)
}

/// `quoted = DQUOTE *QUOTED-CHAR DQUOTE`, `QUOTED-CHAR = <any TEXT-CHAR except quoted-specials> / "\" quoted-specials`
/// (RFC 9051, 9). Octets above 127 are taken as they come, for passwords hold them. A backslash before any other
/// character stands for itself: clients that never escape send `"DOMAIN\user"`.
fn quoted(input: &[u8]) -> IResult<&[u8], Secret<Vec<u8>>> {
    let (mut rest, _) = char('"').parse(input)?;
    // Never grows, so no copy of a password is left behind.
    let mut value = Vec::with_capacity(rest.len());
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Ok((rest, Secret::new(value))),
            [b'\\', special @ (b'"' | b'\\'), rest @ ..] => {
                value.push(*special);
                rest
            }
            [0, ..] | [] => return Err(nom::Err::Error(nom::error::Error::new(rest, nom::error::ErrorKind::Char))),
            [octet, rest @ ..] => {
                value.push(*octet);
                rest
            }
        };
    }
}

/// `astring = 1*ASTRING-CHAR / string`, `string = quoted / literal` (RFC 9051, 9). As an atom, anything is taken that is
/// no space or control character and does not begin like a string: clients send `pa(ss)%word` without quotes.
fn astring(input: &[u8]) -> IResult<&[u8], Secret<Vec<u8>>> {
    let atom = verify(take_while1(|octet: u8| octet > b' ' && octet != 0x7f), |atom: &[u8]| {
        atom[0] != b'"' && literal_size(atom).is_err()
    });
    alt((quoted, map(alt((literal, atom)), |octets: &[u8]| Secret::new(octets.to_vec())))).parse(input)
}

type UserId = Vec<u8>;
type Password = Secret<Vec<u8>>;
type InitialResponse<'a> = Option<&'a [u8]>;

/// `login = "LOGIN" SP userid SP password`, `userid = astring`, `password = astring` (RFC 9051, 9), from behind `LOGIN`.
/// Several spaces are as good as one.
fn login_arguments(input: &[u8]) -> IResult<&[u8], (UserId, Password)> {
    let userid = map(astring, |userid| userid.expose().clone());
    all_consuming((preceded(spaces1, userid), terminated(preceded(spaces1, astring), spaces0))).parse(input)
}

/// `authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp] *(CRLF base64)` (RFC 9051, 9), from behind
/// `AUTHENTICATE` and up to the first CRLF.
fn authenticate_arguments(input: &[u8]) -> IResult<&[u8], (&[u8], InitialResponse<'_>)> {
    let mechanism = preceded(spaces1, word);
    all_consuming(terminated((mechanism, opt(preceded(spaces1, word))), spaces0)).parse(input)
}

/// `tag = 1*<any ASTRING-CHAR except "+">` (RFC 9051, 9).
fn tag(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while1(|octet: u8| octet.is_ascii_graphic() && !b"(){%*\"\\+".contains(&octet)).parse(input)
}

/// The command's name: letters behind at least one space. Spaces behind it belong to its arguments, unless nothing else
/// is there.
fn command_name(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let (rest, name) = preceded(spaces1, word).parse(input)?;
    let arguments = if rest.iter().all(|&octet| octet == b' ') { &[] } else { rest };
    Ok((arguments, name))
}

fn word(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while1(|octet: u8| octet.is_ascii_graphic()).parse(input)
}

fn spaces0(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while(|octet| octet == b' ').parse(input)
}

fn spaces1(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while1(|octet| octet == b' ').parse(input)
}

/// The proxy as an IMAP client, until the upstream has taken the mailbox.
#[derive(Debug)]
pub struct Upstream {
    tls: UpstreamTls,
    login: sasl::XOAuth2,
    state: UpstreamState,
}

#[derive(Debug)]
enum UpstreamState {
    ExpectGreeting,
    ExpectStartTlsReply,
    ExpectTls,
    ExpectVerdict { untagged: Vec<Bytes>, challenges: usize },
    Finished,
}

impl Upstream {
    /// An upstream has been dialled.
    pub fn new(tls: UpstreamTls, login: sasl::XOAuth2) -> Self {
        Self { tls, login, state: UpstreamState::ExpectGreeting }
    }

    fn greeted(&self, line: &[u8], out: &mut Vec<UpstreamAction>) -> UpstreamState {
        // PREAUTH is refused too: somebody's mailbox would be open, and before TLS it is an attack (RFC 9051, 7.1.4).
        if !says(line, b"* OK") {
            return rejected(Refusal::UpstreamUnavailable, line, out);
        }
        match self.tls {
            UpstreamTls::StartTls => {
                out.push(UpstreamAction::Send(Bytes::from_static(b"P0 STARTTLS\r\n")));
                UpstreamState::ExpectStartTlsReply
            }
            UpstreamTls::Active => self.authenticate(out),
        }
    }

    fn starttls_replied(line: &[u8], out: &mut Vec<UpstreamAction>) -> UpstreamState {
        match tagged(line, b"P0 ") {
            Some(status) if says(status, b"OK") => {
                out.push(UpstreamAction::StartTls);
                UpstreamState::ExpectTls
            }
            Some(_) => rejected(Refusal::UpstreamUnavailable, line, out),
            None if begins_with(line, b"* ") && !begins_with(line, b"* BYE") => UpstreamState::ExpectStartTlsReply,
            None => rejected(Refusal::UpstreamUnavailable, line, out),
        }
    }

    /// Exchange takes the initial response (SASL-IR), whatever the length of the token.
    fn authenticate(&self, out: &mut Vec<UpstreamAction>) -> UpstreamState {
        out.push(UpstreamAction::SendSecret(self.login.line(b"P1 AUTHENTICATE XOAUTH2 ")));
        UpstreamState::ExpectVerdict { untagged: Vec::new(), challenges: 0 }
    }

    fn verdict(
        mut untagged: Vec<Bytes>,
        challenges: usize,
        line: &Bytes,
        out: &mut Vec<UpstreamAction>,
    ) -> UpstreamState {
        if let Some(status) = tagged(line, b"P1 ") {
            return match status {
                status if says(status, b"OK") => {
                    let text = line.slice_ref(status.get(3..).unwrap_or_default());
                    out.push(UpstreamAction::Accepted(Accepted { text, untagged }));
                    UpstreamState::Finished
                }
                status => rejected(refusal(status), line, out),
            };
        }
        match line.first() {
            // Google and Dovecot send an error challenge and wait for an empty response; Exchange sends none, and calls
            // an empty line that it did not ask for a bad command.
            Some(b'+') if challenges < MAX_CHALLENGES => {
                out.push(UpstreamAction::Send(Bytes::from_static(b"\r\n")));
                UpstreamState::ExpectVerdict { untagged, challenges: challenges + 1 }
            }
            Some(b'*') if !begins_with(line, b"* BYE") && untagged.len() < MAX_UNTAGGED => {
                untagged.push(line.clone());
                UpstreamState::ExpectVerdict { untagged, challenges }
            }
            _ => rejected(Refusal::UpstreamUnavailable, line, out),
        }
    }
}

impl UpstreamDialogue for Upstream {
    fn hear(&mut self, line: Bytes, out: &mut Vec<UpstreamAction>) {
        self.state = match mem::replace(&mut self.state, UpstreamState::Finished) {
            UpstreamState::ExpectGreeting => self.greeted(&line, out),
            UpstreamState::ExpectStartTlsReply => Self::starttls_replied(&line, out),
            UpstreamState::ExpectVerdict { untagged, challenges } => Self::verdict(untagged, challenges, &line, out),
            state @ (UpstreamState::ExpectTls | UpstreamState::Finished) => state,
        };
    }

    fn secured(&mut self, out: &mut Vec<UpstreamAction>) {
        self.tls = UpstreamTls::Active;
        self.state = self.authenticate(out);
    }
}

/// Untagged responses that are kept for the client: a CAPABILITY response is what servers send.
const MAX_UNTAGGED: usize = 16;

fn tagged<'a>(line: &'a [u8], tag: &[u8]) -> Option<&'a [u8]> {
    begins_with(line, tag).then(|| &line[tag.len()..])
}

/// What a tagged NO or BAD means. Exchange has no response codes, other servers have those of RFC 5530.
fn refusal(status: &[u8]) -> Refusal {
    if contains(status, b"[INUSE]") {
        Refusal::MailboxInUse
    } else if [&b"[UNAVAILABLE]"[..], b"[LIMIT]"].iter().any(|code| contains(status, code))
        || exchange_will_recover(status)
        || !says(status, b"NO")
    {
        Refusal::UpstreamUnavailable
    } else {
        Refusal::Mailbox
    }
}

fn rejected(why: Refusal, line: &[u8], out: &mut Vec<UpstreamAction>) -> UpstreamState {
    out.push(UpstreamAction::Refused(Rejection { why, said: printable(line) }));
    UpstreamState::Finished
}

#[cfg(test)]
mod tests {
    use super::{announced_literal, authenticate_arguments, login_arguments, tag};

    fn login(input: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        login_arguments(input).ok().map(|(_, (userid, password))| (userid, password.expose().clone()))
    }

    #[test]
    fn login_is_understood_in_all_its_spellings() {
        for (input, userid, password) in [
            // RFC 9051, 6.2.3
            (&b" SMITH SESAME"[..], &b"SMITH"[..], &b"SESAME"[..]),
            // RFC 3501, 7.5, its literals put together
            (b" {11}\r\nFRED FOOBAR {7}\r\nfat man", b"FRED FOOBAR", b"fat man"),
            (b" \"a b\" \"q\\\"b\\\\s\"", b"a b", b"q\"b\\s"),
            (b"  \"DOMAIN\\user\"   {3+}\r\na\r\n", b"DOMAIN\\user", b"a\r\n"),
            (b" ann pa(ss)%*]{5 ", b"ann", b"pa(ss)%*]{5"),
            (b" ann pw{5}", b"ann", b"pw{5}"),
            (b" ann \"p\xe4\xff\"", b"ann", b"p\xe4\xff"),
            (b" ann p\xe4\xff", b"ann", b"p\xe4\xff"),
            (b" ann \"\"", b"ann", b""),
            (b" ann {0}\r\n", b"ann", b""),
        ] {
            assert_eq!(login(input), Some((userid.to_vec(), password.to_vec())), "{input:?}");
        }
    }

    #[test]
    fn what_is_no_login_is_refused() {
        for input in [
            &b""[..],
            b" ann",
            b" ann ",
            b" ann \"open",
            b" ann \"a\" b",
            b" ann a\0b",
            b" ann \"a\0b\"",
            b" {1}\r\n\0 pw",
        ] {
            assert_eq!(login(input), None, "{input:?}");
        }
    }

    #[test]
    fn a_literal_is_announced_where_an_argument_may_begin() {
        let announced = |line| announced_literal(line).map(|literal| (literal.octets, literal.synchronizing));
        assert_eq!(announced(b"a LOGIN {15}"), Some((15, true)));
        assert_eq!(announced(b" {0+}"), Some((0, false)));
        assert_eq!(announced(b"a ID ({4+}"), Some((4, false)));
        assert_eq!(announced(b"a X {99999999999999999999}"), Some((usize::MAX, true)));
        for line in [&b"a LOGIN ann pw{5}"[..], b"a LOGIN ann {5} ", b"a X {-1}", b"a X {}", b""] {
            assert_eq!(announced(line), None, "{line:?}");
        }
    }

    #[test]
    fn authenticate_and_tags() {
        assert_eq!(authenticate_arguments(b" PLAIN").ok(), Some((&b""[..], (&b"PLAIN"[..], None))));
        assert_eq!(authenticate_arguments(b"  plain = ").ok(), Some((&b""[..], (&b"plain"[..], Some(&b"="[..])))));
        assert!(authenticate_arguments(b" PLAIN a b").is_err());
        assert_eq!(tag(b"#1.[x] NOOP").ok(), Some((&b" NOOP"[..], &b"#1.[x]"[..])));
        assert!(tag(b"* NOOP").is_err());
        assert!(tag(b" NOOP").is_err());
    }
}

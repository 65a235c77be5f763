//! What do a legacy client, the proxy and a mail server say to each other until the mailbox is open? This is the
//! contract that each protocol fulfils, free of sockets, clocks and logs: lines and literals go in, actions come out.
//!
//! A protocol is one file with two machines: a [`ClientDialogue`], which plays the server towards the client until the
//! client has shown a [`Credential`], and an [`UpstreamDialogue`], which plays the client towards the mail server until
//! that has taken the mailbox. The driver is [`crate::session`]; what comes after is [`crate::relay`].

pub mod imap;
pub mod line;
pub mod pop3;
pub mod sasl;
pub mod smtp;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::printable::printable;
use crate::secret::Secret;

/// What a legacy client and we say to each other until it has shown a credential.
pub trait ClientDialogue: Send {
    /// What is said first.
    fn greeting(&mut self) -> Bytes;

    /// One line, without its line end, or the literal that [`ClientDialogue::literal`] announced. Answers with what is
    /// to be done, in order. Not to be called between an [`ClientAction::Authenticate`] (or `AuthenticateByAddress`) and its verdict.
    fn hear(&mut self, unit: Bytes, out: &mut Vec<ClientAction>);

    /// TLS is up, as [`ClientAction::StartTls`] asked.
    fn secured(&mut self);

    /// The upstream took the mailbox; `said` is what it told us. The client's success reply: after it, every byte
    /// belongs to the relay.
    fn admit(&mut self, said: Accepted) -> Bytes;

    /// The credential was refused: said in the protocol's own response codes, after which the dialogue goes on.
    fn refuse(&mut self, why: Refusal) -> Bytes;

    /// The last words before the proxy closes the connection for a reason of its own; empty where the protocol wants none.
    fn goodbye(&mut self, why: Goodbye) -> Bytes;

    /// Octets of literal still due, where the protocol has literals. Never above [`line::MAX_LITERAL`].
    fn literal(&self) -> Option<usize> {
        None
    }
}

/// What the driver is to do for a [`ClientDialogue`].
#[derive(Debug, PartialEq, Eq)]
pub enum ClientAction {
    /// Send these bytes.
    Send(Bytes),
    /// Send these bytes, forget what has been read and not yet heard, and begin TLS.
    StartTls(Bytes),
    /// Decide on this credential and say the verdict by `admit` or `refuse`.
    Authenticate(Credential),
    /// The client goes on without a credential, as devices do that cannot log in: decide by its address, and say the verdict
    /// by `admit` or `refuse`. Let in, this line is the first that the upstream hears of it.
    AuthenticateByAddress(Bytes),
    /// Send these bytes and close the connection.
    Close(Bytes),
}

/// What we and the upstream say to each other until it has taken the mailbox.
pub trait UpstreamDialogue: Send {
    /// One line, without its line end.
    fn hear(&mut self, line: Bytes, out: &mut Vec<UpstreamAction>);

    /// TLS is up, as [`UpstreamAction::StartTls`] asked.
    fn secured(&mut self, out: &mut Vec<UpstreamAction>);
}

/// What the driver is to do for an [`UpstreamDialogue`].
#[derive(Debug, PartialEq, Eq)]
pub enum UpstreamAction {
    /// Send these bytes.
    Send(Bytes),
    /// Send these bytes, which hold the access token: they are not for any log.
    SendSecret(Secret<Vec<u8>>),
    /// Begin TLS. Bytes that were read and not yet heard are an injection: give up (RFC 9051, 6.2.1; RFC 2595, 4).
    StartTls,
    /// The mailbox is open; bytes not yet heard belong to the client.
    Accepted(Accepted),
    /// The mailbox stays shut. The connection is of no further use.
    Refused(Rejection),
}

/// What a client shows to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Who it says it is: RFC 4616's authentication identity.
    pub username: Username,
    /// The octets of its password, as they came.
    pub password: Secret<Vec<u8>>,
    /// Whom it wants to act as, where it said so: RFC 4616's authorization identity.
    pub authorization_id: Option<Username>,
}

/// A user name as typed by a client: never empty, of at most 320 octets, free of control characters, folded for case, so
/// that `Ann@Example.org` and `ann@example.org` are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Username(String);

impl Username {
    /// Reads a user name off the wire. UTF-8 is what the RFCs ask for; old clients send ISO 8859-1, in which every octet
    /// is a character, so octets that are no UTF-8 are read as that.
    ///
    /// # Errors
    /// Empty, or holding a control character: those could break out of a log line or of the XOAUTH2 string.
    pub fn from_wire(octets: &[u8]) -> Result<Self, MalformedName> {
        match std::str::from_utf8(octets) {
            Ok(name) => Self::parse(name),
            Err(_) => Self::parse(&octets.iter().map(|&octet| char::from(octet)).collect::<String>()),
        }
    }

    /// Reads a user name from text.
    ///
    /// # Errors
    /// As [`Username::from_wire`].
    pub fn parse(name: &str) -> Result<Self, MalformedName> {
        if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(MalformedName);
        }
        Ok(Self(name.to_lowercase()))
    }

    /// The folded name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind the `@`, where the name is a plain mail address in ASCII. Anything else, quoted, routed or made
    /// to look like another name, might mean somebody else's mailbox to a mail server.
    pub fn domain(&self) -> Option<&str> {
        let (local, domain) = self.0.split_once('@')?;
        let plain = |part: &str, others: &[u8]| {
            !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_alphanumeric() || others.contains(&octet))
        };
        (plain(local, b"!#$%&'*+=?^_`{|}~.-") && plain(domain, b".-")).then_some(domain)
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address of the mailbox that is to be opened: something on both sides of one `@`, letters, digits and what stands
/// unquoted in an address (RFC 5321, 4.1.2; RFC 6531, 3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox(String);

impl Mailbox {
    /// Reads an address from text.
    ///
    /// # Errors
    /// No such address.
    pub fn parse(address: &str) -> Result<Self, MalformedName> {
        let allowed = |c: char| c.is_alphanumeric() || "!#$%&'*+/=?^_`{|}~.-".contains(c);
        match address.split_once('@') {
            Some((local, domain))
                if [local, domain].iter().all(|part| !part.is_empty() && part.chars().all(allowed))
                    && address.len() <= LONGEST_NAME =>
            {
                Ok(Self(address.to_owned()))
            }
            _ => Err(MalformedName),
        }
    }

    /// The address as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Octets: 64 before the `@` and 255 behind it (RFC 5321, 4.5.3.1).
const LONGEST_NAME: usize = 320;

/// A name that is empty, too long or holds characters that no name may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name is empty, too long or holds characters that no name may hold")]
pub struct MalformedName;

/// What the upstream said when it took the mailbox.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The text of its success reply, behind the status; it may begin with a response code.
    pub text: Bytes,
    /// The untagged responses that came before it, whole and without line ends.
    pub untagged: Vec<Bytes>,
}

/// Its words may repeat ours.
impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let untagged: Vec<_> = self.untagged.iter().map(|line| printable(line)).collect();
        f.debug_struct("Accepted").field("text", &printable(&self.text)).field("untagged", &untagged).finish()
    }
}

/// Why the upstream did not take the mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What the client is told.
    pub why: Refusal,
    /// The upstream's own words, printable and cut to a length: for the log.
    pub said: String,
}

/// Why a client is not let in: as much as a client may know. What the administrator needs is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// User name or password is wrong. Which of the two is not told: it would help to guess.
    Credentials,
    /// No credential was shown, and the address stands for nobody.
    Unauthenticated,
    /// The password was right, but the authorization identity is somebody else's.
    Authorization,
    /// The identity provider refuses the application: nothing helps but an administrator.
    Application,
    /// No token is to be had at the moment.
    TokenUnavailable,
    /// The mail server cannot be reached, breaks off, or says itself that it cannot.
    UpstreamUnavailable,
    /// Another session holds the mailbox locked.
    MailboxInUse,
    /// The mail server refuses the mailbox to the application: nothing helps but an administrator.
    Mailbox,
}

impl Refusal {
    /// Whether the same login may succeed later without anybody doing anything.
    pub fn is_temporary(self) -> bool {
        match self {
            Self::TokenUnavailable | Self::UpstreamUnavailable | Self::MailboxInUse => true,
            Self::Credentials | Self::Unauthenticated | Self::Authorization | Self::Application | Self::Mailbox => {
                false
            }
        }
    }

    /// The human-readable text behind the response code, the same in every protocol.
    pub fn text(self) -> &'static str {
        match self {
            Self::Credentials => "Authentication failed.",
            Self::Unauthenticated => "Authentication required.",
            Self::Authorization => "Authentication succeeded, but not for that authorization identity.",
            Self::Application => "The identity provider refuses this proxy: see its log.",
            Self::TokenUnavailable => "The identity provider cannot be reached: try again later.",
            Self::UpstreamUnavailable => "The mail server cannot be reached: try again later.",
            Self::MailboxInUse => "The mailbox is in use by another session: try again later.",
            Self::Mailbox => "The mail server refuses this mailbox to the proxy: see its log.",
        }
    }
}

/// Why the proxy ends a conversation that has not come to a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// A line beyond [`line::MAX_LINE`].
    LineTooLong,
    /// Too long without a login.
    TimedOut,
    /// The proxy is being stopped.
    ShuttingDown,
}

impl Goodbye {
    /// The text behind the status, the same in every protocol.
    pub fn text(self) -> &'static str {
        match self {
            Self::LineTooLong => "The line is too long.",
            Self::TimedOut => "No login came in time.",
            Self::ShuttingDown => "The proxy is shutting down.",
        }
    }
}

/// The protocols that clients are served in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// IMAP4rev1 and IMAP4rev2: RFC 3501 and RFC 9051.
    Imap,
    /// POP3: RFC 1939.
    Pop3,
    /// SMTP submission: RFC 6409.
    Smtp,
}

impl Protocol {
    /// Every protocol there is.
    pub const ALL: [Self; 3] = [Self::Imap, Self::Pop3, Self::Smtp];

    /// Its name in the configuration and in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Smtp => "smtp",
        }
    }

    /// What Exchange Online has after login, as far as a client may rely on it before login.
    pub fn exchange_capabilities(self) -> &'static [&'static str] {
        match self {
            Self::Imap => imap::EXCHANGE_CAPABILITIES,
            Self::Pop3 => pop3::EXCHANGE_CAPABILITIES,
            Self::Smtp => smtp::EXCHANGE_CAPABILITIES,
        }
    }

    /// The machine for a client that has just connected. `capabilities` are the upstream's after login.
    pub fn client_dialogue(self, tls: ClientTls, capabilities: &Arc<[String]>) -> Box<dyn ClientDialogue> {
        match self {
            Self::Imap => Box::new(imap::Client::new(tls, Arc::clone(capabilities))),
            Self::Pop3 => Box::new(pop3::Client::new(tls, Arc::clone(capabilities))),
            Self::Smtp => Box::new(smtp::Client::new(tls, Arc::clone(capabilities))),
        }
    }

    /// The machine for an upstream that has just been dialled.
    pub fn upstream_dialogue(self, tls: UpstreamTls, login: sasl::XOAuth2) -> Box<dyn UpstreamDialogue> {
        match self {
            Self::Imap => Box::new(imap::Upstream::new(tls, login)),
            Self::Pop3 => Box::new(pop3::Upstream::new(tls, login)),
            Self::Smtp => Box::new(smtp::Upstream::new(tls, login)),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a client's connection stands with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientTls {
    /// Plaintext, and TLS is not to be had: a loopback listener.
    Absent,
    /// Plaintext so far; no login before STARTTLS or STLS.
    Required,
    /// TLS is up.
    Active,
}

/// How an upstream's connection stands with TLS when the dialogue begins. There is no third way: a token never goes in
/// clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamTls {
    /// Plaintext so far: STARTTLS or STLS comes before anything else.
    StartTls,
    /// TLS is up.
    Active,
}

/// A command's keyword, and all that stands behind the first space: in POP3 and SMTP (RFC 1939, 3; RFC 5321, 2.4).
pub(crate) fn split_command(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|&octet| octet == b' ') {
        Some(space) => (&line[..space], &line[space + 1..]),
        None => (line, &[]),
    }
}

/// SASL challenges that are answered after the token was shown, before the upstream is given up: a server that refuses
/// the token sends one.
pub(crate) const MAX_CHALLENGES: usize = 3;

/// Exchange has no response codes. By these words it means trouble that passes: a lost mailbox server, throttling, and a
/// mailbox that is new, was not granted long ago, or has too many connections.
pub(crate) fn exchange_will_recover(said: &[u8]) -> bool {
    [&b"Server Unavailable"[..], b"Request is throttled", b"authenticated but not connected"]
        .iter()
        .any(|words| contains(said, words))
}

/// Whether `line` begins with `word`, in any letter case.
pub(crate) fn begins_with(line: &[u8], word: &[u8]) -> bool {
    line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Whether `line` begins with this status: the word, and then a space or nothing.
pub(crate) fn says(line: &[u8], status: &[u8]) -> bool {
    begins_with(line, status) && matches!(line.get(status.len()), None | Some(b' '))
}

/// Whether `text` holds `word`, in any letter case.
pub(crate) fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::{Mailbox, MalformedName, Username, split_command};

    #[test]
    fn all_behind_the_first_space_is_the_argument() {
        assert_eq!(split_command(b"PASS  two spaces "), (&b"PASS"[..], &b" two spaces "[..]));
        assert_eq!(split_command(b"QUIT"), (&b"QUIT"[..], &b""[..]));
        assert_eq!(split_command(b""), (&b""[..], &b""[..]));
    }

    #[test]
    fn names_are_folded_and_free_of_control_characters() {
        assert_eq!(Username::from_wire(b"Ann@Example.ORG").expect("plain").as_str(), "ann@example.org");
        assert_eq!(Username::from_wire(b"Jos\xe9").expect("ISO 8859-1").as_str(), "jos\u{e9}");
        assert_eq!(Username::from_wire("Jos\u{e9}".as_bytes()).expect("UTF-8").as_str(), "jos\u{e9}");
        for bad in [&b""[..], b"ann\x01auth=Bearer x", b"ann\r\n", b"ann\0", b"\x7f", b"ann\x85\xff"] {
            assert_eq!(Username::from_wire(bad), Err(MalformedName), "{bad:?}");
        }
        assert_eq!(Username::parse(&"a".repeat(321)), Err(MalformedName));
        for bad in
            ["ann@example.org\u{1}", "ann @example.org", "@", "a@", "@b", "a@b@c", "<a@b>", "a@b\u{200b}", "\"a\"@b"]
        {
            assert_eq!(Mailbox::parse(bad), Err(MalformedName), "{bad:?}");
        }
        Mailbox::parse("J\u{f6}rg.O'Neil+x@m\u{fc}nchen.example").expect("internationalized");
    }

    #[test]
    fn a_domain_is_that_of_a_plain_address() {
        let domain = |name| Username::parse(name).expect("well-formed").domain().map(str::to_owned);
        assert_eq!(domain("Ann.O'Neil+x@Contoso.com").as_deref(), Some("contoso.com"));
        for other in [
            "bob@other.com\\x@contoso.com",
            "x\\bob@contoso.com",
            "\"bob\"@contoso.com",
            "smtp:bob@contoso.com",
            "bob\u{200b}@contoso.com",
            "\u{ff42}ob@contoso.com",
            "bob/x@contoso.com",
            "bob@contoso.com\u{202e}",
            "a b@contoso.com",
        ] {
            assert_eq!(domain(other), None, "{other}");
        }
        assert_eq!(domain("@contoso.com"), None);
        assert_eq!(domain("ann@"), None);
        assert_eq!(domain("ann"), None);
    }
}

//! SMTP submission as Exchange Online speaks it (RFC 5321 and 6409, with 1870, 2034, 2920, 3030, 3207, 3461, 4954, 6152
//! and 6531).

mod data;
mod syntax;

use std::io;
use std::time::SystemTime;

use bytes::Bytes;

use crate::clock::Civil;
use crate::exchange::{ERROR_CHALLENGE, ExchangeFault, Login, NotSent, Refusal, ServerTls, Verdict};
use crate::pop3::split;
use crate::random;
use crate::token::Protocol;
use crate::wire::{Input, Wire};
use data::Data;
use syntax::{Fault, Mail};

/// Talks to one client until it leaves or is shown out.
pub(crate) async fn serve(wire: &mut Wire) -> io::Result<()> {
    let mut session = Session::new();
    if !session.greet(wire).await? {
        return Ok(());
    }
    while session.command(wire).await? == Next::Command {}
    Ok(())
}

struct Session {
    /// In the brackets of the greeting and of refusals.
    id: String,
    hello: Hello,
    login: Option<Login>,
    transaction: Option<Transaction>,
}

/// How the client has introduced itself since TLS is up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hello {
    Awaited,
    /// With HELO: it knows of no extension.
    Plain,
    Extended,
}

/// RFC 5321 3.3: from MAIL up to the message's end.
struct Transaction {
    mail: Mail,
    to: Vec<String>,
    /// What BDAT has brought so far.
    chunks: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Command,
    End,
}

/// What comes of asking the client for a SASL response.
enum Response {
    Given(Bytes),
    /// It has been answered already.
    Unusable,
    End,
}

impl Session {
    fn new() -> Self {
        let id: String = random::bytes::<6>().iter().map(|octet| format!("{octet:02X}")).collect();
        Self { id: format!("08DD{id}"), hello: Hello::Awaited, login: None, transaction: None }
    }

    /// False if that was all.
    async fn greet(&self, wire: &mut Wire) -> io::Result<bool> {
        let now = Civil::at(SystemTime::now()).smtp();
        let mut greeting = format!("220 {HOST} Microsoft ESMTP MAIL Service ready at {now} [{}]", self.id);
        match wire.service().fault() {
            Some(ExchangeFault::ByeAtGreeting) => {
                wire.put("421 4.3.2 Service not available\r\n");
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
            Some(ExchangeFault::MultiLineGreeting) => {
                greeting.replace_range(3..4, "-");
                greeting.push_str("\r\n220-\r\n220 ESMTP");
            }
            Some(ExchangeFault::EarlyContinuation) => greeting.push_str("\r\n334 "),
            Some(ExchangeFault::CloseAfterGreeting) => {
                wire.put(greeting + "\r\n");
                return Ok(false);
            }
            _ => {}
        }
        wire.put(greeting + "\r\n");
        Ok(true)
    }

    async fn command(&mut self, wire: &mut Wire) -> io::Result<Next> {
        let line = match self.input(wire).await? {
            // Where Exchange's limit is and what it says is not known.
            Input::Line(line) if line.len() > LONGEST_COMMAND => {
                wire.put(if split(&line).0 == "AUTH" { AUTH_TOO_LONG } else { TOO_LONG });
                return Ok(Next::Command);
            }
            Input::Line(line) => line,
            // What Exchange makes of a bare LF in a command is not known.
            Input::Malformed => {
                wire.put("500 5.5.2 Syntax error\r\n");
                return Ok(Next::Command);
            }
            Input::TooLong => {
                wire.put(TOO_LONG);
                return Ok(Next::End);
            }
            Input::End => return Ok(Next::End),
        };
        let (verb, argument) = split(&line);
        match verb.as_str() {
            "EHLO" | "HELO" => self.hello(wire, &verb, argument),
            "STARTTLS" if !wire.service().has_fault(&ExchangeFault::StripStartTls) => {
                self.start_tls(wire, argument).await?;
            }
            "AUTH" => return self.authenticate(wire, argument).await,
            "MAIL" => self.mail(wire, argument).await?,
            "RCPT" => self.recipient(wire, argument),
            "DATA" => return self.data(wire, argument).await,
            "BDAT" => return self.chunk(wire, argument).await,
            "RSET" => {
                self.transaction = None;
                wire.put("250 2.0.0 Resetting\r\n");
            }
            "NOOP" => wire.put("250 2.0.0 OK\r\n"),
            "VRFY" => wire.put("252 2.1.5 Cannot VRFY user\r\n"),
            "EXPN" => wire.put("502 5.3.3 Command not implemented\r\n"),
            "HELP" => wire.put(HELP),
            "QUIT" => {
                wire.put("221 2.0.0 Service closing transmission channel\r\n");
                return Ok(Next::End);
            }
            _ => wire.put("500 5.3.3 Unrecognized command\r\n"),
        }
        Ok(Next::Command)
    }

    /// The next line, or the end of a client that has been idle for too long.
    async fn input(&self, wire: &mut Wire) -> io::Result<Input> {
        let idle = wire.service().with_fault(|fault| match fault {
            Some(ExchangeFault::IdleTimeout(time)) => Some(*time),
            _ => None,
        });
        let Some(time) = idle.filter(|_| self.login.is_some()) else { return wire.line().await };
        wire.flush().await?;
        match tokio::time::timeout(time, wire.line()).await {
            Ok(input) => input,
            Err(_) => {
                wire.put("421 4.4.1 Connection timed out\r\n");
                Ok(Input::End)
            }
        }
    }

    /// RFC 5321 4.1.1.1.
    fn hello(&mut self, wire: &mut Wire, verb: &str, argument: &[u8]) {
        if !syntax::is_domain(argument) {
            wire.put("501 5.5.4 Invalid domain name\r\n");
            return;
        }
        self.transaction = None;
        let client = wire.client();
        if verb == "HELO" {
            self.hello = Hello::Plain;
            wire.put(format!("250 {HOST} Hello [{client}]\r\n"));
            return;
        }
        self.hello = Hello::Extended;
        let security = if offers_login(wire) { "AUTH LOGIN XOAUTH2" } else { "STARTTLS" };
        wire.put(format!(
            "250-{HOST} Hello [{client}]\r\n250-SIZE {LARGEST_MESSAGE}\r\n250-PIPELINING\r\n250-DSN\r\n\
             250-ENHANCEDSTATUSCODES\r\n250-{security}\r\n250-8BITMIME\r\n250-BINARYMIME\r\n250-CHUNKING\r\n\
             250 SMTPUTF8\r\n"
        ));
    }

    /// RFC 3207 4.
    async fn start_tls(&mut self, wire: &mut Wire, argument: &[u8]) -> io::Result<()> {
        if wire.is_tls() || wire.service().tls == ServerTls::Implicit {
            wire.put(BAD_SEQUENCE);
            return Ok(());
        }
        if !argument.is_empty() {
            wire.put(INVALID_ARGUMENTS);
            return Ok(());
        }
        if self.hello == Hello::Awaited {
            wire.put(NEED_HELLO);
            return Ok(());
        }
        if wire.service().has_fault(&ExchangeFault::RefuseStartTls) {
            wire.put("454 4.7.0 TLS not available due to temporary reason\r\n");
            return Ok(());
        }
        wire.put("220 2.0.0 SMTP server ready\r\n");
        let injected = wire.service().with_fault(|fault| match fault {
            Some(ExchangeFault::InjectBehindStartTls(octets)) => octets.clone(),
            _ => Vec::new(),
        });
        wire.put(injected);
        self.hello = Hello::Awaited;
        self.transaction = None;
        wire.start_tls().await
    }

    /// RFC 4954 4.
    async fn authenticate(&mut self, wire: &mut Wire, argument: &[u8]) -> io::Result<Next> {
        if self.hello == Hello::Awaited {
            wire.put(NEED_HELLO);
            return Ok(Next::Command);
        }
        if self.login.is_some() || self.transaction.is_some() {
            wire.put(BAD_SEQUENCE);
            return Ok(Next::Command);
        }
        let (mechanism, initial) = split(argument);
        let offered = self.hello == Hello::Extended && offers_login(wire);
        match mechanism.as_str() {
            "XOAUTH2" if offered => self.xoauth2(wire, initial).await,
            "LOGIN" if offered => self.basic(wire, initial).await,
            _ => {
                tarpit(wire).await?;
                wire.put(format!("504 5.7.4 Unrecognized authentication type {}\r\n", self.brackets()));
                Ok(Next::Command)
            }
        }
    }

    async fn xoauth2(&mut self, wire: &mut Wire, initial: &[u8]) -> io::Result<Next> {
        let response = match respond(wire, initial, "").await? {
            Response::Given(response) => response,
            Response::Unusable => return Ok(Next::Command),
            Response::End => return Ok(Next::End),
        };
        match wire.service().fault() {
            Some(ExchangeFault::CloseDuringAuth) => return Ok(Next::End),
            Some(ExchangeFault::SilentAuth) => {
                wire.ignore().await?;
                return Ok(Next::End);
            }
            Some(ExchangeFault::ErrorChallenge) => {
                wire.put(format!("334 {ERROR_CHALLENGE}\r\n"));
                if wire.line().await? == Input::End {
                    return Ok(Next::End);
                }
            }
            _ => {}
        }
        wire.flush().await?;
        let service = wire.service().clone();
        match service.judge(Protocol::Smtp, &response).await {
            Verdict::Open(login) => {
                wire.put("235 2.7.0 Authentication successful\r\n");
                wire.mark_login();
                service.with_fault(|fault| {
                    if let Some(ExchangeFault::BehindLogin(octets)) = fault {
                        wire.put(octets);
                    }
                });
                self.login = Some(login);
                Ok(Next::Command)
            }
            // It never is: SMTP finds out when there is a message.
            Verdict::NotConnected => Ok(self.refuse_login(wire, &Refusal::Failed)),
            Verdict::Refused(refusal) => Ok(self.refuse_login(wire, &refusal)),
        }
    }

    /// AUTH LOGIN. No password is right.
    async fn basic(&self, wire: &mut Wire, initial: &[u8]) -> io::Result<Next> {
        for (initial, prompt) in [(initial, "VXNlcm5hbWU6"), (b"".as_slice(), "UGFzc3dvcmQ6")] {
            match respond(wire, initial, prompt).await? {
                Response::Given(_) => {}
                Response::Unusable => return Ok(Next::Command),
                Response::End => return Ok(Next::End),
            }
        }
        tarpit(wire).await?;
        match wire.service().fault() {
            Some(ExchangeFault::SmtpBasicRetired) => {
                let text = "550 5.7.30 Basic authentication is not supported for Client Submission.";
                wire.put(format!("{text} {}\r\n", self.brackets()));
                Ok(Next::Command)
            }
            Some(ExchangeFault::SmtpAuthDisabledForTenant) => {
                Ok(self.refuse_login(wire, &Refusal::SmtpDisabled("Tenant")))
            }
            Some(ExchangeFault::SmtpAuthDisabledForMailbox) => {
                Ok(self.refuse_login(wire, &Refusal::SmtpDisabled("Mailbox")))
            }
            _ => Ok(self.refuse_login(wire, &Refusal::Failed)),
        }
    }

    fn refuse_login(&self, wire: &mut Wire, refusal: &Refusal) -> Next {
        let text = match refusal {
            Refusal::Failed => "535 5.7.3 Authentication unsuccessful".to_owned(),
            Refusal::FailedVerbose => "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria \
                                       to be authenticated successfully. Contact your administrator."
                .to_owned(),
            Refusal::SmtpDisabled(whom) => format!(
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the {whom}. Visit \
                 https://aka.ms/smtp_auth_disabled for more information."
            ),
            Refusal::Unavailable => "454 4.7.0 Temporary authentication failure".to_owned(),
            Refusal::Throttled { .. } => "451 4.7.0 Temporary server error. Please try again later. PRX4".to_owned(),
        };
        wire.put(format!("{text} {}\r\n", self.brackets()));
        if matches!(refusal, Refusal::Throttled { bye: true, .. }) { Next::End } else { Next::Command }
    }

    /// RFC 5321 4.1.1.2.
    async fn mail(&mut self, wire: &mut Wire, argument: &[u8]) -> io::Result<()> {
        if self.hello == Hello::Awaited {
            wire.put(NEED_HELLO);
            return Ok(());
        }
        if !offers_login(wire) {
            wire.put(format!("451 5.7.3 STARTTLS is required to send mail {}\r\n", self.brackets()));
            return Ok(());
        }
        if self.login.is_none() {
            tarpit(wire).await?;
            wire.put(format!("530 5.7.57 Client not authenticated to send mail. {}\r\n", self.brackets()));
            return Ok(());
        }
        if self.transaction.is_some() {
            wire.put("503 5.5.2 Sender already specified\r\n");
            return Ok(());
        }
        match Mail::parse(argument) {
            Ok(Mail { size: Some(size), .. }) if size > LARGEST_MESSAGE as u64 => wire.put(TOO_LARGE),
            Ok(mail) => {
                self.transaction = Some(Transaction { mail, to: Vec::new(), chunks: None });
                wire.put("250 2.1.0 Sender OK\r\n");
            }
            Err(Fault::Address) => wire.put("501 5.1.7 Invalid address\r\n"),
            Err(Fault::Arguments) => wire.put(INVALID_ARGUMENTS),
            Err(Fault::Parameter) => wire.put(UNKNOWN_PARAMETER),
        }
        Ok(())
    }

    /// RFC 5321 4.1.1.3.
    fn recipient(&mut self, wire: &mut Wire, argument: &[u8]) {
        let transaction = match &mut self.transaction {
            Some(transaction) if transaction.chunks.is_none() => transaction,
            Some(_) => return wire.put(BAD_SEQUENCE),
            None => return wire.put(NEED_MAIL),
        };
        match syntax::recipient(argument, transaction.mail.utf8) {
            Ok(address) => {
                transaction.to.push(address);
                wire.put("250 2.1.5 Recipient OK\r\n");
            }
            Err(Fault::Address) => wire.put("501 5.1.3 Invalid address\r\n"),
            Err(Fault::Arguments) => wire.put(INVALID_ARGUMENTS),
            Err(Fault::Parameter) => wire.put(UNKNOWN_PARAMETER),
        }
    }

    /// RFC 5321 4.1.1.4.
    async fn data(&mut self, wire: &mut Wire, argument: &[u8]) -> io::Result<Next> {
        let refusal = match &self.transaction {
            _ if !argument.is_empty() => Some(INVALID_ARGUMENTS),
            None => Some(NEED_MAIL),
            Some(transaction) if transaction.to.is_empty() => Some(NEED_RECIPIENT),
            // RFC 3030 2 and 3.
            Some(transaction) if transaction.chunks.is_some() || transaction.mail.binary => Some(BAD_SEQUENCE),
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            wire.put(refusal);
            return Ok(Next::Command);
        }
        wire.put("354 Start mail input; end with <CRLF>.<CRLF>\r\n");
        let mut data = Data::new(LARGEST_MESSAGE);
        if !wire.feed(|piece| data.eat(piece)).await? {
            return Ok(Next::End);
        }
        let octets = data.into_octets();
        self.submit(wire, octets).await?;
        Ok(Next::Command)
    }

    /// BDAT (RFC 3030 2). The octets come whatever the answer will be, for nobody waits for it.
    async fn chunk(&mut self, wire: &mut Wire, argument: &[u8]) -> io::Result<Next> {
        let Some((size, last)) = syntax::chunk(argument) else {
            // Where the chunk ends is anybody's guess.
            wire.put(INVALID_ARGUMENTS);
            return Ok(Next::End);
        };
        let refusal = match &self.transaction {
            None => Some(NEED_MAIL),
            Some(transaction) if transaction.to.is_empty() => Some(NEED_RECIPIENT),
            Some(transaction) => {
                let before = transaction.chunks.as_ref().map_or(0, Vec::len) as u64;
                (before.saturating_add(size) > LARGEST_MESSAGE as u64).then_some(TOO_LARGE)
            }
        };
        let mut unwanted = Vec::new();
        let chunks = match &mut self.transaction {
            Some(transaction) if refusal.is_none() => transaction.chunks.get_or_insert_default(),
            _ => &mut unwanted,
        };
        let mut left = size;
        let whole = wire.feed(|piece| {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            if refusal.is_none() {
                chunks.extend_from_slice(&piece[..length]);
            }
            left -= length as u64;
            (left == 0).then_some(length)
        });
        if !whole.await? {
            return Ok(Next::End);
        }
        match refusal {
            Some(refusal) => {
                if refusal == TOO_LARGE {
                    self.transaction = None;
                }
                wire.put(refusal);
            }
            None if last => {
                let octets = self.transaction.as_mut().and_then(|transaction| transaction.chunks.take());
                self.submit(wire, octets).await?;
            }
            None => wire.put(format!("250 2.6.0 CHUNK received OK, {size} octets\r\n")),
        }
        Ok(Next::Command)
    }

    /// The answer at the end of a message. Without octets it was too large.
    async fn submit(&mut self, wire: &mut Wire, octets: Option<Vec<u8>>) -> io::Result<()> {
        let (Some(login), Some(Transaction { mail, to, .. })) = (&self.login, self.transaction.take()) else {
            wire.put(BAD_SEQUENCE);
            return Ok(());
        };
        let Some(octets) = octets else {
            wire.put(TOO_LARGE);
            return Ok(());
        };
        let (user, from) = (&login.address, mail.from.clone());
        let text = match wire.service().submit(login, mail.from, to, octets) {
            Ok(()) => {
                wire.put(format!("250 2.0.0 OK <{}@{SERVER}> [Hostname={SERVER}]\r\n", random::guid()));
                return Ok(());
            }
            Err(NotSent::SendAs) => {
                format!("550 5.7.60 SMTP; Client does not have permissions to send as this sender [{SERVER}]")
            }
            Err(NotSent::SendAsDenied) => format!(
                "554 5.2.252 SendAsDenied; {user} not allowed to send as {from}; \
                 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process \
                 message due to a permanent exception with message Cannot submit message. [Hostname={SERVER}]"
            ),
            Err(NotSent::StoreDriver) => format!(
                "430 4.2.0 STOREDRV; mailbox logon failure; \
                 STOREDRV.Submission.Exception:ConnectionFailedTransientException.MapiExceptionLogonFailed; Failed to \
                 process message due to a transient exception with message Cannot open mailbox. [Hostname={SERVER}]"
            ),
            Err(NotSent::ConcurrencyLimit) => format!(
                "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more \
                 information. [Hostname={SERVER}]"
            ),
        };
        tarpit(wire).await?;
        wire.put(text + "\r\n");
        Ok(())
    }

    /// What stands behind refusals: the front end, the time, the session.
    fn brackets(&self) -> String {
        format!("[{FRONT_END} {} {}]", Civil::at(SystemTime::now()).smtp_refusal(), self.id)
    }
}

/// Whether AUTH is offered, which needs TLS. A man in the middle invites it in clear.
fn offers_login(wire: &Wire) -> bool {
    wire.is_tls() || wire.service().has_fault(&ExchangeFault::StripStartTls)
}

/// The initial response if there is one, or what the client answers to the prompt.
async fn respond(wire: &mut Wire, initial: &[u8], prompt: &str) -> io::Result<Response> {
    if !initial.is_empty() {
        return Ok(Response::Given(Bytes::copy_from_slice(initial)));
    }
    wire.put(format!("334 {prompt}\r\n"));
    match wire.line().await? {
        // RFC 4954 4. What Exchange says is not known.
        Input::Line(line) if line == "*" => {
            wire.put("501 5.7.0 Authentication cancelled\r\n");
            Ok(Response::Unusable)
        }
        Input::Line(line) if line.len() <= LONGEST_RESPONSE => Ok(Response::Given(line)),
        Input::Line(_) => {
            wire.put(AUTH_TOO_LONG);
            Ok(Response::Unusable)
        }
        Input::Malformed => {
            wire.put("500 5.5.2 Syntax error\r\n");
            Ok(Response::Unusable)
        }
        Input::TooLong => {
            wire.put(AUTH_TOO_LONG);
            Ok(Response::End)
        }
        Input::End => Ok(Response::End),
    }
}

/// Sits out the [`ExchangeFault::Tarpit`]. What was answered before is sent before.
async fn tarpit(wire: &mut Wire) -> io::Result<()> {
    wire.flush().await?;
    let service = wire.service().clone();
    service.tarpit().await;
    Ok(())
}

/// In the greeting.
const HOST: &str = "PN4P287CA0064.outlook.office365.com";

/// The same machine in the brackets behind refusals.
const FRONT_END: &str = "PN4P287CA0064.INDP287.PROD.OUTLOOK.COM";

/// The machine behind it, which takes messages.
const SERVER: &str = "PN2P287MB0157.INDP287.PROD.OUTLOOK.COM";

/// 150 MiB, as SIZE says.
const LARGEST_MESSAGE: usize = 157_286_400;

/// Octets of a command without CRLF. It is known that long tokens do not fit, but not where the limit is: this is
/// four times RFC 5321's, so that a short token fits.
const LONGEST_COMMAND: usize = 2048 - 2;

/// RFC 4954 4: the line with a response in base64.
const LONGEST_RESPONSE: usize = 12_288 - 2;

/// RFC 4954 6. What Exchange says is not known.
const AUTH_TOO_LONG: &str = "500 5.5.6 Authentication Exchange line is too long\r\n";

/// RFC 5321 4.5.3.1.9. What Exchange says is not known.
const TOO_LONG: &str = "500 5.5.2 Line too long\r\n";

const TOO_LARGE: &str = "552 5.3.4 Message size exceeds fixed maximum message size\r\n";

const INVALID_ARGUMENTS: &str = "501 5.5.4 Invalid arguments\r\n";

/// RFC 5321 4.1.1.11. What Exchange says is not known.
const UNKNOWN_PARAMETER: &str = "555 5.5.4 Unrecognized parameter\r\n";

/// What Exchange says to STARTTLS and AUTH given twice, and to DATA behind BDAT, is not known.
const BAD_SEQUENCE: &str = "503 5.5.1 Bad sequence of commands\r\n";

const NEED_HELLO: &str = "503 5.5.2 Send hello first\r\n";

const NEED_MAIL: &str = "503 5.5.2 Need mail command\r\n";

const NEED_RECIPIENT: &str = "503 5.5.2 Need rcpt command\r\n";

const HELP: &str = "214-This server supports the following commands:\r\n\
                    214 HELO EHLO STARTTLS RCPT DATA RSET MAIL QUIT HELP AUTH BDAT\r\n";

//! Which SASL mechanisms are spoken? PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login) by clients, XOAUTH2 towards
//! the upstream. Their base64 is the same in every protocol; the lines around it are the protocol's.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD};

use crate::secret::Secret;

use super::{Credential, Mailbox, Username};

/// The mechanisms that clients may use, as they are advertised.
pub const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// A mechanism that clients may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// One message: authorization identity, user name, password.
    Plain,
    /// Two prompts: user name, password.
    Login,
}

impl Mechanism {
    /// The mechanism of that name, in any letter case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        MECHANISMS.into_iter().find(|mechanism| mechanism.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }
}

/// An exchange in which the proxy is the server: which response is awaited.
#[derive(Debug, PartialEq, Eq)]
pub enum Exchange {
    /// PLAIN's only message.
    ExpectMessage,
    /// LOGIN's user name.
    ExpectUsername,
    /// LOGIN's password.
    ExpectPassword {
        /// Whose.
        username: Username,
    },
}

/// What comes next in an [`Exchange`].
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this challenge, in base64, and await the response to it.
    Challenge(&'static str, Exchange),
    /// The client has shown everything.
    Complete(Credential),
}

/// Why an exchange failed before there was a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// The client sent `*`.
    #[error("Authentication cancelled.")]
    Cancelled,
    /// A response that is no base64.
    #[error("That is not base64.")]
    NotBase64,
    /// A response that is not of the mechanism's form, or a user name with control characters.
    #[error("That is not a response of this mechanism.")]
    Malformed,
}

impl Exchange {
    /// Begins an exchange, with the initial response in base64 if the client sent one; `=` is an empty one (RFC 4959, 3;
    /// RFC 5034, 4). LOGIN's initial response is the user name.
    ///
    /// # Errors
    /// Of the initial response, as [`Exchange::respond`].
    pub fn begin(mechanism: Mechanism, initial_response: Option<&[u8]>) -> Result<Step, SaslError> {
        let exchange = match mechanism {
            Mechanism::Plain => Self::ExpectMessage,
            Mechanism::Login => Self::ExpectUsername,
        };
        match initial_response {
            Some(b"=") => exchange.take(&[]),
            Some(response) => exchange.respond(response),
            None => Ok(Step::Challenge(exchange.prompt(), exchange)),
        }
    }

    /// Takes the client's response: one line of base64, or `*` to cancel.
    ///
    /// # Errors
    /// Cancelled, no base64, or not of the mechanism's form.
    pub fn respond(self, line: &[u8]) -> Result<Step, SaslError> {
        if line == b"*" {
            return Err(SaslError::Cancelled);
        }
        let response = LENIENT.decode(line).map(Secret::new).map_err(|_| SaslError::NotBase64)?;
        self.take(response.expose())
    }

    fn take(self, response: &[u8]) -> Result<Step, SaslError> {
        match self {
            Self::ExpectMessage => plain_message(response).map(Step::Complete),
            Self::ExpectUsername => {
                let next = Self::ExpectPassword { username: username(response)? };
                Ok(Step::Challenge(next.prompt(), next))
            }
            Self::ExpectPassword { username } => Ok(Step::Complete(Credential {
                username,
                password: Secret::new(response.to_vec()),
                authorization_id: None,
            })),
        }
    }

    /// LOGIN's prompts are exactly `Username:` and `Password:`: some devices leave at anything else.
    fn prompt(&self) -> &'static str {
        match self {
            Self::ExpectMessage => "",
            Self::ExpectUsername => "VXNlcm5hbWU6",
            Self::ExpectPassword { .. } => "UGFzc3dvcmQ6",
        }
    }
}

/// `message = [authzid] UTF8NUL authcid UTF8NUL passwd` (RFC 4616, 2). The password is taken as octets: what is no UTF-8
/// then simply has to match.
fn plain_message(message: &[u8]) -> Result<Credential, SaslError> {
    let mut fields = message.splitn(3, |&octet| octet == 0);
    let (Some(authzid), Some(authcid), Some(passwd)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(SaslError::Malformed);
    };
    if passwd.contains(&0) {
        return Err(SaslError::Malformed);
    }
    Ok(Credential {
        username: username(authcid)?,
        password: Secret::new(passwd.to_vec()),
        authorization_id: if authzid.is_empty() { None } else { Some(username(authzid)?) },
    })
}

fn username(octets: &[u8]) -> Result<Username, SaslError> {
    Username::from_wire(octets).map_err(|_| SaslError::Malformed)
}

/// Some clients leave the padding away or the last bits set; what they mean is clear.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The client's side of XOAUTH2: whose mailbox is to be opened, with which token.
#[derive(Debug)]
pub struct XOAuth2 {
    message: Secret<Vec<u8>>,
}

impl XOAuth2 {
    /// `base64("user=" mailbox ^A "auth=Bearer " access_token ^A ^A)`. Neither can hold a control character: a
    /// [`Mailbox`] by its type, a token because what is none is never taken from the identity provider.
    pub fn new(mailbox: &Mailbox, access_token: &Secret<String>) -> Self {
        let plain = Secret::new(format!("user={mailbox}\x01auth=Bearer {}\x01\x01", access_token.expose()));
        Self { message: Secret::new(STANDARD.encode(plain.expose()).into_bytes()) }
    }

    /// The message in base64 between `before` and CRLF.
    pub(crate) fn line(&self, before: &[u8]) -> Secret<Vec<u8>> {
        Secret::new([before, self.message.expose(), b"\r\n"].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::{Exchange, Mechanism, SaslError, Step, XOAuth2};
    use crate::protocol::{Credential, Mailbox, Username};
    use crate::secret::Secret;

    fn credential(username: &str, password: &[u8], authorization_id: Option<&str>) -> Step {
        let name = |name| Username::parse(name).expect("well-formed");
        Step::Complete(Credential {
            username: name(username),
            password: Secret::new(password.to_vec()),
            authorization_id: authorization_id.map(name),
        })
    }

    /// The test vector that Microsoft publishes with XOAUTH2.
    #[test]
    fn xoauth2_known_answer() {
        let mailbox = Mailbox::parse("test@contoso.onmicrosoft.com").expect("well-formed");
        let token = Secret::new(String::from("EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA"));
        let line = XOAuth2::new(&mailbox, &token).line(b"A AUTHENTICATE XOAUTH2 ");
        assert_eq!(
            line.expose(),
            b"A AUTHENTICATE XOAUTH2 dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVyIEV3QkFBbDNCQUFVRkZwVUFv\
              N0ozVmUwYmpMQldaV0NjbFJDM0VvQUEBAQ==\r\n"
        );
    }

    /// RFC 4616, 4: `tim tanstaaftanstaaf` without and `Ursel Kurt xipj3plmq` with an authorization identity.
    #[test]
    fn plain_known_answers() {
        let begin = |response: &[u8]| Exchange::begin(Mechanism::Plain, Some(response));
        assert_eq!(begin(b"AHRpbQB0YW5zdGFhZnRhbnN0YWFm"), Ok(credential("tim", b"tanstaaftanstaaf", None)));
        assert_eq!(begin(b"VXJzZWwAS3VydAB4aXBqM3BsbXE="), Ok(credential("kurt", b"xipj3plmq", Some("ursel"))));
        assert_eq!(begin(b"VXJzZWwAS3VydAB4aXBqM3BsbXE"), begin(b"VXJzZWwAS3VydAB4aXBqM3BsbXE="), "no padding");
    }

    #[test]
    fn login_takes_two_steps_or_one() {
        let Ok(Step::Challenge("VXNlcm5hbWU6", exchange)) = Exchange::begin(Mechanism::Login, None) else {
            panic!("the user name is asked for");
        };
        let Ok(Step::Challenge("UGFzc3dvcmQ6", exchange)) = exchange.respond(b"dGlt") else {
            panic!("the password is asked for");
        };
        assert_eq!(exchange.respond(b"cMQ="), Ok(credential("tim", b"p\xc4", None)), "an octet that is no UTF-8");
        assert!(matches!(Exchange::begin(Mechanism::Login, Some(b"dGlt")), Ok(Step::Challenge("UGFzc3dvcmQ6", _))));
    }

    #[test]
    fn what_is_no_response_is_refused() {
        let begin = |mechanism, response: &[u8]| Exchange::begin(mechanism, Some(response));
        assert_eq!(begin(Mechanism::Plain, b"*"), Err(SaslError::Cancelled));
        assert_eq!(begin(Mechanism::Plain, b"!!!!"), Err(SaslError::NotBase64));
        assert_eq!(begin(Mechanism::Plain, b"="), Err(SaslError::Malformed));
        assert_eq!(begin(Mechanism::Plain, b"dGlt"), Err(SaslError::Malformed), "no NUL in it");
        assert_eq!(begin(Mechanism::Plain, b"AHRpbQBhAGI="), Err(SaslError::Malformed), "NUL in the password");
        assert_eq!(begin(Mechanism::Plain, b"AHRpAW0AYQ=="), Err(SaslError::Malformed), "^A in the user name");
        assert_eq!(begin(Mechanism::Login, b"="), Err(SaslError::Malformed), "no user name");
    }
}

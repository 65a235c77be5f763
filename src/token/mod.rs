//! Where does an access token come from? From a [`TokenSource`], one for each application: it keeps the token, renews it,
//! and asks the identity provider once however many ask it.

mod cache;
pub mod entra;

pub use cache::{DROP_INTERVAL, REFUSAL_HOLDS, RENEW_BELOW, Taken, TokenSource};

use std::time::{Duration, SystemTime};

use crate::secret::Secret;

/// A bearer token and its end.
#[derive(Debug)]
pub struct AccessToken {
    value: Secret<String>,
    expires: SystemTime,
}

impl AccessToken {
    /// A token that holds until `expires`, by the wall clock: a monotonic clock stands still while a laptop sleeps.
    ///
    /// # Errors
    /// The text cannot stand in a bearer credential (RFC 6750, 2.1): it would break the XOAUTH2 string.
    pub fn new(value: String, expires: SystemTime) -> Result<Self, NotAToken> {
        let value = Secret::new(value);
        let allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~+/=".contains(&octet);
        if value.expose().is_empty() || !value.expose().bytes().all(allowed) {
            return Err(NotAToken);
        }
        Ok(Self { value, expires })
    }

    /// The token itself.
    pub fn value(&self) -> &Secret<String> {
        &self.value
    }

    /// How long it holds from `now` on; zero when it has expired.
    pub fn remaining(&self, now: SystemTime) -> Duration {
        self.expires.duration_since(now).unwrap_or_default()
    }
}

/// The text holds characters that no bearer token holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access token is empty or holds characters that no bearer token holds")]
pub struct NotAToken;

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The identity provider refuses the application. Asking again changes nothing; an administrator can.
    #[error("the identity provider refuses the application: {description} (correlation id {correlation_id}){}", remedy.map(|remedy| format!(" -- {remedy}")).unwrap_or_default())]
    Rejected {
        /// In its own words.
        description: String,
        /// What it calls this request in its own logs.
        correlation_id: String,
        /// What the administrator is to do, where the code is known.
        remedy: Option<&'static str>,
    },
    /// The credential cannot be read.
    #[error("the client secret cannot be read from {path}: {reason}")]
    Credential {
        /// From which file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The identity provider has trouble or wants to be asked later.
    #[error("the identity provider cannot answer now: {reason}")]
    Unavailable {
        /// Status and description.
        reason: String,
    },
    /// No answer was had.
    #[error("the identity provider {endpoint} cannot be reached: {reason}")]
    Unreachable {
        /// The token endpoint.
        endpoint: String,
        /// The chain of errors.
        reason: String,
    },
    /// An answer that is not that of a token endpoint.
    #[error("{endpoint} does not answer like a token endpoint: {reason}")]
    Malformed {
        /// The token endpoint.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl TokenError {
    /// Whether the same request may succeed later without anybody doing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Rejected { .. } | Self::Credential { .. } => false,
            Self::Unavailable { .. } | Self::Unreachable { .. } | Self::Malformed { .. } => true,
        }
    }
}

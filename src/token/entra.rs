//! How is a token asked for? The client credentials grant of Microsoft Entra ID's v2.0 endpoint (RFC 6749, 4.4), and what
//! its errors mean to an administrator.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::{StatusCode, header, redirect};
use serde::Deserialize;

use crate::printable::{chain, printable, with_trust_advice};
use crate::secret::Secret;

use super::cache::Fetch;
use super::{AccessToken, TokenError, TokenSource};

/// One Entra application: its key in the configuration, and what it takes to get a token for it.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its key in the configuration: its name in logs.
    pub name: String,
    /// The URL of the token endpoint.
    pub token_endpoint: String,
    /// The application's id.
    pub client_id: String,
    /// What proves that it is the application.
    pub client_secret: ClientSecret,
    /// What the token is for.
    pub scope: String,
}

/// Where the client secret comes from.
#[derive(Clone, Debug)]
pub enum ClientSecret {
    /// From the configuration or the environment.
    Given(Secret<String>),
    /// From a file, read again for each request: a new secret needs no restart.
    File(PathBuf),
}

impl ClientSecret {
    /// The secret as it is now, without the line end that editors put behind it.
    ///
    /// # Errors
    /// The file cannot be read, is no text or is empty.
    pub fn read(&self) -> Result<Secret<String>, TokenError> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let failed = |reason: String| TokenError::Credential { path: path.display().to_string(), reason };
                let text = std::fs::read_to_string(path).map(Secret::new).map_err(|error| failed(error.to_string()))?;
                // Windows editors put a byte order mark in front.
                match text.expose().trim_start_matches('\u{feff}').trim() {
                    "" => Err(failed("it is empty".into())),
                    secret => Ok(Secret::new(secret.to_owned())),
                }
            }
        }
    }
}

/// The token source of an application, which trusts what `tls` trusts.
///
/// # Errors
/// The HTTP client cannot be set up.
pub fn token_source(application: Application, tls: &Arc<rustls::ClientConfig>) -> Result<TokenSource, reqwest::Error> {
    let mut http = reqwest::Client::builder()
        .tls_backend_preconfigured(rustls::ClientConfig::clone(tls))
        .timeout(REQUEST_TIMEOUT)
        // A token endpoint that redirects is none: the secret would follow.
        .redirect(redirect::Policy::none())
        .user_agent(concat!("xoauth2-proxy/", env!("CARGO_PKG_VERSION")))
        // Requests are an hour apart.
        .pool_max_idle_per_host(0);
    if application.token_endpoint.starts_with("http://") {
        // In clear the secret goes to this machine alone, so it must not go by way of another one.
        http = http.no_proxy();
    }
    let http = http.build()?;
    let name = application.name.clone();
    Ok(TokenSource::new(name, Box::new(Entra { application, http })))
}

struct Entra {
    application: Application,
    http: reqwest::Client,
}

impl Fetch for Entra {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<AccessToken, TokenError>> + Send + '_>> {
        Box::pin(self.request())
    }
}

impl Entra {
    async fn request(&self) -> Result<AccessToken, TokenError> {
        let application = &self.application;
        let secret = application.client_secret.read()?;
        let form = [
            ("client_id", application.client_id.as_str()),
            ("scope", &application.scope),
            ("client_secret", secret.expose()),
            ("grant_type", "client_credentials"),
        ];
        let asked = SystemTime::now();
        let mut response = self
            .http
            .post(&application.token_endpoint)
            .header(header::ACCEPT, "application/json")
            .form(&form)
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER).map(|value| printable(value.as_bytes()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(self.malformed("the answer is too long"));
            }
        }
        let body = Secret::new(body);
        if status.is_success() {
            self.granted(body.expose(), asked)
        } else {
            Err(self.refused(status, retry_after, body.expose()))
        }
    }

    fn granted(&self, body: &[u8], asked: SystemTime) -> Result<AccessToken, TokenError> {
        let granted: Granted =
            serde_json::from_slice(body).map_err(|_| self.malformed("status 200, but no access_token in JSON"))?;
        let lifetime = match granted.expires_in {
            Some(lifetime) => lifetime.seconds().ok_or_else(|| self.malformed("expires_in is no sensible number"))?,
            None => LIFETIME_UNSAID,
        };
        AccessToken::new(granted.access_token, asked + lifetime).map_err(|error| self.malformed(&error.to_string()))
    }

    fn refused(&self, status: StatusCode, retry_after: Option<String>, body: &[u8]) -> TokenError {
        let error: ErrorAnswer = match serde_json::from_slice(body) {
            Ok(error) => error,
            Err(_) if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                ErrorAnswer { error: String::from("no description"), ..ErrorAnswer::default() }
            }
            Err(_) => return self.malformed(&format!("status {}, and no error in JSON", status.as_u16())),
        };
        let codes: Vec<u32> = error.error_codes.iter().filter_map(|code| u32::try_from(code.as_u64()?).ok()).collect();
        let known = codes.iter().find_map(|code| AADSTS.iter().find(|known| known.codes.contains(code)));
        // The first line says it; trace id, correlation id and time follow on further ones.
        let words = error.error_description.as_deref().unwrap_or(&error.error);
        let first_line = words.split(['\r', '\n']).next().unwrap_or_default();
        let description = printable(first_line.split(" Trace ID:").next().unwrap_or_default().as_bytes());
        let passes = status == StatusCode::TOO_MANY_REQUESTS
            || status.is_server_error()
            || known.is_some_and(|known| known.passes)
            || ["temporarily_unavailable", "server_error"].contains(&error.error.as_str());
        if passes {
            let when = retry_after.map(|after| format!(", retry after {after}")).unwrap_or_default();
            return TokenError::Unavailable { reason: format!("status {}{when}: {description}", status.as_u16()) };
        }
        TokenError::Rejected {
            description,
            correlation_id: error.correlation_id.map_or_else(|| "none".into(), |id| printable(id.as_bytes())),
            remedy: known.map(|known| known.remedy),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> TokenError {
        let reason = if error.is_timeout() {
            format!("no answer within {} s", REQUEST_TIMEOUT.as_secs())
        } else {
            with_trust_advice(chain(&error.without_url()))
        };
        TokenError::Unreachable { endpoint: self.application.token_endpoint.clone(), reason }
    }

    fn malformed(&self, reason: &str) -> TokenError {
        TokenError::Malformed { endpoint: self.application.token_endpoint.clone(), reason: reason.to_owned() }
    }
}

/// From the connection to the last byte of the answer. Clients wait for it when there is no token yet.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the answer does not say (RFC 6749, 5.1 only recommends it): short, for a token kept too long fails logins.
const LIFETIME_UNSAID: Duration = Duration::from_secs(5 * 60);

/// Octets. A token is of 2 to 5 KB.
const MAX_ANSWER: usize = 256 * 1024;

/// RFC 6749, 5.1.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<Lifetime>,
}

/// Some servers send the number as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lifetime {
    Number(f64),
    Text(String),
}

impl Lifetime {
    /// Between nothing and a week: Entra gives 60 to 90 minutes, or with CAE 20 to 28 hours.
    fn seconds(&self) -> Option<Duration> {
        const LONGEST: f64 = 7.0 * 24.0 * 3600.0;
        let seconds = match self {
            Self::Number(number) => *number,
            Self::Text(text) => text.parse().ok()?,
        };
        (seconds > 0.0 && seconds <= LONGEST).then(|| Duration::from_secs_f64(seconds))
    }
}

/// RFC 6749, 5.2, and what Entra adds to it.
#[derive(Default, Deserialize)]
struct ErrorAnswer {
    error: String,
    error_description: Option<String>,
    /// Numbers in Entra's answers; other servers have their own ideas.
    #[serde(default, deserialize_with = "any_list")]
    error_codes: Vec<serde_json::Value>,
    correlation_id: Option<String>,
}

fn any_list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<serde_json::Value>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_array().cloned().unwrap_or_default())
}

/// What an AADSTS error code means.
struct Known {
    codes: &'static [u32],
    /// It goes away by itself.
    passes: bool,
    remedy: &'static str,
}

/// Microsoft's error codes that an application without a user meets, and what mends them.
const AADSTS: &[Known] = &[
    rejected(
        &[7_000_215],
        "the client secret is wrong: often the Secret ID was copied instead of its Value; a new secret takes a minute or two to work",
    ),
    rejected(
        &[7_000_222],
        "the client secret has expired: create a new one under Certificates & secrets of the app registration",
    ),
    rejected(
        &[7_000_216, 7_000_218],
        "no client secret was sent: set client_secret, client_secret_file or client_secret_env of the app",
    ),
    rejected(
        &[700_025],
        "the application is a public client, which may send no secret: use an app registration for a confidential client",
    ),
    rejected(
        &[7_000_112],
        "the application is disabled: enable sign-in under Properties of the enterprise application",
    ),
    rejected(
        &[700_016],
        "the application is not known in this tenant: client_id or tenant_id is wrong, or admin consent was never granted",
    ),
    rejected(
        &[90_002, 900_023],
        "the tenant is not known: tenant_id is mistyped, or authority is that of another national cloud",
    ),
    rejected(
        &[1_002_012, 70_011],
        "the scope is wrong: it has to end in /.default, as in https://outlook.office365.com/.default",
    ),
    rejected(
        &[500_011],
        "the scope's resource is not known in this tenant: scope is wrong, belongs to another national cloud, or the tenant has no Exchange Online",
    ),
    rejected(
        &[65_001, 90_094],
        "consent is missing: press 'Grant admin consent' under API permissions of the app registration",
    ),
    rejected(&[50_034], "there is no such account in the directory"),
    rejected(
        &[53_003, 530_034],
        "a Conditional Access policy blocks the application: allow the address that this proxy reaches Microsoft from",
    ),
    rejected(&[9_001_023, 50_194], "tenant_id has to be the tenant's own id or domain, not common or organizations"),
    passing(&[50_196], "too many requests in a loop: wait some minutes"),
    passing(&[90_006, 90_024, 90_033, 90_055], "Microsoft has a passing trouble"),
];

const fn rejected(codes: &'static [u32], remedy: &'static str) -> Known {
    Known { codes, passes: false, remedy }
}

const fn passing(codes: &'static [u32], remedy: &'static str) -> Known {
    Known { codes, passes: true, remedy }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use reqwest::StatusCode;

    use super::{Application, ClientSecret, Entra};
    use crate::secret::Secret;
    use crate::token::TokenError;

    fn entra() -> Entra {
        let application = Application {
            name: "contoso".into(),
            token_endpoint: "https://login.example/t/oauth2/v2.0/token".into(),
            client_id: "66666666-7777-8888-9999-000000000000".into(),
            client_secret: ClientSecret::Given(Secret::new("hunter2".into())),
            scope: "https://outlook.office365.com/.default".into(),
        };
        let tls = crate::tls::client_config(None).expect("the operating system has roots");
        let http = reqwest::Client::builder().tls_backend_preconfigured((*tls).clone()).build().expect("a client");
        Entra { application, http }
    }

    #[test]
    fn a_token_holds_as_long_as_the_answer_says() {
        let asked = SystemTime::UNIX_EPOCH;
        for (lifetime, seconds) in [("3599", 3599), ("\"3599\"", 3599), ("86399", 86399), ("null", 300)] {
            let body = format!(r#"{{"token_type":"Bearer","expires_in":{lifetime},"access_token":"eyJ0.e30.c2ln"}}"#);
            let token = entra().granted(body.as_bytes(), asked).expect("a token");
            assert_eq!(token.remaining(asked), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn what_is_no_token_is_malformed() {
        for body in [
            "",
            "<html>Sign in to the hotel's network</html>",
            "{}",
            r#"{"access_token":"eyJ0","expires_in":-1}"#,
            r#"{"access_token":"eyJ0","expires_in":1e300}"#,
            r#"{"access_token":"eyJ0","expires_in":"soon"}"#,
            r#"{"access_token":"a\u0001auth=x","expires_in":3599}"#,
            r#"{"access_token":"","expires_in":3599}"#,
        ] {
            let error = entra().granted(body.as_bytes(), SystemTime::now()).expect_err(body);
            assert!(matches!(error, TokenError::Malformed { .. }) && error.is_temporary(), "{body}: {error}");
        }
    }

    #[test]
    fn an_aadsts_code_becomes_a_sentence_with_the_remedy() {
        let body = br#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided. Ensure the secret being sent is the value. Trace ID: 1 Correlation ID: 2 Timestamp: 3","error_codes":[7000215],"correlation_id":"0f1e"}"#;
        let error = entra().refused(StatusCode::UNAUTHORIZED, None, body);
        assert!(!error.is_temporary());
        let text = error.to_string();
        assert!(text.contains("AADSTS7000215: Invalid client secret provided."), "{text}");
        assert!(text.contains("0f1e") && text.contains("Secret ID was copied") && !text.contains("Trace ID"), "{text}");
    }

    #[test]
    fn trouble_that_passes_is_told_apart() {
        let json = br#"{"error":"invalid_request","error_description":"AADSTS90033: A transient error","error_codes":[90033]}"#;
        for (status, body, passes) in [
            (StatusCode::BAD_REQUEST, &json[..], true),
            (StatusCode::TOO_MANY_REQUESTS, b"", true),
            (StatusCode::SERVICE_UNAVAILABLE, b"<html>", true),
            (StatusCode::FOUND, b"", true),
            (StatusCode::BAD_REQUEST, br#"{"error":"unauthorized_client"}"#, false),
            (StatusCode::BAD_REQUEST, br#"{"error":"invalid_client","error_codes":["x"]}"#, false),
            (StatusCode::BAD_REQUEST, br#"{"error":"invalid_client","error_codes":null}"#, false),
        ] {
            let error = entra().refused(status, Some("7".into()), body);
            assert_eq!(error.is_temporary(), passes, "{status}: {error}");
        }
    }
}

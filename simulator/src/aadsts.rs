//! What Entra says when it refuses: the AADSTS codes with their OAuth error, HTTP status and text.
//!
//! Source: Microsoft's list "Microsoft Entra authentication and authorization error codes", and pasted answers. The
//! HTTP status is 401 for `invalid_client`, 400 for most others, 429 and 503 for what passes.

use crate::{clock, random};

/// One refusal, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: u32,
    /// What replaces `{}` in the text: the tenant, the client or the scope.
    pub(crate) subject: String,
}

impl Refusal {
    pub(crate) fn new(code: u32, subject: &str) -> Self {
        Self { code, subject: subject.to_owned() }
    }

    pub(crate) fn status(&self) -> u16 {
        self.entry().1
    }

    /// The whole answer's body, with new identifiers.
    pub(crate) fn body(&self, correlation_id: &str) -> serde_json::Value {
        let (error, _, text) = self.entry();
        let code = self.code;
        let text = text.replace("{}", &self.subject);
        let trace_id = random::guid();
        let timestamp = clock::Civil::at_unix(clock::now()).entra();
        serde_json::json!({
            "error": error,
            "error_description": format!(
                "AADSTS{code}: {text} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {timestamp}"
            ),
            "error_codes": [code],
            "timestamp": timestamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        })
    }

    /// OAuth error, HTTP status, text. A code that is not listed is an `invalid_request` without further words.
    fn entry(&self) -> (&'static str, u16, &'static str) {
        TABLE
            .iter()
            .find(|(code, ..)| *code == self.code)
            .map_or(("invalid_request", 400, "The request failed."), |(_, error, status, text)| (error, *status, text))
    }
}

type Entry = (u32, &'static str, u16, &'static str);

const TABLE: &[Entry] = &[
    // The client and its credential.
    (
        7_000_215,
        "invalid_client",
        401,
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not \
         the client secret ID, for a secret added to app '{}'.",
    ),
    (7_000_222, "invalid_client", 401, "The provided client secret keys for app '{}' are expired."),
    (
        7_000_216,
        "invalid_client",
        401,
        "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
    ),
    (
        7_000_218,
        "invalid_client",
        401,
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    ),
    (
        700_025,
        "invalid_client",
        401,
        "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.",
    ),
    (7_000_112, "unauthorized_client", 400, "Application '{}' is disabled."),
    (
        700_016,
        "unauthorized_client",
        400,
        "Application with identifier '{}' was not found in the directory. This can happen if the application has not \
         been installed by the administrator of the tenant or consented to by any user in the tenant. You may have \
         sent your authentication request to the wrong tenant.",
    ),
    (
        700_027,
        "invalid_client",
        401,
        "The certificate with identifier used to sign the client assertion is not registered on application.",
    ),
    (700_024, "invalid_client", 401, "Client assertion is not within its valid time range."),
    (
        700_211,
        "invalid_client",
        401,
        "No matching federated identity record found for presented assertion issuer '{}'.",
    ),
    (
        700_212,
        "invalid_client",
        401,
        "No matching federated identity record found for presented assertion audience '{}'.",
    ),
    (
        700_213,
        "invalid_client",
        401,
        "No matching federated identity record found for presented assertion subject '{}'.",
    ),
    // The tenant.
    (
        90_002,
        "invalid_request",
        400,
        "Tenant '{}' not found. Check to make sure you have the correct tenant ID and are signing into the correct \
         cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for \
         the tenant.",
    ),
    (
        900_023,
        "invalid_request",
        400,
        "Specified tenant identifier '{}' is neither a valid DNS name, nor a valid external domain.",
    ),
    (
        9_001_023,
        "invalid_request",
        400,
        "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or \
         tenant-specific endpoint.",
    ),
    (
        50_194,
        "invalid_request",
        400,
        "Application '{}' is not configured as a multi-tenant application. Usage of the /common endpoint is not \
         supported for such apps.",
    ),
    // The request.
    (900_144, "invalid_request", 400, "The request body must contain the following parameter: '{}'."),
    (900_561, "invalid_request", 400, "The endpoint only accepts POST requests. Received a {} request."),
    (70_003, "unsupported_grant_type", 400, "The app requested an unsupported grant type '{}'."),
    (
        70_011,
        "invalid_scope",
        400,
        "The provided request must include a 'scope' input parameter. The provided value for the input parameter \
         'scope' is not valid. The scope {} is not valid.",
    ),
    (
        1_002_012,
        "invalid_scope",
        400,
        "The provided value for scope {} is not valid. Client credential flows must have a scope value with /.default \
         suffixed to the resource identifier (application ID URI).",
    ),
    (
        500_011,
        "invalid_resource",
        400,
        "The resource principal named {} was not found in the tenant. This can happen if the application has not been \
         installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent \
         your authentication request to the wrong tenant.",
    ),
    (
        50_196,
        "invalid_request",
        400,
        "The server terminated an operation because it encountered a client request loop.",
    ),
    // Consent, accounts and policies.
    (65_001, "invalid_grant", 400, "The user or administrator has not consented to use the application with ID '{}'."),
    (90_094, "invalid_grant", 400, "Admin consent is required."),
    (50_034, "invalid_grant", 400, "The user account does not exist in the directory."),
    (
        50_076,
        "invalid_grant",
        400,
        "Due to a configuration change made by your administrator, or because you moved to a new location, you must \
         use multi-factor authentication.",
    ),
    (
        50_079,
        "invalid_grant",
        400,
        "Due to a configuration change made by your administrator, or because you moved to a new location, you must \
         enroll in multi-factor authentication.",
    ),
    (
        50_173,
        "invalid_grant",
        400,
        "The provided grant has expired due to it being revoked, a fresh auth token is needed.",
    ),
    (700_082, "invalid_grant", 400, "The refresh token has expired due to inactivity."),
    (70_008, "invalid_grant", 400, "The provided authorization code or refresh token has expired due to inactivity."),
    (
        70_043,
        "invalid_grant",
        400,
        "The refresh token has expired or is invalid due to sign-in frequency checks by conditional access.",
    ),
    (
        53_003,
        "invalid_grant",
        400,
        "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
    ),
    (530_034, "invalid_grant", 400, "A delegated administrator was blocked from accessing the tenant."),
    // What passes.
    (90_006, "temporarily_unavailable", 503, "A transient error has occurred. Please try again."),
    (
        90_024,
        "temporarily_unavailable",
        503,
        "Request budget exceeded - A transient error has occurred. Please try again.",
    ),
    (90_033, "temporarily_unavailable", 503, "A transient error has occurred. Please try again."),
    (90_055, "temporarily_unavailable", 429, "The tenant is throttled because of too many incoming requests."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_form_of_entra() {
        let body = Refusal::new(7_000_215, "11111111-2222-3333-4444-555555555555").body("cid");
        let description = body["error_description"].as_str().unwrap();
        assert!(description.starts_with("AADSTS7000215: Invalid client secret provided. "));
        assert!(description.contains(" Trace ID: ") && description.contains(" Correlation ID: cid Timestamp: 20"));
        assert_eq!(body["error"], "invalid_client");
        assert_eq!(body["error_codes"], serde_json::json!([7_000_215]));
        assert_eq!(body["error_uri"], "https://login.microsoftonline.com/error?code=7000215");
    }

    #[test]
    fn no_code_is_listed_twice() {
        for (index, (code, ..)) in TABLE.iter().enumerate() {
            assert!(TABLE[index + 1..].iter().all(|(other, ..)| other != code), "{code}");
        }
    }

    #[test]
    fn an_unknown_code_is_still_an_answer() {
        let refusal = Refusal::new(12_345, "");
        assert_eq!(refusal.status(), 400);
        assert_eq!(refusal.body("c")["error_codes"], serde_json::json!([12_345]));
    }
}

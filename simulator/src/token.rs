//! Access tokens: how Entra signs them, and what Exchange asks of them (RFC 7519, RS256 of RFC 7518).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize};
use serde::Deserialize;

use crate::random;

/// The three protocols of a mailbox; each has a role of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IMAP4rev1, role `IMAP.AccessAsApp`.
    Imap,
    /// POP3, role `POP.AccessAsApp`.
    Pop3,
    /// SMTP submission, role `SMTP.SendAsApp`.
    Smtp,
}

impl Protocol {
    /// The application role that a token must hold.
    pub const fn role(self) -> &'static str {
        match self {
            Self::Imap => "IMAP.AccessAsApp",
            Self::Pop3 => "POP.AccessAsApp",
            Self::Smtp => "SMTP.SendAsApp",
        }
    }
}

/// What a mail server needs to trust the tokens of one [`Entra`](crate::Entra). Cheap to clone.
#[derive(Clone)]
pub struct TokenVerifier {
    key: Arc<DecodingKey>,
}

impl TokenVerifier {
    /// Checks signature, `exp`, `nbf`, `aud` and the role for the protocol, and returns the `oid`: the object that
    /// mailbox permissions are given to. Why a token fails is not told: Exchange does not tell either.
    pub fn object_id(&self, token: &str, protocol: Protocol) -> Option<String> {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_audience(&AUDIENCES);
        validation.set_required_spec_claims(&["exp", "aud"]);
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &validation).ok()?.claims;
        claims.roles.iter().any(|role| role == protocol.role()).then_some(claims.oid)
    }
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenVerifier").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Claims {
    oid: String,
    #[serde(default)]
    roles: Vec<String>,
}

/// Entra's signing key: RSA 2048, made once.
pub(crate) struct SigningKey {
    key: EncodingKey,
    /// PKCS #1 `RSAPublicKey`.
    public: Vec<u8>,
    pub(crate) public_pem: String,
    /// 20 octets in base64url, as the SHA-1 thumbprint of a certificate would be.
    pub(crate) id: String,
}

impl SigningKey {
    pub(crate) fn generate() -> Self {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("RSA keys can be made");
        Self {
            key: EncodingKey::from_rsa_der(&pair.serialized_der()[PKCS8_HEADER..]),
            public: pair.der_bytes().to_vec(),
            public_pem: pair.public_key_pem(),
            id: random::base64url::<20>(),
        }
    }

    pub(crate) fn sign(&self, claims: &serde_json::Value) -> String {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.id.clone());
        header.x5t = Some(self.id.clone());
        jsonwebtoken::encode(&header, claims, &self.key).expect("JSON can be encoded, and the key signs RS256")
    }

    pub(crate) fn verifier(&self) -> TokenVerifier {
        TokenVerifier { key: Arc::new(DecodingKey::from_rsa_der(&self.public)) }
    }

    /// RFC 7517, as Entra publishes it, without the certificate chain.
    pub(crate) fn jwk(&self, issuer: &str) -> serde_json::Value {
        serde_json::json!({
            "kty": "RSA",
            "use": "sig",
            "kid": self.id,
            "x5t": self.id,
            "n": URL_SAFE_NO_PAD.encode(&self.public[MODULUS]),
            "e": "AQAB",
            "issuer": issuer,
        })
    }
}

/// The identifiers of Exchange Online as a resource.
pub(crate) const AUDIENCES: [&str; 4] = [
    "https://outlook.office365.com",
    "https://outlook.office.com",
    "https://ps.outlook.com",
    "00000002-0000-0ff1-ce00-000000000000",
];

/// What RFC 5958 puts ahead of an RSA key of 2048 bits: SEQUENCE, version, `rsaEncryption`, OCTET STRING. The signer
/// wants the bare PKCS #1 key behind it.
const PKCS8_HEADER: usize = 26;

/// Where the 256 octets of the modulus stand in an `RSAPublicKey`: behind SEQUENCE (4), INTEGER (4) and a zero.
const MODULUS: std::ops::Range<usize> = 9..265;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use serde_json::{Value, json};

    fn claims() -> Value {
        json!({
            "aud": "https://outlook.office365.com", "oid": "object", "nbf": clock::now() - 300,
            "exp": clock::now() + 3600, "roles": ["IMAP.AccessAsApp"],
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[name] = value;
        claims
    }

    #[test]
    fn a_good_token_names_its_object() {
        let key = SigningKey::generate();
        let token = key.sign(&claims());
        assert_eq!(key.verifier().object_id(&token, Protocol::Imap).as_deref(), Some("object"));
        assert_eq!(key.verifier().object_id(&token, Protocol::Pop3), None);
        assert_eq!(key.verifier().object_id(&token, Protocol::Smtp), None);
        for audience in AUDIENCES {
            let token = key.sign(&with("aud", json!(audience)));
            assert!(key.verifier().object_id(&token, Protocol::Imap).is_some(), "{audience}");
        }
    }

    #[test]
    fn what_exchange_does_not_take() {
        let key = SigningKey::generate();
        let refused = [
            with("aud", json!("https://graph.microsoft.com")),
            with("exp", json!(clock::now() - 1)),
            with("nbf", json!(clock::now() + 600)),
            with("roles", json!(["full_access_as_app"])),
            with("roles", json!([])),
            with("oid", Value::Null),
        ];
        for claims in refused {
            assert_eq!(key.verifier().object_id(&key.sign(&claims), Protocol::Imap), None, "{claims}");
        }
        assert_eq!(key.verifier().object_id("opaque", Protocol::Imap), None);
        assert_eq!(key.verifier().object_id(&SigningKey::generate().sign(&claims()), Protocol::Imap), None);
    }

    #[test]
    fn the_published_key_has_the_whole_modulus() {
        let jwk = SigningKey::generate().jwk("issuer");
        let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
        assert_eq!(modulus.len(), 256);
        assert!(modulus[0] >= 0x80 && modulus[255] % 2 == 1);
    }
}

//! Who vouches for the simulated servers: a certificate authority of our own.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::clock::Civil;

/// A certificate authority with an ECDSA P-256 key, made when the value is.
#[derive(Debug)]
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pem: String,
}

/// A server certificate and its key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate alone, as PEM; the CA's own is not in it.
    pub certificate_pem: String,
    /// The private key, PKCS #8 as PEM.
    pub key_pem: String,
}

impl TestCa {
    /// Makes a CA with a new key. It is valid from yesterday for 800 days.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("P-256 keys can always be made");
        let mut params = CertificateParams::default();
        params.distinguished_name = name("xoauth2-proxy simulator CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params);
        let issuer = CertifiedIssuer::self_signed(params, key).expect("the parameters are constants");
        let pem = issuer.pem();
        Self { issuer, pem }
    }

    /// The CA's certificate as PEM: what a client must trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server certificate for DNS names and IP addresses.
    ///
    /// # Panics
    /// If a name is neither an IP address nor ASCII.
    pub fn issue(&self, names: &[&str]) -> Issued {
        let (certificate, key) = self.sign(names);
        Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }

    /// A client that trusts this CA and nothing else.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("the CA's own certificate is well formed");
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    /// What the simulated servers present. `alpn` is empty where none is spoken.
    pub(crate) fn server_config(&self, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        let (certificate, key) = self.sign(&["localhost", "127.0.0.1"]);
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_no_client_auth()
            .with_single_cert(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .expect("the key was made for this certificate");
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    fn sign(&self, names: &[&str]) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("P-256 keys can always be made");
        let sans: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(sans).expect("names are ASCII or IP addresses");
        params.distinguished_name = name(names.first().copied().unwrap_or("localhost"));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters were checked above");
        (certificate, key)
    }
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// The one provider of cryptography; named here so that no process-wide default has to be installed.
pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Below 825 days, which is the most that Apple's verifier takes.
fn set_validity(params: &mut CertificateParams) {
    const DAY: Duration = Duration::from_secs(86_400);
    let now = std::time::SystemTime::now();
    let (from, until) = (Civil::at(now - DAY), Civil::at(now + 799 * DAY));
    params.not_before = rcgen::date_time_ymd(from.year, from.month, from.day);
    params.not_after = rcgen::date_time_ymd(until.year, until.month, until.day);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ca_and_what_it_issues_are_pem() {
        let ca = TestCa::new();
        let issued = ca.issue(&["mail.example.com", "127.0.0.1"]);
        assert!(ca.pem().starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(issued.certificate_pem.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(issued.key_pem.starts_with("-----BEGIN PRIVATE KEY-----"));
    }

    #[test]
    fn a_private_key_is_not_formatted() {
        let issued = TestCa::new().issue(&["localhost"]);
        assert!(!format!("{issued:?}").contains("PRIVATE KEY"));
    }
}

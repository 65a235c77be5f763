//! Whom do we trust, and as whom do we present ourselves? Client roots, and the listeners' certificates: given ones, or
//! one of our own that is made once and kept.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_platform_verifier::BuilderVerifierExt as _;

use crate::platform;

/// Where a listener's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// PEM files of the administrator.
    Files {
        /// The certificate and its chain.
        certificate: PathBuf,
        /// Its private key.
        private_key: PathBuf,
    },
    /// One of our own: made when there is none, kept and used again, so that clients can pin it.
    Own {
        /// Where it is kept.
        directory: PathBuf,
        /// The file's name, without its ending.
        stem: String,
        /// The DNS names and addresses that it is for.
        names: Vec<String>,
    },
}

/// A listener's TLS, and what a log line says of it.
#[derive(Debug)]
pub struct Identity {
    /// What accepts connections.
    pub config: Arc<ServerConfig>,
    /// SHA-256 over the certificate in DER, in hexadecimal with colons, as `openssl x509 -fingerprint -sha256` prints it.
    pub fingerprint: String,
    /// Whether the certificate was made just now.
    pub made: bool,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// A file holds no PEM of the kind that is asked for.
    #[error("{path}: no {what} in PEM format in it, or a damaged one")]
    Pem {
        /// Which file.
        path: String,
        /// What was looked for.
        what: &'static str,
    },
    /// Key and certificate do not go together, or are of a kind that is not supported.
    #[error("{path}: {source}")]
    Unusable {
        /// Which file.
        path: String,
        /// Why not.
        source: rustls::Error,
    },
    /// A certificate cannot be made.
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// The operating system's roots cannot be loaded.
    #[error("the operating system's root certificates cannot be loaded: {0}; install ca-certificates, or set ca_file")]
    Roots(rustls::Error),
}

impl TlsError {
    /// The file that it is about, if it is about one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::File { path, .. } | Self::Pem { path, .. } | Self::Unusable { path, .. } => Some(path),
            Self::Make(_) | Self::Roots(_) => None,
        }
    }
}

/// What we trust as a client: the certificates of `ca_file`, or without it what the operating system trusts.
///
/// # Errors
/// There are no roots to be had.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(TlsError::Roots)?;
    let config = match ca_file {
        None => builder.with_platform_verifier().map_err(TlsError::Roots)?.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|source| TlsError::Unusable { path: path.display().to_string(), source })?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    Ok(Arc::new(config))
}

/// What we are as a server.
///
/// # Errors
/// The files cannot be read or do not go together. Never does another certificate step in for one that cannot be read:
/// clients may have pinned it.
pub fn server_identity(certificate: &Certificate) -> Result<Identity, TlsError> {
    match certificate {
        Certificate::Files { certificate, private_key } => load(certificate, private_key, false),
        Certificate::Own { directory, stem, names } => {
            let certificate_path = directory.join(format!("{stem}.pem"));
            let key_path = directory.join(format!("{stem}.key"));
            let kept = certificate_path.try_exists().map_err(|source| file_error(&certificate_path, source))?;
            if kept && covers(&certificate_path, names)? {
                return load(&certificate_path, &key_path, false);
            }
            make(directory, &certificate_path, &key_path, names)?;
            load(&certificate_path, &key_path, true)
        }
    }
}

/// Looks for what would keep [`server_identity`] from an identity, and makes nothing.
///
/// # Errors
/// As [`server_identity`]'s.
pub fn inspect(certificate: &Certificate) -> Result<(), TlsError> {
    match certificate {
        Certificate::Files { certificate, private_key } => load(certificate, private_key, false).map(|_| ()),
        Certificate::Own { directory, stem, names } => {
            if directory.exists() && !directory.is_dir() {
                return Err(file_error(directory, io::ErrorKind::NotADirectory.into()));
            }
            let certificate_path = directory.join(format!("{stem}.pem"));
            if !certificate_path.exists() || !covers(&certificate_path, names)? {
                return Ok(());
            }
            load(&certificate_path, &directory.join(format!("{stem}.key")), false).map(|_| ())
        }
    }
}

fn load(certificate_path: &Path, key_path: &Path, made: bool) -> Result<Identity, TlsError> {
    let chain = certificates(certificate_path)?;
    let fingerprint = chain.first().map(fingerprint).unwrap_or_default();
    let key = std::fs::read(key_path).map(zeroize::Zeroizing::new).map_err(|source| file_error(key_path, source))?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| TlsError::Pem { path: key_path.display().to_string(), what: "private key" })?;
    let unusable = |source| TlsError::Unusable { path: certificate_path.display().to_string(), source };
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    Ok(Identity { config: Arc::new(config), fingerprint, made })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = std::fs::read(path).map_err(|source| file_error(path, source))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        // One that is damaged is not passed over: it may be the one that is needed.
        _ => Err(TlsError::Pem { path: path.display().to_string(), what: "certificate" }),
    }
}

/// Whether the certificate is for all these names.
fn covers(path: &Path, names: &[String]) -> Result<bool, TlsError> {
    let chain = certificates(path)?;
    let unusable = |source| TlsError::Unusable { path: path.display().to_string(), source };
    let certificate = ParsedCertificate::try_from(&chain[0]).map_err(unusable)?;
    Ok(names.iter().all(|name| {
        ServerName::try_from(name.as_str()).is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
    }))
}

/// Makes an ECDSA P-256 certificate for ten years: it is trusted by being pinned, not by its dates.
fn make(directory: &Path, certificate_path: &Path, key_path: &Path, names: &[String]) -> Result<(), TlsError> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "xoauth2-proxy");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let year = this_year();
    params.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
    params.not_after = rcgen::date_time_ymd(year + 10, 1, 1);
    let certificate = params.self_signed(&key)?;
    let key_pem = zeroize::Zeroizing::new(key.serialize_pem());
    platform::create_private_directory(directory).map_err(|source| file_error(directory, source))?;
    // The certificate comes last, and an old one goes first: where a certificate lies, its key lies too.
    if certificate_path.exists() {
        std::fs::remove_file(certificate_path).map_err(|source| file_error(certificate_path, source))?;
    }
    platform::write_private(key_path, key_pem.as_bytes()).map_err(|source| file_error(key_path, source))?;
    let pem = certificate.pem();
    platform::write_private(certificate_path, pem.as_bytes()).map_err(|source| file_error(certificate_path, source))
}

/// The year in UTC; around New Year possibly its neighbour.
fn this_year() -> i32 {
    const SECONDS: u64 = 31_556_952;
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    1970 + i32::try_from(since_1970.as_secs() / SECONDS).unwrap_or_default()
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = digest::digest(&digest::SHA256, certificate);
    digest.as_ref().iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(":")
}

/// The one TLS stack, named so that no other can be taken by default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn file_error(path: &Path, source: io::Error) -> TlsError {
    TlsError::File { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::{Certificate, TlsError, server_identity};

    fn own(directory: &std::path::Path, names: &[&str]) -> Certificate {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Certificate::Own { directory: directory.join("state"), stem: "listener-imap".into(), names }
    }

    #[test]
    fn f28_our_own_certificate_is_made_once_and_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = server_identity(&own(directory.path(), &["localhost", "127.0.0.1", "::1"])).expect("made");
        assert!(first.made);
        assert_eq!(first.fingerprint.len(), 32 * 3 - 1);
        let again = server_identity(&own(directory.path(), &["localhost", "127.0.0.1", "::1"])).expect("kept");
        assert!(!again.made);
        assert_eq!(first.fingerprint, again.fingerprint);
        let other = server_identity(&own(directory.path(), &["localhost", "mail.example.org"])).expect("made anew");
        assert!(other.made, "the old one was not for this name");
        assert_ne!(first.fingerprint, other.fingerprint);
        #[cfg(unix)]
        for name in ["listener-imap.pem", "listener-imap.key"] {
            use std::os::unix::fs::PermissionsExt as _;
            let metadata = std::fs::metadata(directory.path().join("state").join(name)).expect("written");
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn f28_no_other_certificate_steps_in_for_one_that_cannot_be_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let certificate = own(directory.path(), &["localhost"]);
        server_identity(&certificate).expect("made");
        let key = directory.path().join("state/listener-imap.key");
        std::fs::write(&key, "nonsense").expect("written");
        assert!(matches!(server_identity(&certificate), Err(TlsError::Pem { what: "private key", .. })));
        std::fs::remove_file(&key).expect("removed");
        assert!(matches!(server_identity(&certificate), Err(TlsError::File { .. })));
    }

    #[test]
    fn a_key_of_another_certificate_is_found_out() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["a", "b"] {
            server_identity(&own(&directory.path().join(name), &["localhost"])).expect("made");
        }
        let certificate = Certificate::Files {
            certificate: directory.path().join("a/state/listener-imap.pem"),
            private_key: directory.path().join("b/state/listener-imap.key"),
        };
        assert!(matches!(server_identity(&certificate), Err(TlsError::Unusable { .. })));
    }
}

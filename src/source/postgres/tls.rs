//! TLS to PostgreSQL with libpq's meaning of `sslmode`.
//!
//! In: [`ConnectOptions`]. Out: a rustls configuration for one attempt, and the hash that binds a SCRAM login to the
//! connection. Always: the handshake's signature is checked in every mode, so that channel binding proves something
//! even where the certificate is not checked; files are read at each attempt, so that renewed ones are found. Not here:
//! asking the server for TLS (`transport`). Start at [`client`]; [`ServerCheck`] says what is accepted.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{
    CertificateDer, IpAddr, Ipv4Addr, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode, oid::ObjectIdentifier};
use x509_cert::ext::pkix::{SubjectAltName, name::GeneralName};

use super::conninfo::{ConnectOptions, SslMode};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// A file cannot be read.
    #[error("{what} {path}: {problem}")]
    File {
        /// `sslrootcert`, `sslcert` or `sslkey`.
        what: &'static str,
        /// Where.
        path: String,
        /// What is wrong, without its content.
        problem: String,
    },
    /// Checks are asked for, and there is nothing to check against.
    #[error("the system has no root certificates")]
    NoRoots,
    /// Certificate and key do not fit, or their kind is not supported.
    #[error("the client certificate cannot be used: {0}")]
    Client(Error),
    /// The name cannot be in a certificate.
    #[error("{0:?} cannot be checked against a certificate: it is neither a DNS name nor an address")]
    Name(String),
    /// rustls does not accept what it is given.
    #[error("{0}")]
    Rustls(Error),
}

/// What is needed for one handshake.
#[derive(Debug)]
pub(super) struct Client {
    /// How to shake hands.
    pub(super) config: Arc<ClientConfig>,
    /// Whom to expect; also sent to the server if it is a DNS name.
    pub(super) name: ServerName<'static>,
}

/// Prepares a handshake with a host.
///
/// # Errors
/// Files that cannot be read, no root certificates, a name that no certificate can hold.
pub(super) fn client(options: &ConnectOptions, host: &str) -> Result<Client, TlsError> {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let check = ServerCheck::new(options, &provider)?;
    let name = match (ServerName::try_from(host.to_owned()), check.level) {
        (Ok(name), _) => name,
        (Err(_), Level::Name) => return Err(TlsError::Name(host.to_owned())),
        // The name is not compared with anything; an address keeps it out of the handshake as well.
        (Err(_), Level::Nothing | Level::Chain) => ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0; 4]))),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Rustls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(check));
    let mut config = match (&options.sslcert, &options.sslkey) {
        (Some(cert), Some(key)) => {
            let chain = certificates("sslcert", cert)?;
            builder.with_client_auth_cert(chain, private_key(key)?).map_err(TlsError::Client)?
        }
        _ => builder.with_no_client_auth(),
    };
    // PostgreSQL 17 and later answer to this; it keeps a server of another protocol from being mistaken for ours.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Client { config: Arc::new(config), name })
}

/// The hash that `tls-server-end-point` binds to (RFC 5929, section 4.1): that of the certificate's own signature, but
/// SHA-256 for MD5 and SHA-1. `None` for signatures without a hash of their own, such as Ed25519.
pub(super) fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let signed = Certificate::from_der(certificate).ok()?.signature_algorithm;
    let mut hash = signature_hash(signed.oid);
    if signed.oid == RSA_PSS {
        // RFC 4055, section 3.1: the hash is the field tagged 0, SHA-1 if it is left out.
        let fields = signed.parameters?;
        hash = match fields.value() {
            [0xa0, length, rest @ ..] => {
                let field = rest.get(..usize::from(*length))?;
                signature_hash(x509_cert::spki::AlgorithmIdentifierRef::from_der(field).ok()?.oid)
            }
            _ => Some(Hash::Sha256),
        };
    }
    Some(match hash? {
        Hash::Sha224 => Sha224::digest(certificate).to_vec(),
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    })
}

#[derive(Clone, Copy)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// The hash of a signature algorithm, or of a bare hash's name (RFC 5912).
fn signature_hash(algorithm: ObjectIdentifier) -> Option<Hash> {
    const NAMES: &[(&str, Hash)] = &[
        ("1.2.840.113549.1.1.4", Hash::Sha256),  // md5WithRSAEncryption
        ("1.2.840.113549.1.1.5", Hash::Sha256),  // sha1WithRSAEncryption
        ("1.2.840.10045.4.1", Hash::Sha256),     // ecdsa-with-SHA1
        ("1.3.14.3.2.26", Hash::Sha256),         // id-sha1
        ("1.2.840.113549.1.1.14", Hash::Sha224), // sha224WithRSAEncryption
        ("1.2.840.10045.4.3.1", Hash::Sha224),   // ecdsa-with-SHA224
        ("1.2.840.113549.1.1.11", Hash::Sha256), // sha256WithRSAEncryption
        ("1.2.840.10045.4.3.2", Hash::Sha256),   // ecdsa-with-SHA256
        ("2.16.840.1.101.3.4.2.1", Hash::Sha256),
        ("1.2.840.113549.1.1.12", Hash::Sha384), // sha384WithRSAEncryption
        ("1.2.840.10045.4.3.3", Hash::Sha384),   // ecdsa-with-SHA384
        ("2.16.840.1.101.3.4.2.2", Hash::Sha384),
        ("1.2.840.113549.1.1.13", Hash::Sha512), // sha512WithRSAEncryption
        ("1.2.840.10045.4.3.4", Hash::Sha512),   // ecdsa-with-SHA512
        ("2.16.840.1.101.3.4.2.3", Hash::Sha512),
    ];
    let algorithm = algorithm.to_string();
    NAMES.iter().find(|(oid, _)| *oid == algorithm).map(|(_, hash)| *hash)
}

/// How much of a certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// Nothing but that the server holds its key.
    Nothing,
    /// That a trusted root has signed it.
    Chain,
    /// That, and that it is the host's.
    Name,
}

/// Decides about the server's certificate as libpq would.
///
/// Differs from rustls in three ways that libpq's users rely on: a self-signed certificate is accepted if it is itself
/// among the roots (the usual `openssl req -x509` makes one that rustls refuses as a server's), a certificate without
/// alternative names is compared by its common name, and both checks can be left out.
#[derive(Debug)]
struct ServerCheck {
    level: Level,
    roots: RootCertStore,
    /// The roots as they are, to recognise a server that shows one of them.
    trusted: Vec<CertificateDer<'static>>,
    algorithms: crypto::WebPkiSupportedAlgorithms,
}

impl ServerCheck {
    fn new(options: &ConnectOptions, provider: &CryptoProvider) -> Result<ServerCheck, TlsError> {
        let level = match options.sslmode {
            SslMode::VerifyFull => Level::Name,
            SslMode::VerifyCa => Level::Chain,
            // libpq checks the chain in every mode once it has a root certificate.
            _ if options.sslrootcert.is_some() => Level::Chain,
            _ => Level::Nothing,
        };
        let trusted = match (&options.sslrootcert, level) {
            (Some(path), _) => certificates("sslrootcert", path)?,
            (None, Level::Nothing) => Vec::new(),
            (None, _) => rustls_native_certs::load_native_certs().certs,
        };
        if trusted.is_empty() && level != Level::Nothing {
            return Err(TlsError::NoRoots);
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().cloned());
        Ok(ServerCheck { level, roots, trusted, algorithms: provider.signature_verification_algorithms })
    }

    fn chain(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.trusted.iter().any(|root| root == shown) {
            return within_validity(shown, now);
        }
        let parsed = ParsedCertificate::try_from(shown)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, self.algorithms.all)
    }
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.level != Level::Nothing {
            self.chain(shown, intermediates, now)?;
        }
        if self.level == Level::Name {
            verify_server_name(&ParsedCertificate::try_from(shown)?, name)
                .or_else(|error| if common_name_fits(shown, name) { Ok(()) } else { Err(error) })?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, shown, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // By the bare key: the certificate of an older `openssl x509 -req` (version 1) is none to webpki.
        let key = Certificate::from_der(shown)
            .and_then(|certificate| certificate.tbs_certificate.subject_public_key_info.to_der())
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let key = SubjectPublicKeyInfoDer::from(key);
        crypto::verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether a certificate that is trusted as it is may be used now.
fn within_validity(shown: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let parsed = Certificate::from_der(shown).map_err(|error| other(error.to_string()))?;
    let validity = parsed.tbs_certificate.validity;
    let now = Duration::from_secs(now.as_secs());
    if now < validity.not_before.to_unix_duration() {
        return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
    }
    if now > validity.not_after.to_unix_duration() {
        return Err(Error::InvalidCertificate(CertificateError::Expired));
    }
    Ok(())
}

/// Compares a host with the common name of a certificate that has no alternative names, as libpq does.
fn common_name_fits(shown: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let Ok(parsed) = Certificate::from_der(shown) else {
        return false;
    };
    let named = match parsed.tbs_certificate.get::<SubjectAltName>() {
        Ok(None) => false,
        Ok(Some((_, names))) => {
            names.0.iter().any(|name| matches!(name, GeneralName::DnsName(_) | GeneralName::IpAddress(_)))
        }
        Err(_) => true,
    };
    if named {
        return false;
    }
    const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
    let parts = parsed.tbs_certificate.subject.0.iter().flat_map(|parts| parts.0.iter());
    let mut common = parts.filter(|part| part.oid == COMMON_NAME).map(|part| part.value.value());
    let wanted = name.to_str();
    common.next().and_then(|text| std::str::from_utf8(text).ok()).is_some_and(|text| name_fits(text, &wanted))
}

/// Whether a name of a certificate covers a host: equal but for case, or `*.` before all but the host's first label.
fn name_fits(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => {
            domain.contains('.') && host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain))
        }
        None => pattern.eq_ignore_ascii_case(host),
    }
}

fn other(text: String) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::from(
        Box::<dyn std::error::Error + Send + Sync>::from(text),
    ))))
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let problem = |problem: String| TlsError::File { what, path: path.display().to_string(), problem };
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, pem::Error>>);
    match found {
        Ok(found) if found.is_empty() => Err(problem("it holds no certificate".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(problem(pem_problem(&error))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsError::File {
        what: "sslkey",
        path: path.display().to_string(),
        problem: match error {
            pem::Error::NoItemsFound => "it holds no unencrypted private key".to_owned(),
            error => pem_problem(&error),
        },
    })
}

/// What is wrong with a file, without a piece of it: some of these errors carry the line they failed at.
fn pem_problem(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("it cannot be read: {error}"),
        pem::Error::NoItemsFound => "it holds no certificate".to_owned(),
        _ => "it is not PEM".to_owned(),
    }
}

/// Says what a failed handshake means to a person.
pub(super) fn handshake_problem(error: &std::io::Error) -> String {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return format!("the TLS handshake broke off: {error}");
    };
    match error {
        // A root of the same name with another key shows as a bad signature.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the server's certificate is not signed by a trusted root".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the server's certificate has expired".to_owned()
        }
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "the server's certificate is not valid yet; is the clock right".to_owned()
        }
        Error::InvalidCertificate(
            error @ (CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }),
        ) => format!("the server's certificate is not for this host: {error}"),
        Error::InvalidCertificate(error) if error.to_string().contains("CaUsedAsEndEntity") => {
            "the server shows a certificate made to sign others, which is accepted only if sslrootcert holds that very \
             certificate"
                .to_owned()
        }
        Error::InvalidCertificate(error) if error.to_string().contains("UnsupportedCertVersion") => {
            "the server's certificate is of X.509 version 1, which cannot be checked: make one of version 3, with the \
             host as subjectAltName"
                .to_owned()
        }
        Error::AlertReceived(alert) => format!("the server refused the TLS handshake: {alert:?}"),
        Error::InvalidMessage(_) => "the server said yes to TLS and then did not speak it".to_owned(),
        error => format!("the TLS handshake failed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cover_hosts_as_in_libpq() {
        let cases = [
            ("db.example", "DB.Example", true),
            ("*.db.example", "a.db.example", true),
            ("*.db.example", "a.b.db.example", false),
            ("*.db.example", "db.example", false),
            ("*.example", "db.example", false),
            ("*", "db", false),
            ("127.0.0.1", "127.0.0.1", true),
        ];
        for (pattern, host, fits) in cases {
            assert_eq!(name_fits(pattern, host), fits, "{pattern} {host}");
        }
    }
}

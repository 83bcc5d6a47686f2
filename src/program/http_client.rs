//! An HTTP client for what the program itself asks: its own health, a page that gets notices.
//!
//! One place that knows the library, and whom it trusts over TLS. It blocks, so the loop must never
//! call it. The PHP original has no counterpart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Whose certificates are believed.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// Those that the system trusts: `SSL_CERT_FILE`, or the file that the distribution keeps.
    System,
    /// Those in this PEM file.
    File(PathBuf),
    /// Any: for trying things out.
    Anyone,
}

/// Where Debian, Red Hat and Alpine keep what the system trusts.
const BUNDLES: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A client for `url`. An answer of any status is an answer, a redirection is not followed, and no proxy
/// is asked; `timeout` is for all of a request.
pub(crate) fn agent(url: &str, trust: &Trust, timeout: Duration) -> Result<Agent, String> {
    let config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("phpws/", env!("CARGO_PKG_VERSION")));
    let secure = url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
    let config = if secure { config.tls_config(tls(trust)?) } else { config };
    Ok(config.build().new_agent())
}

fn tls(trust: &Trust) -> Result<TlsConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    let config = match trust {
        Trust::Anyone => config.disable_verification(true),
        Trust::File(path) => config.root_certs(roots(path)?),
        Trust::System => config.root_certs(roots(&system_bundle()?)?),
    };
    Ok(config.build())
}

/// The file with the certificates that the system trusts.
pub(crate) fn system_bundle() -> Result<PathBuf, String> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let known = || BUNDLES.iter().map(PathBuf::from).find(|path| path.exists());
    named.or_else(known).ok_or_else(|| "TLS needs certificates to trust: install ca-certificates or set SSL_CERT_FILE".into())
}

fn roots(path: &Path) -> Result<RootCerts, String> {
    let pem = std::fs::read(path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<Certificate<'static>> = certificates.collect();
    match certificates.is_empty() {
        true => Err(format!("{} holds no certificate", path.display())),
        false => Ok(RootCerts::new_with_certs(&certificates)),
    }
}

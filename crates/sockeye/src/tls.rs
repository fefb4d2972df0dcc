//! TLS, by rustls.

use crate::opening::OpenCause;
use crate::transport::Transport;

/// Which certificates are trusted, and which is shown.
#[derive(Clone, Debug, Default)]
pub struct Tls {}

/// What TLS has agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {}

/// TLS failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Not written yet.
    #[error("TLS is not built in yet")]
    NotYet,
}

/// TLS with a host, over a byte stream.
#[expect(clippy::unused_async, reason = "not written yet")]
pub(crate) async fn connect(
    _tls: &Tls,
    _host: &str,
    _transport: Transport,
) -> Result<(Transport, TlsInfo), OpenCause> {
    Err(TlsError::NotYet.into())
}

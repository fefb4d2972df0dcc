//! What is wrong with a request, and the response that says so.

use http::{HeaderValue, Response, StatusCode, header};
use sockeye_proto::HandshakeError;

/// Why a request that hyper has read is not made a WebSocket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// It is no opening handshake, or not a valid one, or was to be accepted by an answer that the protocol does not allow.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The connection cannot be had: hyper is not asked to serve it `with_upgrades`, something else took it before, or the request
    /// was made up for a test.
    #[error("the connection cannot be upgraded")]
    NotUpgradable,
    /// The page's origin may not connect (RFC 6455 section 10.2).
    #[error("the origin {0:?} may not connect")]
    Origin(String),
}

impl UpgradeError {
    /// The HTTP status that goes with it: 426 for what is no opening handshake, 400, 405 and 505 for one that is not valid, 403 for an
    /// origin, and 500 for what is our own doing.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Handshake(error) => error.status().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Self::NotUpgradable => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Origin(_) => StatusCode::FORBIDDEN,
        }
    }

    /// The response that tells the client, with a plain text for the body.
    pub fn into_response<B: From<String>>(self) -> Response<B> {
        let of_handshake = match &self {
            Self::Handshake(error) => error.response(),
            _ => None,
        };
        let mut response = of_handshake.unwrap_or_else(|| {
            let mut response = Response::new(match self {
                Self::Origin(_) => "This origin may not connect.\n".to_owned(),
                _ => "internal server error\n".to_owned(),
            });
            *response.status_mut() = self.status();
            let text = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, text);
            response
        });
        if response.headers().contains_key(header::UPGRADE) {
            // RFC 9110 section 7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option in the Connection header
            // field"
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        response.map(B::from)
    }
}

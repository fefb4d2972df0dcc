//! The same as an extractor of axum's.

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use super::{UpgradeError, WebSocketUpgrade, asks};

impl<S: Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = UpgradeError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, UpgradeError> {
        let (method, headers) = (parts.method.clone(), parts.headers.clone());
        Self::new(method, &parts.uri, parts.version, headers, &mut parts.extensions)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for WebSocketUpgrade {
    type Rejection = UpgradeError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, UpgradeError> {
        if !asks(&parts.method, parts.version, &parts.headers, &parts.extensions) {
            return Ok(None);
        }
        <Self as FromRequestParts<S>>::from_request_parts(parts, state).await.map(Some)
    }
}

impl IntoResponse for UpgradeError {
    fn into_response(self) -> Response {
        Self::into_response(self)
    }
}

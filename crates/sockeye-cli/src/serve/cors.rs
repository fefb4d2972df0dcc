//! Which pages of other origins may read what is answered to plain HTTP requests: the CORS protocol of the Fetch standard.

use std::sync::Arc;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use sockeye::Origins;

/// How long browsers may keep the answer to a preflight request, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The origins that are let in beside the server's own, as `--allow-origin` has them. Whose pages may open WebSockets may
/// read the rest of what is served too, files included: none of it says more than a WebSocket, and none depends on cookies.
#[derive(Clone, Debug, Default)]
pub(super) struct Cors(Arc<Origins>);

impl Cors {
    pub(super) fn new(origins: &Origins) -> Self {
        Self(Arc::new(origins.clone()))
    }

    /// Whether the origin is one of the others: no origin is the same as that of no host.
    fn lets_in(&self, origin: &str) -> bool {
        self.0.allows(Some(origin), "")
    }

    /// The origin of the page that asks, if it is let in.
    fn origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
        origin.to_str().is_ok_and(|origin| self.lets_in(origin)).then_some(origin)
    }

    /// Whether this is a page's question what it may ask for, and the page is let in.
    // Fetch, "HTTP requests": "A CORS-preflight request is a CORS request that checks to see if the CORS protocol is understood. It uses `OPTIONS` as method and includes
    // the following header: `Access-Control-Request-Method`"
    pub(super) fn is_preflight<B>(&self, request: &Request<B>) -> bool {
        *request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
            && self.origin(request.headers()).is_some()
    }

    /// What a preflight request is answered with.
    // Fetch, "HTTP responses": "A successful HTTP response to a CORS-preflight request is similar, except it is restricted to an ok status, e.g., 200 or 204."
    pub(super) fn preflight() -> (StatusCode, HeaderMap) {
        let headers = HeaderMap::from_iter([
            (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD")),
            // Fetch, "CORS-preflight fetch": "If one of request's header list's names is a CORS non-wildcard request-header name and is not a byte-case-insensitive match
            // for an item in headerNames, then return a network error." `Authorization` is the one such name, so that `*` would not do.
            (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization")),
            (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        ]);
        (StatusCode::NO_CONTENT, headers)
    }

    /// Lets the page that asks read the answer, whatever its status, if it is let in.
    // Fetch, "CORS protocol and credentials": no response says `Access-Control-Allow-Credentials: true`, so that none to a request with cookies or with a certificate is
    // shared. A token in `Authorization` that the page has itself is no such credential.
    pub(super) fn share(&self, asked: &HeaderMap, answer: &mut HeaderMap) {
        if *self.0 == Origins::default() {
            return;
        }
        // Fetch, "CORS protocol and HTTP caches": "consider what happens if `Vary` is not used and a server is configured to send `Access-Control-Allow-Origin` for a certain
        // resource only in response to a CORS request."
        answer.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.origin(asked) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
    }
}

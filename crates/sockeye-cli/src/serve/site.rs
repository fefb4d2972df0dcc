//! What the server answers to plain HTTP requests.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::sync::watch;

use super::cors::Cors;
use super::files::{FileBody, Files};
use super::hosts::Hosts;
use super::metrics::{CONTENT_TYPE, Exposition};

/// Where the echo is.
pub(super) const ECHO: &str = "/echo";

/// What a request for anything else is told.
pub(super) const NOT_FOUND: &str = "\
Not found. There is:

  /         a page to try a WebSocket with
  /echo     a WebSocket that sends back what it is sent
  /healthz  \"ok\", for probes
  /readyz   \"ok\" until the server goes down, for load balancers
  /metrics  what the server counts, where that is shown
";

/// The same where there are files too, which may be for anybody.
const NO_FILE: &str = "Not found.\n";

/// What a request is told in the name of a host that the server does not answer to.
pub(super) const WRONG_HOST: &str = "\
This server does not answer to that host name (sockeye serve --allow-host HOST makes it).
";

/// What is sent: something made up here, or a file.
type Answer = Response<Either<Full<Bytes>, FileBody>>;

const PAGE: &str = include_str!("../page/index.html");

/// What is served at one address.
pub(super) struct Site {
    hosts: Hosts,
    /// Whether the page and the echo are here.
    has_pages: bool,
    /// The files of `--root`.
    files: Option<Files>,
    cors: Cors,
    /// What is shown of metrics here, if anything.
    metrics: Option<Arc<Exposition>>,
    /// Whether the server goes down.
    stopped: watch::Receiver<bool>,
    /// The scheme of the WebSocket's URL.
    scheme: &'static str,
    /// The part of the page's Content-Security-Policy that is always the same.
    policy: String,
}

impl Site {
    /// With the page and the echo.
    pub(super) fn new(
        hosts: Hosts,
        tls: bool,
        metrics: Option<Arc<Exposition>>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let scheme = if tls { "wss" } else { "ws" };
        let (files, cors, policy) = (None, Cors::default(), page_policy(PAGE));
        Self { hosts, has_pages: true, files, cors, metrics, stopped, scheme, policy }
    }

    /// With metrics and probes alone.
    pub(super) fn of_metrics(hosts: Hosts, metrics: Arc<Exposition>, stopped: watch::Receiver<bool>) -> Self {
        let (files, cors, metrics, policy) = (None, Cors::default(), Some(metrics), String::new());
        Self { hosts, has_pages: false, files, cors, metrics, stopped, scheme: "ws", policy }
    }

    /// With those files too.
    pub(super) fn files(self, files: Option<Files>) -> Self {
        Self { files, ..self }
    }

    /// Readable by pages of those origins too.
    pub(super) fn cors(self, cors: Cors) -> Self {
        Self { cors, ..self }
    }

    /// Whether the server answers to the authority that was asked for.
    pub(super) fn answers_to(&self, authority: &str) -> bool {
        self.hosts.allow(authority)
    }

    pub(super) async fn respond(&self, request: Request<()>) -> Answer {
        let host = match asked_host(&request) {
            Ok(host) => host,
            Err(wrong) => return text(StatusCode::BAD_REQUEST, wrong.into()),
        };
        // Without a host it is an HTTP/1.0 probe: no browser sends such a request.
        if host.is_some_and(|host| !self.answers_to(host)) {
            return text(StatusCode::MISDIRECTED_REQUEST, WRONG_HOST.into());
        }
        let mut answer = if self.cors.is_preflight(&request) {
            let mut answer = Response::new(Either::Left(Full::default()));
            (*answer.status_mut(), *answer.headers_mut()) = Cors::preflight();
            answer
        } else {
            self.answer(&request, host).await
        };
        self.cors.share(request.headers(), answer.headers_mut());
        answer
    }

    async fn answer(&self, request: &Request<()>, host: Option<&str>) -> Answer {
        let path = request.uri().path();
        if !self.has_pages && matches!(path, "/" | ECHO) {
            return text(StatusCode::NOT_FOUND, NOT_FOUND.into());
        }
        let is_ours = matches!(path, "/" | ECHO | "/healthz" | "/readyz" | "/metrics");
        if (is_ours || self.files.is_some()) && !matches!(*request.method(), Method::GET | Method::HEAD) {
            let body = format!("The method {} is not for this.\n", request.method());
            return with(text(StatusCode::METHOD_NOT_ALLOWED, body), header::ALLOW, "GET, HEAD");
        }
        match path {
            ECHO => how_to_connect(self.scheme, host.unwrap_or("HOST")),
            "/readyz" if *self.stopped.borrow() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "The server is going down.\n".into())
            }
            "/healthz" | "/readyz" => text(StatusCode::OK, "ok\n".into()),
            "/metrics" => self.metrics(request.headers()),
            _ => match (self.file(request).await, path) {
                (Some(file), _) => file,
                (None, "/") => self.page(host),
                (None, _) if self.files.is_some() => text(StatusCode::NOT_FOUND, NO_FILE.into()),
                (None, _) => text(StatusCode::NOT_FOUND, NOT_FOUND.into()),
            },
        }
    }

    async fn file(&self, request: &Request<()>) -> Option<Answer> {
        let file = self.files.as_ref()?.respond(request.method(), request.uri(), request.headers()).await?;
        // Why is the server's own business.
        let failed = |_| text(StatusCode::INTERNAL_SERVER_ERROR, "The file cannot be read.\n".into());
        Some(file.map_or_else(failed, |file| file.map(Either::Right)))
    }

    fn metrics(&self, headers: &HeaderMap) -> Answer {
        let Some(metrics) = &self.metrics else { return text(StatusCode::NOT_FOUND, NOT_FOUND.into()) };
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if metrics.allow(authorization) {
            return respond(StatusCode::OK, CONTENT_TYPE, metrics.text().into());
        }
        // RFC 9110 section 15.5.2: "The server generating a 401 response MUST send a WWW-Authenticate header field"
        let response =
            text(StatusCode::UNAUTHORIZED, "The token of --metrics-token-file is wanted.\n".into());
        with(response, header::WWW_AUTHENTICATE, "Bearer")
    }

    fn page(&self, host: Option<&str>) -> Answer {
        // 'self' covers WebSockets in today's browsers; older ones need them named.
        let sockets = host.map(|host| format!(" ws://{host} wss://{host}")).unwrap_or_default();
        let policy = format!("{}; connect-src 'self'{sockets}", self.policy);
        let mut response = respond(StatusCode::OK, "text/html; charset=utf-8", PAGE.into());
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}

/// The authority that was asked for; `None` if the request is of a version that need not name one.
fn asked_host<B>(request: &Request<B>) -> Result<Option<&str>, &'static str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    // RFC 9112 section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that
    // lacks a Host header field and to any request message that contains more than one Host header field line or a Host
    // header field with an invalid field value."
    let host = match (hosts.next(), hosts.next()) {
        (None, _) if request.version() == Version::HTTP_11 => return Err("There is no Host header field.\n"),
        (Some(_), Some(_)) => return Err("There is more than one Host header field.\n"),
        (host, _) => host.map(HeaderValue::to_str).transpose().map_err(|_| "Host is no host.\n")?,
    };
    // RFC 9112 section 3.2.2: "When an origin server receives a request with an absolute-form of request-target, the origin
    // server MUST ignore the received Host header field (if any) and instead use the host information of the
    // request-target."
    Ok(request.uri().authority().map(hyper::http::uri::Authority::as_str).or(host))
}

fn how_to_connect(scheme: &str, host: &str) -> Answer {
    let body = format!(
        "\
This is a WebSocket: what is sent to it comes back. To connect to it,

on a command line:  sockeye connect {scheme}://{host}{ECHO}

in JavaScript:      const ws = new WebSocket(\"{scheme}://{host}{ECHO}\");
                    ws.onopen = () => ws.send(\"hello\");
                    ws.onmessage = (event) => console.log(event.data);
"
    );
    // RFC 9110 section 15.5.22: "The server MUST send an Upgrade header field in a 426 response to indicate the required
    // protocol(s)"
    let response = with(text(StatusCode::UPGRADE_REQUIRED, body), header::UPGRADE, "websocket");
    // RFC 9110 section 7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option in the Connection header
    // field"
    with(response, header::CONNECTION, "Upgrade, close")
}

fn text(status: StatusCode, body: String) -> Answer {
    respond(status, "text/plain; charset=utf-8", body.into())
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut response = Response::new(Either::Left(Full::new(body)));
    *response.status_mut() = status;
    *response.headers_mut() = HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ]);
    response
}

fn with(mut response: Answer, name: header::HeaderName, value: &'static str) -> Answer {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

/// The policy for a page that holds one script and one style and needs nothing else, less what it may connect to.
fn page_policy(page: &str) -> String {
    let hash = |element| STANDARD.encode(hmac_sha256::Hash::hash(content(page, element).as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src 'self' blob:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style"),
    )
}

/// What is in the page's first element of that name.
fn content<'a>(page: &'a str, element: &str) -> &'a str {
    let (start, end) = (format!("<{element}>"), format!("</{element}>"));
    let content = page.split_once(&start).and_then(|(_, rest)| rest.split_once(&end));
    content.map_or("", |(content, _)| content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_file_with_one_script_and_one_style() {
        for element in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1, "<{element}>");
            assert!(content(PAGE, element).len() > 100, "<{element}> without attributes");
            assert!(!PAGE.contains(&format!(" {element}=")), "an attribute that the policy forbids");
        }
    }

    #[test]
    fn hashes_are_of_the_exact_text() {
        let policy = page_policy("<style>\n</style><script>alert(1)</script>");
        // printf 'alert(1)' | openssl dgst -sha256 -binary | base64
        assert!(
            policy.contains("script-src 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"),
            "{policy}"
        );
    }
}

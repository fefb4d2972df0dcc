//! Reconnecting: one connection after the other, with pauses between them.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use futures_core::Stream;
use sockeye_proto::{HandshakeError, HeaderMap, StatusCode, header, random_masking_key};
use tokio::time::{Instant, Sleep};

use crate::client::Client;
use crate::error::Error;
use crate::opening::OpenCause;
use crate::socket::WebSocket;

/// No `Retry-After` is obeyed for longer.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// How long is waited before another attempt: exponential back-off with full jitter.
///
/// After the n-th failure in a row that is a random time between 0 and `first` doubled n - 1 times, at most `cap`. A connection
/// that did not last for `stable` is a failure too, so that a server that accepts and hangs up is not asked ever faster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Backoff {
    /// The most that is waited after a first failure. 1 s.
    pub first: Duration,
    /// The most that is ever waited, unless the server says how long by `Retry-After`. 60 s.
    pub cap: Duration,
    /// A connection that lasted so long makes failures begin at one again. 30 s.
    pub stable: Duration,
    /// After how many failures in a row to give up; `None` (the default) never does.
    pub failures: Option<u32>,
    /// Where the jitter comes from: a number from 0 to 1. Replace it only in tests.
    pub random: fn() -> f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            cap: Duration::from_secs(60),
            stable: Duration::from_secs(30),
            failures: None,
            random: || f64::from(u32::from_ne_bytes(random_masking_key())) / f64::from(u32::MAX),
        }
    }
}

impl Backoff {
    /// How long to wait after that many failures in a row.
    fn wait(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.cap).mul_f64((self.random)().clamp(0.0, 1.0))
    }
}

/// What the next attempt is made with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The client.
    pub client: Client,
    /// The URL.
    pub url: String,
}

/// An attempt that has failed, or a connection that is over.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure<'a> {
    /// What the attempt has failed with; `None` if it had not, and the connection is over.
    pub error: Option<&'a Error>,
    /// How many failures there were in a row, this one included.
    pub failures: u32,
    /// How long is waited before the next attempt.
    pub wait: Duration,
}

type Hook = Box<dyn FnMut(Attempt) -> Pin<Box<dyn Future<Output = io::Result<Attempt>> + Send>> + Send>;
type Tell = Box<dyn FnMut(&Failure<'_>) + Send>;
type Connecting = Pin<Box<dyn Future<Output = Result<WebSocket, Error>> + Send>>;

/// One connection after the other to a URL, made by [`Client::reconnecting`].
///
/// [`connect`](Self::connect) gives the next one, after as long a pause as [`Backoff`] says; the first is tried at once. It
/// does not give up on what may heal, such as a lost network, a restarting server, or one that answers with 503 and `Retry-After`, which is
/// obeyed; it does on what will not ([`Error::is_temporary`]), such as a bad certificate, 401, 403 and 404.
///
/// It is also a [`Stream`], which ends behind the error that it gives up with.
///
/// ```no_run
/// # async fn example() -> Result<(), sockeye::Error> {
/// let mut connections = sockeye::Client::new().reconnecting("wss://example.com/prices");
/// loop {
///     let mut ws = connections.connect().await?;
///     while let Ok(Some(message)) = ws.recv().await {
///         println!("{message:?}");
///     }
/// }
/// # }
/// ```
pub struct Reconnecting {
    attempt: Attempt,
    backoff: Backoff,
    before: Option<Hook>,
    on_failure: Option<Tell>,
    failures: u32,
    state: State,
}

/// What it is at.
///
/// ```text
///   Ready ──────────▶ Connecting ─────────────────────▶ Open
///                      ▲   │  │         connected         │ asked for another
///                      │   │  │ may heal                  │
///              Waiting ┘   │  └───────▶ Waiting ◀─────────┘
///                          └──▶ Over
///            will not heal, or has failed too often
/// ```
enum State {
    /// Nothing was asked for yet.
    Ready,
    /// Pausing.
    Waiting(Pin<Box<Sleep>>),
    /// The hook's and the attempt's own work.
    Connecting(Connecting),
    /// A connection was given, then.
    Open(Instant),
    /// It has given up.
    Over,
}

impl Client {
    /// Connects to a URL again and again; nothing happens before it is asked for the first connection.
    pub fn reconnecting(&self, url: impl Into<String>) -> Reconnecting {
        Reconnecting {
            attempt: Attempt { client: self.clone(), url: url.into() },
            backoff: Backoff::default(),
            before: None,
            on_failure: None,
            failures: 0,
            state: State::Ready,
        }
    }
}

impl Reconnecting {
    /// Sets how long is waited between attempts.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Runs this before each attempt, on what the attempt would be made with: for a fresh token, or another URL.
    ///
    /// If it fails, the attempt has failed; with [`io::ErrorKind::PermissionDenied`] none is made any more.
    ///
    /// ```
    /// # async fn fresh_token() -> std::io::Result<String> { Ok(String::new()) }
    /// let connections = sockeye::Client::new()
    ///     .reconnecting("wss://example.com/prices")
    ///     .before_attempt(|mut attempt| async move {
    ///         let token = fresh_token().await?;
    ///         attempt.client = attempt.client.bearer_auth(&token).map_err(std::io::Error::other)?;
    ///         Ok(attempt)
    ///     });
    /// ```
    #[must_use]
    pub fn before_attempt<F>(mut self, mut hook: impl FnMut(Attempt) -> F + Send + 'static) -> Self
    where
        F: Future<Output = io::Result<Attempt>> + Send + 'static,
    {
        self.before = Some(Box::new(move |attempt| Box::pin(hook(attempt))));
        self
    }

    /// Tells of each failure, before the pause behind it.
    #[must_use]
    pub fn on_failure(mut self, tell: impl FnMut(&Failure<'_>) + Send + 'static) -> Self {
        self.on_failure = Some(Box::new(tell));
        self
    }

    /// How many attempts in a row have failed, or gave a connection that did not last.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The next connection. Ask for it when you are done with the one before.
    ///
    /// Cancel-safe: dropped before it is ready, pause and attempt go on with the next call.
    ///
    /// # Errors
    ///
    /// What will not heal, or the last failure of as many as [`Backoff::failures`]; asked again, [`Error::Closed`].
    pub fn connect(&mut self) -> impl Future<Output = Result<WebSocket, Error>> {
        poll_fn(|cx| self.poll_connect(cx).map(|next| next.unwrap_or(Err(Error::Closed))))
    }

    fn poll_connect(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<WebSocket, Error>>> {
        loop {
            match &mut self.state {
                State::Ready => self.state = State::Connecting(self.start()),
                State::Waiting(pause) => {
                    ready!(pause.as_mut().poll(cx));
                    self.state = State::Connecting(self.start());
                }
                State::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx)) {
                    Ok(ws) => {
                        self.state = State::Open(Instant::now());
                        return Poll::Ready(Some(Ok(ws)));
                    }
                    Err(error) => {
                        let has_more = self.backoff.failures.is_none_or(|most| self.failures + 1 < most);
                        if !error.is_temporary() || !has_more {
                            self.state = State::Over;
                            return Poll::Ready(Some(Err(error)));
                        }
                        self.pause(Some(&error));
                    }
                },
                State::Open(since) => {
                    if since.elapsed() >= self.backoff.stable {
                        self.failures = 0;
                    }
                    self.pause(None);
                }
                State::Over => return Poll::Ready(None),
            }
        }
    }

    fn start(&mut self) -> Connecting {
        let attempt = self.attempt.clone();
        let prepared = self.before.as_mut().map(|hook| hook(attempt.clone()));
        Box::pin(async move {
            let attempt = match prepared {
                None => attempt,
                Some(prepared) => prepared.await?,
            };
            attempt.client.connect(&attempt.url).await
        })
    }

    /// Waits after one more failure.
    fn pause(&mut self, error: Option<&Error>) {
        self.failures = self.failures.saturating_add(1);
        let refusal = error.and_then(Error::refusal);
        let told = refusal.and_then(|refusal| retry_after(&refusal.headers, SystemTime::now()));
        let wait = told.unwrap_or_default().min(LONGEST_RETRY_AFTER) + self.backoff.wait(self.failures);
        if let Some(tell) = &mut self.on_failure {
            tell(&Failure { error, failures: self.failures, wait });
        }
        self.state = State::Waiting(Box::pin(tokio::time::sleep(wait)));
    }
}

impl fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting")
            .field("attempt", &self.attempt)
            .field("backoff", &self.backoff)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

impl Stream for Reconnecting {
    type Item = Result<WebSocket, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_connect(cx)
    }
}

/// How long the server asks to stay away (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    // RFC 9110 section 10.2.3: "The Retry-After field value can be either an HTTP-date or a number of seconds to delay after
    // receiving the response."
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        return Some(value.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    Some(httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default())
}

impl Error {
    /// Whether the same may go well later, without anything being changed on this side: a network or a server that is not there, a
    /// deadline, a connection lost, an HTTP status of 408, 425, 429 or 5xx (but 501 and 505). What [`Reconnecting`] goes on after.
    ///
    /// It is false for a wrong URL, a misuse, a bad certificate, and other statuses, such as 401, 403, 404 and 407.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Io(error) => error.kind() != io::ErrorKind::PermissionDenied,
            Self::Open(error) => error.cause.is_temporary(),
            Self::Closed | Self::PongTimeout(_) | Self::Protocol(_) => true,
            Self::Misuse(_) | Self::Source(_) | Self::Url(_) => false,
        }
    }
}

impl OpenCause {
    fn is_temporary(&self) -> bool {
        match self {
            Self::Handshake(HandshakeError::Misuse(_)) | Self::Redirect { .. } | Self::Tls(_) => false,
            Self::Handshake(HandshakeError::Refused(refusal)) => is_temporary(refusal.status),
            _ => true,
        }
    }
}

fn is_temporary(status: StatusCode) -> bool {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => false,
        // A 2xx is no WebSocket server's: a sign-in page of a hotel's network, say.
        _ => status.is_server_error() || status.is_success(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use sockeye_proto::HeaderValue;

    use super::*;

    #[test]
    fn the_pause_doubles_up_to_the_cap_and_is_anywhere_below() {
        let mut backoff = Backoff { random: || 1.0, ..Backoff::default() };
        let waits = [1, 2, 3, 6, 7, 40, u32::MAX].map(|failures| backoff.wait(failures).as_secs());
        assert_eq!(waits, [1, 2, 4, 32, 60, 60, 60]);
        backoff.random = || 0.25;
        assert_eq!(backoff.wait(2), Duration::from_millis(500));
        backoff.random = Backoff::default().random;
        let waits: Vec<_> = (0..100).map(|_| backoff.wait(1)).collect();
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(1)));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(value))]);
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(read("Sun, 06 Nov 1994 08:40:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("99999999999999999999999"), Some(Duration::MAX));
        for wrong in ["", "-1", "soon", "1.5", "Sun, 06 Nov"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn statuses() {
        for status in [200, 408, 425, 429, 500, 502, 503, 504] {
            assert!(is_temporary(StatusCode::from_u16(status).unwrap()), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 407, 410, 426, 501, 505] {
            assert!(!is_temporary(StatusCode::from_u16(status).unwrap()), "{status}");
        }
    }
}

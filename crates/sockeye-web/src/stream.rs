//! The `WebSocketStream` object (WHATWG WebSockets pull request 48, which Chromium has): opening, closing, and what its halves share.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use sockeye::Message;
use url::Url;

use crate::abort::AbortSignal;
use crate::algorithms::close_frame;
use crate::connection::{self, Closed, Feedback, Owner};
use crate::error::{DomException, ErrorName, Exception, WebSocketError, check_close, code_for};
use crate::link::Link;
use crate::object::target;
use crate::options::Options;
use crate::readable::Readable;
use crate::url::{check_protocols, url_record};
use crate::websocket::WebSocket;
use crate::writable::Writable;

/// A WebSocket as streams, with back-pressure both ways: in a browser `WebSocketStream`.
///
/// ```
/// use futures_util::{SinkExt, StreamExt};
/// use sockeye_web::{WebSocketCloseInfo, WebSocketStream};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = sockeye::Server::bind("127.0.0.1:0").await?;
/// # let url = format!("ws://{}/", server.local_addr()?);
/// # tokio::spawn(server.run(|incoming| async move {
/// #     let mut ws = incoming.accept().await?;
/// #     while let Some(message) = ws.recv().await? { ws.send(message).await? }
/// #     Ok(())
/// # }));
/// let mut stream = WebSocketStream::new(&url)?;
/// let mut opened = stream.opened().await?;
/// opened.writable.send("hello".into()).await?;
/// let answer = opened.readable.next().await.ok_or("it was closed")??;
/// assert_eq!(answer.as_text(), Some("hello"));
/// stream.close(WebSocketCloseInfo { close_code: Some(1000), reason: "done".into() })?;
/// assert_eq!(stream.closed().await?.close_code, Some(1000));
/// # Ok(())
/// # }
/// ```
///
/// It needs a tokio runtime, as [`WebSocket`] does; a task there drives the connection. A message is received when the
/// one before it has been read, so that a server that sends faster than you read has to wait.
///
/// When the stream and both halves are dropped, the connection is closed without a code, behind what was written. To drop the
/// [`Readable`] alone throws away what still comes.
pub struct WebSocketStream(Arc<Handle>);

/// What is no URL in the constructor of a [`WebSocketStream`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WebSocketStreamOptions {
    /// Subprotocols to offer, the most wanted first.
    pub protocols: Vec<String>,
    /// Gives up the opening when raised; later it means nothing.
    pub signal: Option<AbortSignal>,
    /// What a page and a browser bring along. There are no events, and [`Options::event_loop`] means nothing.
    pub options: Options,
}

/// What [`WebSocketStream::opened`] gives.
#[derive(Debug)]
#[non_exhaustive]
pub struct WebSocketOpenInfo {
    /// The extensions in use, as a header field would list them.
    pub extensions: String,
    /// The subprotocol in use, or nothing.
    pub protocol: String,
    /// The messages that come.
    pub readable: Readable,
    /// Takes the messages that go.
    pub writable: Writable,
}

/// How a connection is to be closed, or was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebSocketCloseInfo {
    /// The close code; `None` to send none. A reason without a code goes with 1000.
    pub close_code: Option<u16>,
    /// The close reason, at most 123 bytes.
    pub reason: String,
}

/// What the object and its halves share: when it goes, nobody holds any of them.
pub(crate) struct Handle(pub(crate) Arc<Shared>);

/// The object itself: it lives as long as its connection.
pub(crate) struct Shared {
    url: Url,
    pub(crate) link: Arc<Link>,
    slots: Mutex<Slots>,
}

/// The internal slots that change.
pub(crate) struct Slots {
    pub(crate) ready_state: u16,
    /// What the opened promise is resolved with, until it is taken.
    opened: Option<(String, String)>,
    /// "was ever connected"
    was_opened: bool,
    /// What the closed promise is resolved or rejected with.
    closed: Option<Result<WebSocketCloseInfo, Exception>>,
    /// "handshake aborted"
    is_aborted: bool,
    /// The chunk in the readable stream.
    pub(crate) chunk: Option<Message>,
    /// Whether chunks are thrown away, since nobody can read them.
    pub(crate) is_unread: bool,
    /// How many bytes of application data were written, and how many of them transmitted.
    pub(crate) written: u64,
    pub(crate) transmitted: u64,
    waiting: Vec<Waker>,
}

impl WebSocketStream {
    /// `new WebSocketStream(url)`: starts to open a connection.
    ///
    /// # Errors
    ///
    /// `SyntaxError` if the URL is none, has a scheme other than `ws`, `wss`, `http` and `https`, or has a fragment.
    ///
    /// # Panics
    ///
    /// There is no tokio runtime.
    pub fn new(url: &str) -> Result<Self, DomException> {
        Self::with_options(url, WebSocketStreamOptions::default())
    }

    /// `new WebSocketStream(url, options)`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); and `SyntaxError` if a subprotocol is not a token, or is there twice.
    ///
    /// # Panics
    ///
    /// There is no tokio runtime, neither in the options nor around.
    pub fn with_options(url: &str, options: WebSocketStreamOptions) -> Result<Self, DomException> {
        let WebSocketStreamOptions { protocols, signal, options } = options;
        // "constructor" steps 1 to 4.
        let url = url_record(url, options.base_url.as_deref())?;
        let protocols: Vec<&str> = protocols.iter().map(String::as_str).collect();
        check_protocols(&protocols)?;
        let link = Arc::new(Link::default());
        let shared = Arc::new(Shared { url, link: Arc::clone(&link), slots: Mutex::new(Slots::new()) });
        let stream = Self(Arc::new(Handle(Arc::clone(&shared))));
        // Step 8.2: "If signal is aborted, then reject this's opened promise and closed promise with signal's abort reason and return."
        if signal.as_ref().is_some_and(AbortSignal::aborted) {
            shared.abort_opening();
            return Ok(stream);
        }
        let target = target(&shared.url, &protocols, &options);
        let driving = async move {
            let mut driving = pin!(connection::run(Arc::clone(&shared), link, target));
            if let Some(signal) = signal {
                // Step 8.3: "Add the following abort steps to signal".
                tokio::select! {
                    biased;
                    () = signal.raised() => shared.abort_opening(),
                    () = &mut driving => return,
                }
            }
            drop(shared);
            driving.await;
        };
        match options.runtime {
            Some(runtime) => runtime.spawn(driving),
            None => tokio::spawn(driving),
        };
        Ok(stream)
    }

    /// The URL that the connection is for, serialized, with credentials if there are any.
    pub fn url(&self) -> String {
        self.shared().url.to_string()
    }

    /// Waits until the connection is established, and gives its two halves, once. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`WebSocketError`] without a code if the connection was not opened; why is not told, as with [`WebSocket`]. `AbortError` if the signal
    /// was raised before. `InvalidStateError` if the halves were given out already.
    pub async fn opened(&mut self) -> Result<WebSocketOpenInfo, Exception> {
        let (extensions, protocol) = poll_fn(|cx| self.shared().poll_opened(cx)).await?;
        let readable = Readable::new(Arc::clone(&self.0));
        let writable = Writable::new(Arc::clone(&self.0));
        Ok(WebSocketOpenInfo { extensions, protocol, readable, writable })
    }

    /// Waits until the connection is closed, and tells by which code and reason. Cancel-safe, and may be called again.
    ///
    /// A server's Close frame comes behind its messages: it is seen when they have been read.
    ///
    /// # Errors
    ///
    /// [`WebSocketError`] if it was not closed cleanly; `AbortError` if the signal was raised before it was opened.
    pub async fn closed(&self) -> Result<WebSocketCloseInfo, Exception> {
        poll_fn(|cx| self.shared().poll_closed(cx)).await
    }

    /// Closes the connection, behind what was written before; one that is not yet established is failed. Messages that still come are thrown
    /// away. One that is closing or closed is left alone.
    ///
    /// # Errors
    ///
    /// `InvalidAccessError` for a code other than 1000 and 3000 to 4999; `SyntaxError` for a reason of more than 123 bytes.
    pub fn close(&self, info: WebSocketCloseInfo) -> Result<(), DomException> {
        // "close(closeInfo)": "Close the WebSocket with this, code, and reason."
        let WebSocketCloseInfo { close_code, reason } = info;
        check_close(close_code, &reason)?;
        self.shared().close(code_for(close_code, &reason), &reason);
        Ok(())
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}

impl Slots {
    fn new() -> Self {
        Self {
            ready_state: WebSocket::CONNECTING,
            opened: None,
            was_opened: false,
            closed: None,
            is_aborted: false,
            chunk: None,
            is_unread: false,
            written: 0,
            transmitted: 0,
            waiting: Vec::new(),
        }
    }

    /// What the halves say once the connection is closed.
    pub(crate) fn closed(&self) -> Option<Result<(), Exception>> {
        self.closed.as_ref().map(|closed| closed.clone().map(|_| ()))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the slots, and wakes whoever waits for that.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Slots) -> T) -> T {
        let mut slots = self.lock();
        let result = change(&mut slots);
        let waiting = std::mem::take(&mut slots.waiting);
        drop(slots);
        waiting.into_iter().for_each(Waker::wake);
        result
    }

    /// Waits for something of the slots.
    pub(crate) fn poll_slots<T>(
        &self,
        cx: &Context<'_>,
        look: impl FnOnce(&mut Slots) -> Option<T>,
    ) -> Poll<T> {
        let mut slots = self.lock();
        if let Some(found) = look(&mut slots) {
            return Poll::Ready(found);
        }
        if !slots.waiting.iter().any(|known| known.will_wake(cx.waker())) {
            slots.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn poll_opened(&self, cx: &Context<'_>) -> Poll<Result<(String, String), Exception>> {
        let given_out = || DomException::new(ErrorName::InvalidState, "the streams were given out already");
        // Step 3 of the end: "If stream's was ever connected is false, then reject stream's opened promise with a new WebSocketError.": one
        // without a code.
        let not_opened = || WebSocketError::unvalidated("the connection was not opened", None, "");
        self.poll_slots(cx, |slots| match (slots.opened.take(), &slots.closed) {
            (Some(opened), _) => Some(Ok(opened)),
            (None, _) if slots.was_opened => Some(Err(given_out().into())),
            (None, Some(Err(Exception::WebSocket(_)))) => Some(Err(not_opened().into())),
            (None, Some(Err(aborted))) => Some(Err(aborted.clone())),
            (None, _) => None,
        })
    }

    pub(crate) fn poll_closed(&self, cx: &Context<'_>) -> Poll<Result<WebSocketCloseInfo, Exception>> {
        self.poll_slots(cx, |slots| slots.closed.clone())
    }

    /// "Close the WebSocket", with a code and a reason that were checked.
    pub(crate) fn close(&self, code: Option<u16>, reason: &str) {
        self.update(|slots| {
            match slots.ready_state {
                WebSocket::CONNECTING => self.link.fail(),
                WebSocket::OPEN => self.link.start_close(close_frame(code, reason)),
                _ => return,
            }
            slots.ready_state = WebSocket::CLOSING;
        });
    }

    /// "Close using reason": "If reason implements `WebSocketError`, set code to reason's closeCode and reasonString to reason's reason."
    pub(crate) fn close_using(&self, reason: Option<&WebSocketError>) {
        self.close(reason.and_then(WebSocketError::close_code), reason.map_or("", WebSocketError::reason));
    }

    /// "constructor" step 8.3.1: "If the WebSocket connection is not yet established: Fail the WebSocket connection. Set this's ready state to
    /// CLOSING. Reject this's opened promise and closed promise with signal's abort reason. Set this's handshake aborted to true."
    fn abort_opening(&self) {
        self.update(|slots| {
            if slots.ready_state != WebSocket::CONNECTING {
                return;
            }
            self.link.fail();
            slots.ready_state = WebSocket::CLOSING;
            let aborted = DomException::new(ErrorName::Abort, "the opening was given up");
            slots.closed = Some(Err(aborted.into()));
            slots.is_aborted = true;
        });
    }

    /// "When the WebSocket connection is closed, possibly cleanly".
    fn on_closed(&self, closed: &Closed) {
        self.update(|slots| {
            // Step 1: "Change stream's ready state to CLOSED (3)."
            slots.ready_state = WebSocket::CLOSED;
            // Step 2: "If stream's handshake aborted is true, then return."
            if slots.is_aborted {
                return;
            }
            let reason = closed.reason.as_str().to_owned();
            // Step 6: "If the connection was closed cleanly, close stream's readable stream. Error stream's writable stream with an
            // "InvalidStateError" DOMException indicating that a closed WebSocketStream cannot be written to. Resolve stream's closed promise"
            // Step 7: "Otherwise, let error be a new WebSocketError whose closeCode is code and reason is reason", for all three.
            slots.closed = Some(if closed.clean {
                Ok(WebSocketCloseInfo { close_code: Some(closed.code), reason })
            } else {
                let message = "the connection was not closed cleanly";
                Err(WebSocketError::unvalidated(message, Some(closed.code), &reason).into())
            });
        });
    }
}

impl Owner for Shared {
    fn feedback(self: &Arc<Self>, feedback: Feedback) {
        match feedback {
            Feedback::Established { extensions, protocol } => self.update(|slots| {
                // close() may have been called since the server's answer had come.
                if slots.ready_state == WebSocket::CONNECTING {
                    slots.ready_state = WebSocket::OPEN;
                    slots.was_opened = true;
                    slots.opened = Some((extensions, protocol));
                }
            }),
            Feedback::Message(message) => self.update(|slots| {
                // "If stream's ready state is not OPEN (1), then return.", "Enqueue chunk into stream's readable stream.", "Apply backpressure to
                // the WebSocket."
                if slots.ready_state == WebSocket::OPEN && !slots.is_unread {
                    slots.chunk = Some(message);
                }
            }),
            Feedback::ClosingStarted => self.update(|slots| slots.ready_state = WebSocket::CLOSING),
            Feedback::Closed(closed) => self.on_closed(&closed),
            Feedback::Transmitted(total) => self.update(|slots| slots.transmitted = total),
        }
    }

    fn wants_message(&self) -> bool {
        let slots = self.lock();
        slots.chunk.is_none() || slots.ready_state != WebSocket::OPEN
    }

    fn encoded(&self) {
        self.update(|_| {});
    }
}

impl Drop for Handle {
    /// Nobody can reach it: as with a [`WebSocket`], the closing handshake starts without a code, behind what was written.
    fn drop(&mut self) {
        self.0.close(None, "");
    }
}

impl fmt::Debug for WebSocketStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketStream").field("url", &self.shared().url.as_str()).finish_non_exhaustive()
    }
}

//! The `WebSocket` object: what scripts see.

use std::fmt;
use std::sync::Arc;

use sockeye::Message;

use crate::algorithms;
use crate::connection;
use crate::deferred::DeferredMessage;
use crate::error::DomException;
use crate::events::{CloseEvent, Event, EventType, ListenerId, ListenerOptions, MessageEvent};
use crate::link::Link;
use crate::object::{Handle, Shared, target};
use crate::options::Options;
use crate::url::{check_protocols, url_record};

/// The type in which browsers hand out binary messages. Here they are always `Bytes`; the attribute is there for code that was
/// ported, and for bindings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BinaryType {
    /// `"blob"`.
    #[default]
    Blob,
    /// `"arraybuffer"`.
    ArrayBuffer,
}

impl BinaryType {
    /// The name as scripts see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::ArrayBuffer => "arraybuffer",
        }
    }
}

/// A WebSocket as browsers have it (WHATWG WebSockets section 3): made by a constructor that returns at once, told about by events.
///
/// A clone is a further reference to the same object.
///
/// ```
/// use sockeye_web::WebSocket;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = sockeye::Server::bind("127.0.0.1:0").await?;
/// # let url = format!("ws://{}/", server.local_addr()?);
/// # tokio::spawn(server.run(|incoming| async move {
/// #     let mut ws = incoming.accept().await?;
/// #     while let Some(message) = ws.recv().await? { ws.send(message).await? }
/// #     Ok(())
/// # }));
/// let (closed, close) = tokio::sync::oneshot::channel();
/// let mut closed = Some(closed);
///
/// let socket = WebSocket::new(&url)?;
/// socket.set_onopen(|socket| {
///     socket.send("hello").expect("it is open");
/// });
/// socket.set_onmessage(|socket, event| {
///     assert_eq!(event.data.as_text(), Some("hello"));
///     socket.close(1000, "done").expect("1000 may be used");
/// });
/// socket.set_onclose(move |_, event| {
///     closed.take().map(|closed| closed.send(event.code));
/// });
/// assert_eq!(close.await?, 1000);
/// # Ok(())
/// # }
/// ```
///
/// # The runtime, and when events are fired
///
/// The constructor needs a tokio runtime with I/O and time enabled ([`Options::runtime`], or the one that it is called in) and starts one
/// task there, which drives the connection. Events are fired on that task, or where [`Options::event_loop`] says: one handler at a time,
/// each to its end. A handler that blocks keeps its own socket waiting, and one of the runtime's threads.
///
/// A handler may call any method, of this socket too; it may drop the socket; it may panic, which the process's panic hook
/// reports, and which ends nothing but that handler's run. No lock is held while it runs.
///
/// When the runtime is shut down, the task goes, and no more events come.
///
/// On a runtime of one thread (`flavor = "current_thread"`) nothing happens between the constructor and the next `.await`, so that handlers set
/// there miss no event, as in a browser. On a runtime of several threads events may be fired at once: set handlers in
/// the last argument of [`with_options`](Self::with_options), before anything can happen.
///
/// # What it does with data
///
/// [`send`](Self::send) returns at once and its queue has no bound: [`buffered_amount`](Self::buffered_amount) tells how much is in it, and it
/// is yours to wait. What is received waits for the handlers; while they run, the network is not read.
/// Messages may be as long as the [client's](Options::client) configuration says: 128 MiB, unless you say otherwise.
///
/// # How it ends
///
/// By [`close`](Self::close), by the server, or by a failure: `error` and then `close` with the code 1006. Nothing tells failures apart, from a
/// name that cannot be resolved to a server that breaks the protocol: the standard forbids to (section 4), so that pages cannot search a
/// network. Use [`sockeye`] itself to learn more. A connection that just ends, without a Close frame, is closed with 1006 too, and without
/// `error`: so have it all browsers.
///
/// Dropping the last reference does not close a socket that somebody listens to: see [`close`](Self::close). Otherwise the closing handshake starts,
/// without a code, behind what was sent before.
#[derive(Clone)]
pub struct WebSocket(Arc<Handle>);

impl WebSocket {
    /// The connection has not been established yet.
    pub const CONNECTING: u16 = 0;
    /// The connection is established, and communication is possible.
    pub const OPEN: u16 = 1;
    /// The closing handshake is under way, or [`close`](Self::close) was called.
    pub const CLOSING: u16 = 2;
    /// The connection is closed, or could not be opened.
    pub const CLOSED: u16 = 3;

    /// `new WebSocket(url)`: starts to open a connection to a `ws`, `wss`, `http` or `https` URL.
    ///
    /// # Errors
    ///
    /// `SyntaxError` if the URL is none, has another scheme, or has a fragment. All else is told by events.
    ///
    /// # Panics
    ///
    /// There is no tokio runtime.
    pub fn new(url: &str) -> Result<Self, DomException> {
        Self::with_options(url, &[], Options::default(), |_| {})
    }

    /// `new WebSocket(url, protocols)`: offers subprotocols too, the most wanted first. The connection is failed if the server chooses
    /// none of them.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); and `SyntaxError` if a subprotocol is not a token, or is there twice.
    ///
    /// # Panics
    ///
    /// There is no tokio runtime.
    pub fn with_protocols<P: AsRef<str>>(
        url: &str,
        protocols: impl IntoIterator<Item = P>,
    ) -> Result<Self, DomException> {
        let protocols: Vec<P> = protocols.into_iter().collect();
        let protocols: Vec<&str> = protocols.iter().map(AsRef::as_ref).collect();
        Self::with_options(url, &protocols, Options::default(), |_| {})
    }

    /// The constructor with all that a browser knows by itself, and with a place to set handlers in before anything can happen.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), sockeye_web::DomException> {
    /// use sockeye_web::{Options, WebSocket};
    ///
    /// let mut options = Options::default();
    /// options.base_url = Some("http://127.0.0.1:9000/".into());
    /// let socket = WebSocket::with_options("/echo", &["chat"], options, |socket| {
    ///     socket.set_onclose(|_, event| println!("closed with {}", event.code));
    /// })?;
    /// assert_eq!(socket.url(), "ws://127.0.0.1:9000/echo");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`with_protocols`](Self::with_protocols).
    ///
    /// # Panics
    ///
    /// There is no tokio runtime, neither in the options nor around.
    pub fn with_options(
        url: &str,
        protocols: &[&str],
        options: Options,
        set_up: impl FnOnce(&Self),
    ) -> Result<Self, DomException> {
        let url = url_record(url, options.base_url.as_deref())?;
        check_protocols(protocols)?;
        let link = Arc::new(Link::default());
        let shared = Arc::new(Shared::new(url, Arc::clone(&link), options.event_loop.clone()));
        let socket = shared.handle();
        set_up(&socket);
        let target = target(&shared.url, protocols, &options);
        let driving = connection::run(shared, link, target);
        match options.runtime {
            Some(runtime) => runtime.spawn(driving),
            None => tokio::spawn(driving),
        };
        Ok(socket)
    }

    /// The URL that the connection is for, serialized, with credentials if there are any; these are not sent. To be sent, they are
    /// [`basic_auth`](sockeye::Client::basic_auth) of [`Options::client`].
    pub fn url(&self) -> String {
        self.shared().url.to_string()
    }

    /// [`CONNECTING`](Self::CONNECTING), [`OPEN`](Self::OPEN), [`CLOSING`](Self::CLOSING) or [`CLOSED`](Self::CLOSED).
    pub fn ready_state(&self) -> u16 {
        self.shared().attributes().ready_state
    }

    /// The extensions in use, as a header field would list them; empty before the connection is established.
    pub fn extensions(&self) -> String {
        self.shared().attributes().extensions.clone()
    }

    /// The subprotocol in use; empty if there is none, and before the connection is established.
    pub fn protocol(&self) -> String {
        self.shared().attributes().protocol.clone()
    }

    /// How many bytes of application data (UTF-8 text and binary data) were given to [`send`](Self::send) and had not been transmitted to the
    /// network when the event loop last came around: while a handler runs it does not fall. Framing does not count, nor what the
    /// system holds. It is not reset when the connection closes.
    ///
    /// Outside of handlers, on a runtime of several threads, it may fall at any time.
    pub fn buffered_amount(&self) -> u64 {
        let attributes = self.shared().attributes();
        attributes.sent - attributes.transmitted
    }

    /// What was set last, or [`BinaryType::Blob`].
    pub fn binary_type(&self) -> BinaryType {
        self.shared().attributes().binary_type
    }

    /// Sets the attribute, and changes nothing else.
    pub fn set_binary_type(&self, binary_type: BinaryType) {
        self.shared().attributes().binary_type = binary_type;
    }

    /// Sends a message: queues it and returns at once, however long the queue is.
    ///
    /// Once the connection is closing or closed the data is thrown away, but counts in [`buffered_amount`](Self::buffered_amount).
    ///
    /// # Errors
    ///
    /// `InvalidStateError` while the connection is [not yet established](Self::CONNECTING).
    pub fn send(&self, data: impl Into<Message>) -> Result<(), DomException> {
        algorithms::send(self.shared(), data.into())
    }

    /// Sends a binary message whose data is still being read, as that of a `Blob` in a browser: its `size` counts in
    /// [`buffered_amount`](Self::buffered_amount) at once, and what is sent later waits for it, a Close frame too.
    ///
    /// `None` if the connection is closing or closed, and the data not needed.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_deferred(&self, size: usize) -> Result<Option<DeferredMessage>, DomException> {
        algorithms::send_deferred(self.shared(), size)
    }

    /// Closes the connection, behind what was sent before: `close(None, None)`, `close(1000, None)`, `close(4000, "enough")`. A reason without a
    /// code is left out.
    ///
    /// A connection that is not yet established is failed: `error` and `close` follow. One that is closing or closed is left alone.
    /// A server that does not answer has `close_timeout` (5 s) of [`Options::client`]'s configuration to do so.
    ///
    /// Without it a socket is closed when the last reference to it is dropped and nobody listens to what may still come: to `message`,
    /// `error` or `close`, or before it is established to any event (WHATWG WebSockets section 7).
    ///
    /// # Errors
    ///
    /// `InvalidAccessError` for a code other than 1000 and 3000 to 4999; `SyntaxError` for a reason of more than 123 bytes.
    pub fn close<'a>(
        &self,
        code: impl Into<Option<u16>>,
        reason: impl Into<Option<&'a str>>,
    ) -> Result<(), DomException> {
        algorithms::close(self.shared(), code.into(), reason.into().unwrap_or_default())
    }

    /// Ends as when a page is left (WHATWG WebSockets section 7, "make disappear"): a connection is closed with 1001, one that is not yet
    /// established is failed. No event is fired any more.
    pub fn make_disappear(self) {
        algorithms::make_disappear(self.shared());
    }

    /// Sets the handler of `open`.
    pub fn set_onopen(&self, mut handler: impl FnMut(&Self) + Send + 'static) {
        self.set_handler(EventType::Open, move |socket, _| handler(socket));
    }

    /// Sets the handler of `message`.
    pub fn set_onmessage(&self, mut handler: impl FnMut(&Self, &MessageEvent) + Send + 'static) {
        self.set_handler(EventType::Message, move |socket, event| {
            if let Event::Message(event) = event {
                handler(socket, event);
            }
        });
    }

    /// Sets the handler of `error`.
    pub fn set_onerror(&self, mut handler: impl FnMut(&Self) + Send + 'static) {
        self.set_handler(EventType::Error, move |socket, _| handler(socket));
    }

    /// Sets the handler of `close`.
    pub fn set_onclose(&self, mut handler: impl FnMut(&Self, &CloseEvent) + Send + 'static) {
        self.set_handler(EventType::Close, move |socket, event| {
            if let Event::Close(event) = event {
                handler(socket, event);
            }
        });
    }

    /// Sets the handler of an event, in place of another: what `onopen` and its kin are. Among the listeners it has the
    /// place of the first that was set.
    pub fn set_handler(&self, event_type: EventType, handler: impl FnMut(&Self, &Event) + Send + 'static) {
        self.shared().listeners.set_handler(event_type, Box::new(handler));
    }

    /// Takes the handler of an event away, as `onopen = null` does.
    pub fn remove_handler(&self, event_type: EventType) {
        self.shared().listeners.remove_handler(event_type);
    }

    /// Adds a listener, behind those there are. One that is added while an event is fired is called from the next one on.
    pub fn add_event_listener(
        &self,
        event_type: EventType,
        listener: impl FnMut(&Self, &Event) + Send + 'static,
    ) -> ListenerId {
        self.add_event_listener_with(event_type, ListenerOptions::default(), listener)
    }

    /// Adds a listener that listens once, or until a signal is raised.
    pub fn add_event_listener_with(
        &self,
        event_type: EventType,
        options: ListenerOptions,
        listener: impl FnMut(&Self, &Event) + Send + 'static,
    ) -> ListenerId {
        self.shared().listeners.add(event_type, options, Box::new(listener))
    }

    /// Removes a listener; it is not called any more, not even for an event that is just being fired. If it is gone already, nothing
    /// happens.
    pub fn remove_event_listener(&self, listener: ListenerId) {
        self.shared().listeners.remove(listener);
    }

    pub(crate) fn from_handle(handle: Arc<Handle>) -> Self {
        Self(handle)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready_state = self.ready_state();
        f.debug_struct("WebSocket")
            .field("url", &self.shared().url.as_str())
            .field("ready_state", &ready_state)
            .finish_non_exhaustive()
    }
}

//! What a page is to a browser's WebSocket: where it comes from, by which way it connects, where its code runs.

use std::fmt;
use std::sync::Arc;

use sockeye::{Client, Config, HeaderValue};
use tokio::runtime::Handle;

/// What is not an argument of the constructor in a browser, because the page or the browser says it.
///
/// ```
/// let mut options = sockeye_web::Options::default();
/// options.base_url = Some("https://example.com/game/".into());
/// options.origin = Some(sockeye::HeaderValue::from_static("https://example.com"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Connects: by it come TLS, proxies, header fields, limits and deadlines. Its own subprotocols are offered in front of those of
    /// the constructor, so leave them to that. By default one with [`config()`].
    pub client: Client,
    /// What relative URLs are relative to, as to a page's own URL. `None`: only absolute URLs will do.
    pub base_url: Option<String>,
    /// Sent as `Origin` (RFC 6455 section 10.2), in place of the client's. A browser sends the page's.
    pub origin: Option<HeaderValue>,
    /// Whether connecting to ports where other protocols live, such as mail, fails as it does in a browser (Fetch section 2.9). Off.
    pub block_bad_ports: bool,
    /// The runtime that drives the connection. `None`: the one that the constructor is called in.
    pub runtime: Option<Handle>,
    /// Where events are fired. `None`: on the task that drives the connection.
    pub event_loop: Option<EventLoop>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            client: Client::new().config(config()),
            base_url: None,
            origin: None,
            block_bad_ports: false,
            runtime: None,
            event_loop: None,
        }
    }
}

/// The limits, deadlines and choices that a socket has by default: [`Config::default`], but the server's Close is
/// [taken as browsers do](Config::close_as_browsers), and messages may be of up to 128 MiB, since the standard knows no limit and
/// browsers take what memory holds. Lower [`Config::max_message_size`] and [`Config::max_frame_size`] where a server is not to be trusted so far:
///
/// ```
/// let mut config = sockeye_web::config();
/// config.max_message_size = 1 << 20;
/// let mut options = sockeye_web::Options::default();
/// options.client = sockeye::Client::new().config(config);
/// ```
pub fn config() -> Config {
    let mut config = Config::default();
    config.max_message_size = 128 << 20;
    config.max_frame_size = 128 << 20;
    config.close_as_browsers = true;
    config
}

/// A piece of work for an [`EventLoop`]: it changes the socket's state and calls its handlers.
pub type Task = Box<dyn FnOnce() + Send>;

/// Where a socket's events are fired, if not on the task that drives its connection: an event loop of somebody else's, such as that of a
/// JavaScript engine.
///
/// It is given each [`Task`] in its order and must run them in that order, one at a time, each to its end. Between two of them, and
/// only there, the socket's attributes change by themselves: what browsers promise to scripts. While tasks wait that hold
/// 256 KiB of messages, no more is read from the network.
///
/// ```
/// use std::sync::mpsc;
/// use sockeye_web::{EventLoop, Options};
///
/// let (queue, tasks) = mpsc::channel();
/// let mut options = Options::default();
/// options.event_loop = Some(EventLoop::new(move |task| {
///     // If nobody runs tasks any more, they are dropped.
///     let _ = queue.send(task);
/// }));
/// // On the thread that all handlers are to run on:
/// for task in tasks.try_iter() {
///     task();
/// }
/// ```
#[derive(Clone)]
pub struct EventLoop(Arc<dyn Fn(Task) + Send + Sync>);

impl EventLoop {
    /// An event loop whose queue is filled by this function, from whatever thread. It must not run the task before it returns.
    pub fn new(queue_a_task: impl Fn(Task) + Send + Sync + 'static) -> Self {
        Self(Arc::new(queue_a_task))
    }

    pub(crate) fn queue(&self, task: Task) {
        (self.0)(task);
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop").finish_non_exhaustive()
    }
}

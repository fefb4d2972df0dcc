//! Events, and who listens to them (DOM section 2, HTML section 8.1.8).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sockeye::Message;

use crate::abort::AbortSignal;
use crate::websocket::WebSocket;

/// The types of events that a [`WebSocket`] fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// `open`: the connection is established.
    Open,
    /// `message`: a message has been received.
    Message,
    /// `error`: the connection was failed; `close` follows at once.
    Error,
    /// `close`: the connection is closed, or could not be opened. No event comes after it.
    Close,
}

impl EventType {
    /// The name as scripts see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Message => "message",
            Self::Error => "error",
            Self::Close => "close",
        }
    }
}

/// An event, as [`add_event_listener`](WebSocket::add_event_listener) gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection is established.
    Open,
    /// A message has been received.
    Message(MessageEvent),
    /// The connection was failed. Why is not told, as the standard demands: see [`WebSocket`].
    Error,
    /// The connection is closed.
    Close(CloseEvent),
}

impl Event {
    /// Its type.
    pub fn event_type(&self) -> EventType {
        match self {
            Self::Open => EventType::Open,
            Self::Message(_) => EventType::Message,
            Self::Error => EventType::Error,
            Self::Close(_) => EventType::Close,
        }
    }
}

/// A message has been received (HTML section 9.1).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageEvent {
    /// The message: text, or bytes, whatever [`binary_type`](WebSocket::binary_type) is. To keep it, [detach](Message::detach) it.
    pub data: Message,
    /// The origin of the socket's URL, such as `wss://example.com`.
    pub origin: Arc<str>,
}

/// The connection is closed, or could not be opened (WHATWG WebSockets section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseEvent {
    /// Whether both ends sent a Close frame (RFC 6455 section 7.1.4).
    pub was_clean: bool,
    /// The code in the server's Close frame; 1005 if it held none, 1006 if there was no such frame.
    pub code: u16,
    /// The reason in the server's Close frame, or nothing.
    pub reason: String,
}

impl CloseEvent {
    pub(crate) fn new(was_clean: bool, code: u16, reason: String) -> Self {
        Self { was_clean, code, reason }
    }
}

impl MessageEvent {
    pub(crate) fn new(data: Message, origin: Arc<str>) -> Self {
        Self { data, origin }
    }
}

/// How a listener listens (DOM section 2.7); there is no `capture` and no `passive`, which mean nothing here.
#[derive(Clone, Debug, Default)]
pub struct ListenerOptions {
    /// Whether it is removed before it is called for the first time.
    pub once: bool,
    /// Removes it when raised.
    pub signal: Option<AbortSignal>,
}

/// An event listener that was added, by which [it is removed](WebSocket::remove_event_listener).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

/// What is called for an event: `this`, and the event.
pub(crate) type Callback = Box<dyn FnMut(&WebSocket, &Event) + Send>;

/// A socket's event listeners, in the order in which they were added.
#[derive(Default)]
pub(crate) struct Listeners(Mutex<List>);

#[derive(Default)]
struct List {
    listeners: Vec<Arc<Listener>>,
    last_id: u64,
    /// Whether no event comes any more.
    is_over: bool,
}

struct Listener {
    id: ListenerId,
    event_type: EventType,
    options: ListenerOptions,
    /// Whether it is that of an event handler, `onopen` and its kin.
    is_handler: bool,
    removed: AtomicBool,
    /// Replaced for an event handler, even while the old one runs: hence two locks.
    callback: Mutex<Arc<Mutex<Callback>>>,
}

impl Listener {
    fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire) || self.options.signal.as_ref().is_some_and(AbortSignal::aborted)
    }

    fn call(&self, socket: &WebSocket, event: &Event) {
        let callback = Arc::clone(&lock(&self.callback));
        // DOM section 2.9, "inner invoke": what a callback throws is reported and the next one called. A panic is reported by the
        // process's panic hook before it unwinds.
        let _ = catch_unwind(AssertUnwindSafe(|| (*lock(&callback))(socket, event)));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// No lock is held while a callback runs or is dropped: it may hold, and call, the socket.
impl Listeners {
    /// DOM section 2.7, "add an event listener".
    pub(crate) fn add(
        &self,
        event_type: EventType,
        options: ListenerOptions,
        callback: Callback,
    ) -> ListenerId {
        self.push(event_type, options, false, callback)
    }

    fn push(
        &self,
        event_type: EventType,
        options: ListenerOptions,
        is_handler: bool,
        callback: Callback,
    ) -> ListenerId {
        let mut list = lock(&self.0);
        list.last_id += 1;
        let id = ListenerId(list.last_id);
        // Step 2: "If listener's signal is not null and is aborted, then return."
        if list.is_over || options.signal.as_ref().is_some_and(AbortSignal::aborted) {
            drop(list);
            drop(callback);
            return id;
        }
        let callback = Mutex::new(Arc::new(Mutex::new(callback)));
        let removed = AtomicBool::new(false);
        // Step 5: "append listener to eventTarget's event listener list"
        list.listeners.push(Arc::new(Listener { id, event_type, options, is_handler, removed, callback }));
        id
    }

    /// DOM section 2.7, "remove an event listener".
    pub(crate) fn remove(&self, id: ListenerId) {
        self.remove_if(|listener| listener.id == id && !listener.is_handler);
    }

    fn remove_if(&self, is_it: impl Fn(&Listener) -> bool) {
        let mut list = lock(&self.0);
        let removed: Vec<_> = list.listeners.extract_if(.., |listener| is_it(listener)).collect();
        drop(list);
        for listener in &removed {
            // "Set listener's removed to true": a dispatch that is under way passes it over.
            listener.removed.store(true, Ordering::Release);
        }
    }

    /// Sets an event handler (HTML section 8.1.8.1).
    pub(crate) fn set_handler(&self, event_type: EventType, callback: Callback) {
        let list = lock(&self.0);
        let handler =
            list.listeners.iter().find(|listener| listener.is_handler && listener.event_type == event_type);
        // "activate an event handler" step 2: "If eventHandler's listener is not null, then return.": it keeps its place.
        if let Some(handler) = handler.cloned() {
            drop(list);
            let new = Arc::new(Mutex::new(callback));
            let old = std::mem::replace(&mut *lock(&handler.callback), new);
            drop(old);
        } else {
            drop(list);
            self.push(event_type, ListenerOptions::default(), true, callback);
        }
    }

    /// "deactivate an event handler": set again, it comes behind those that were added meanwhile.
    pub(crate) fn remove_handler(&self, event_type: EventType) {
        self.remove_if(|listener| listener.is_handler && listener.event_type == event_type);
    }

    /// Whether anybody listens to one of these.
    pub(crate) fn has_any(&self, types: &[EventType]) -> bool {
        let list = lock(&self.0);
        list.listeners.iter().any(|listener| types.contains(&listener.event_type) && !listener.is_removed())
    }

    /// DOM section 2.9, "inner invoke". `socket` is asked for only if somebody listens.
    pub(crate) fn fire(&self, socket: impl FnOnce() -> WebSocket, event: &Event) {
        if !self.has_any(&[event.event_type()]) {
            return;
        }
        let socket = socket();
        // DOM section 2.9, "invoke": "Let listeners be a clone of event's currentTarget attribute value's event listener
        // list.": those that are added meanwhile are not called.
        let listeners = lock(&self.0).listeners.clone();
        for listener in listeners {
            // "For each listener in listeners, whose removed is false: If event's type attribute value is not listener's type, then
            // continue."
            if listener.event_type != event.event_type() || listener.is_removed() {
                continue;
            }
            // "If listener's once is true, then remove an event listener given event's currentTarget attribute value and listener."
            if listener.options.once {
                self.remove(listener.id);
            }
            listener.call(&socket, event);
        }
    }

    /// No event comes any more: lets go of all listeners, and of what they hold, the socket perhaps.
    pub(crate) fn end(&self) {
        let mut list = lock(&self.0);
        list.is_over = true;
        let listeners = std::mem::take(&mut list.listeners);
        drop(list);
        drop(listeners);
    }
}

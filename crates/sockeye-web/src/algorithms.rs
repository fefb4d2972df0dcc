//! What the standard says a socket does, step by step: its methods, what the protocol tells it, and its end.
//!
//! ```text
//!               established                close(), the server's Close           closed
//!   CONNECTING ─────────────▶ OPEN ────────────────────────────────▶ CLOSING ─────────────▶ CLOSED
//!       │                      │  failed, lost                                               ▲
//!       │  close()             └──────────────────────────────────────────────────────────────┤
//!       ├────────────────────────────────────────────────────▶ CLOSING ───────────────────────┤
//!       │  failed                                                                             │
//!       └─────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use std::sync::Arc;

use sockeye::{CloseCode, CloseFrame, Message};

use crate::connection::{Closed, Feedback};
use crate::deferred::DeferredMessage;
use crate::error::{DomException, ErrorName, check_close};
use crate::events::{CloseEvent, Event, EventType, MessageEvent};
use crate::link::{Closing, Link};
use crate::object::Shared;
use crate::websocket::WebSocket;

/// WHATWG WebSockets section 3.1, "send(data)".
pub(crate) fn send(socket: &Shared, data: Message) -> Result<(), DomException> {
    let size = data.len();
    queue_message(socket, size, |link| link.send(data))
}

/// The same for data that is still being read.
pub(crate) fn send_deferred(socket: &Shared, size: usize) -> Result<Option<DeferredMessage>, DomException> {
    let mut deferred = None;
    queue_message(socket, size, |link| deferred = Some(DeferredMessage::new(link, size)))?;
    Ok(deferred)
}

fn queue_message(socket: &Shared, size: usize, queue: impl FnOnce(&Arc<Link>)) -> Result<(), DomException> {
    let mut attributes = socket.attributes();
    // Step 1: "If this's ready state is CONNECTING, then throw an "InvalidStateError" DOMException."
    if attributes.ready_state == WebSocket::CONNECTING {
        let message = "the connection is not established yet";
        return Err(DomException::new(ErrorName::InvalidState, message));
    }
    // Step 2: "Any invocation of this method with a string argument that does not throw an exception must increase the bufferedAmount
    // attribute by the number of bytes needed to express the argument as UTF-8.", and for binary data "by the length of the ArrayBuffer
    // in bytes"
    attributes.sent += size as u64;
    // "If the WebSocket connection is established and the WebSocket closing handshake has not yet started, then the user agent must send a
    // WebSocket Message comprised of the data argument using a text frame opcode": the link knows of the peer's Close too.
    if attributes.ready_state == WebSocket::OPEN {
        // Under the lock, so that two threads' messages go in the order in which they are counted.
        queue(&socket.link);
    }
    Ok(())
}

/// WHATWG WebSockets section 3.1, "close(code, reason)".
pub(crate) fn close(socket: &Shared, code: Option<u16>, reason: &str) -> Result<(), DomException> {
    // Steps 1 and 2.
    check_close(code, reason)?;
    // Step 3: "Run the first matching steps from the following list:"
    let mut attributes = socket.attributes();
    match attributes.ready_state {
        // "If this's ready state is CLOSING (2) or CLOSED (3): Do nothing."
        WebSocket::CLOSING | WebSocket::CLOSED => return Ok(()),
        // "If the WebSocket connection is not yet established: Fail the WebSocket connection and set this's ready state to CLOSING (2)."
        WebSocket::CONNECTING => socket.link.fail(),
        // "If the WebSocket closing handshake has not yet been started: Start the WebSocket closing handshake and set this's ready state to
        // CLOSING (2). If neither code nor reason is present, the WebSocket Close message must not have a body. If code is present, then the
        // status code to use in the WebSocket Close message must be the integer given by code. If reason is also present, then reasonBytes
        // must be provided in the Close message after the status code.": without a code, it is left out. "Otherwise: Set this's ready state to CLOSING (2).": the link knows.
        _ => socket.link.start_close(close_frame(code, reason)),
    }
    attributes.ready_state = WebSocket::CLOSING;
    Ok(())
}

/// What goes into the Close frame.
pub(crate) fn close_frame(code: Option<u16>, reason: &str) -> Closing {
    code.map_or(Closing::Empty, |code| {
        Closing::Frame(CloseFrame { code: code.into(), reason: reason.into() })
    })
}

/// WHATWG WebSockets section 4, "Feedback from the protocol": the steps of the queued tasks.
pub(crate) fn feedback(socket: &Arc<Shared>, feedback: Feedback) {
    // Nothing is garbage while a task uses it. If this is the last reference, what may be is found out when it goes.
    let _this = socket.handle();
    match feedback {
        Feedback::Established { extensions, protocol } => established(socket, extensions, protocol),
        Feedback::Message(message) => message_received(socket, message),
        Feedback::ClosingStarted => closing_started(socket),
        Feedback::Closed(closed) => connection_closed(socket, &closed),
        // WHATWG WebSockets section 3.1, "bufferedAmount": "the number of bytes of application data (UTF-8 text and binary data) that have
        // been queued using send() but that, as of the last time the event loop reached step 1, had not yet been transmitted to the network"
        Feedback::Transmitted(total) => socket.attributes().transmitted = total,
    }
}

/// "When the WebSocket connection is established".
fn established(socket: &Arc<Shared>, extensions: String, protocol: String) {
    let mut attributes = socket.attributes();
    // close() may have been called after the server's answer had come and before this task.
    if attributes.ready_state != WebSocket::CONNECTING {
        return;
    }
    // Step 1: "Change the ready state to OPEN (1)."
    attributes.ready_state = WebSocket::OPEN;
    // Step 2: "Change the extensions attribute's value to the extensions in use, if it is not the null value."
    attributes.extensions = extensions;
    // Step 3: "Change the protocol attribute's value to the subprotocol in use, if it is not the null value."
    attributes.protocol = protocol;
    drop(attributes);
    // Step 4: "Fire an event named open at the WebSocket object."
    fire(socket, &Event::Open);
}

/// "When a WebSocket message has been received with type type and data data".
fn message_received(socket: &Arc<Shared>, message: Message) {
    // Step 1: "If ready state is not OPEN (1), then return."
    if socket.attributes().ready_state != WebSocket::OPEN {
        return;
    }
    // Steps 2 and 3: "Fire an event named message at the WebSocket object, using MessageEvent, with the origin attribute initialized to the
    // serialization of the WebSocket object's url's origin, and the data attribute initialized to dataForEvent."
    fire(socket, &Event::Message(MessageEvent::new(message, Arc::clone(&socket.origin))));
}

/// "When the WebSocket closing handshake is started".
fn closing_started(socket: &Shared) {
    // "the user agent must queue a task to change the ready state to CLOSING (2). (If the close() method was called, the ready state will
    // already be set to CLOSING (2) when this task runs.)"
    socket.attributes().ready_state = WebSocket::CLOSING;
}

/// "When the WebSocket connection is closed, possibly cleanly".
fn connection_closed(socket: &Arc<Shared>, closed: &Closed) {
    // Step 1: "Change the ready state to CLOSED (3)."
    socket.attributes().ready_state = WebSocket::CLOSED;
    // Step 2: "If the user agent was required to fail the WebSocket connection, or if the WebSocket connection was closed after being flagged
    // as full, fire an event named error at the WebSocket object.": the queue of messages is never full.
    if closed.failed {
        fire(socket, &Event::Error);
    }
    // Step 3: "Fire an event named close at the WebSocket object, using CloseEvent, with the wasClean attribute initialized to true if the
    // connection closed cleanly and false otherwise, the code attribute initialized to the WebSocket connection close code, and the reason
    // attribute initialized to the result of applying UTF-8 decode without BOM to the WebSocket connection close reason."
    let reason = closed.reason.as_str().to_owned();
    fire(socket, &Event::Close(CloseEvent::new(closed.clean, closed.code, reason)));
    socket.listeners.end();
}

fn fire(socket: &Arc<Shared>, event: &Event) {
    socket.listeners.fire(|| socket.handle(), event);
}

/// WHATWG WebSockets section 7, "Garbage collection": what happens to an object that nobody can reach.
pub(crate) fn collect_garbage(socket: &Shared) {
    if socket.is_referenced() {
        return;
    }
    let ready_state = socket.attributes().ready_state;
    let keeps_it: &[EventType] = match ready_state {
        // "A WebSocket object whose ready state was set to CONNECTING (0) as of the last time the event loop reached step 1 must not be garbage
        // collected if there are any event listeners registered for open events, message events, error events, or close events."
        WebSocket::CONNECTING => &[EventType::Open, EventType::Message, EventType::Error, EventType::Close],
        // "A WebSocket object whose ready state was set to OPEN (1) [..] must not be garbage collected if there are any event listeners
        // registered for message events, error, or close events."
        WebSocket::OPEN => &[EventType::Message, EventType::Error, EventType::Close],
        // "A WebSocket object whose ready state was set to CLOSING (2) [..] must not be garbage collected if there are any event listeners
        // registered for error or close events."
        WebSocket::CLOSING => &[EventType::Error, EventType::Close],
        _ => &[],
    };
    if socket.listeners.has_any(keeps_it) {
        return;
    }
    socket.listeners.end();
    match ready_state {
        WebSocket::CONNECTING => socket.link.fail(),
        // "If a WebSocket object is garbage collected while its connection is still open, the user agent must start the WebSocket closing
        // handshake, with no status code for the Close message." and "A WebSocket object with an established connection that has data queued to
        // be transmitted to the network must not be garbage collected.": the Close goes behind the data.
        _ => socket.link.start_close(Closing::Empty),
    }
}

/// WHATWG WebSockets section 7: "If a user agent is to make disappear a WebSocket object (this happens when a Document object goes away)".
pub(crate) fn make_disappear(socket: &Shared) {
    socket.listeners.end();
    let mut attributes = socket.attributes();
    match attributes.ready_state {
        // "If the WebSocket connection is not yet established: Fail the WebSocket connection."
        WebSocket::CONNECTING => socket.link.fail(),
        // "If the WebSocket closing handshake has not yet been started: Start the WebSocket closing handshake, with the status code to use in
        // the WebSocket Close message being 1001."
        WebSocket::OPEN => {
            socket.link.start_close(close_frame(Some(CloseCode::GOING_AWAY.into()), ""));
        }
        // "Otherwise: Do nothing."
        _ => return,
    }
    attributes.ready_state = WebSocket::CLOSING;
}

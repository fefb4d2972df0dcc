//! Drives the connection of an object: what the object asks goes to the network, what the protocol has to say goes to the object.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_sink::Sink;
use sockeye::{Client, CloseInfo, Error, Event, Message, Utf8Bytes};

use crate::link::{Closing, Link};
use crate::meter::Meter;

/// What the protocol tells the object (WHATWG WebSockets section 4, "Feedback from the protocol").
pub(crate) enum Feedback {
    /// "The WebSocket connection is established."
    Established { extensions: String, protocol: String },
    /// "A WebSocket message has been received."
    Message(Message),
    /// "The WebSocket closing handshake is started", by the peer.
    ClosingStarted,
    /// "The WebSocket connection is closed." Nothing comes after it.
    Closed(Closed),
    /// So many bytes of application data have been transmitted to the network, all in all.
    Transmitted(u64),
}

/// How a connection has ended.
pub(crate) struct Closed {
    /// Whether the standards say to fail the connection.
    pub(crate) failed: bool,
    /// Whether it was closed cleanly.
    pub(crate) clean: bool,
    pub(crate) code: u16,
    pub(crate) reason: Utf8Bytes,
}

impl Closed {
    /// RFC 6455 section 7.1.5: "If _The WebSocket Connection is Closed_ and no Close control frame was received by the endpoint [..],
    /// _The WebSocket Connection Close Code_ is considered to be 1006."
    fn failed() -> Self {
        Self { failed: true, clean: false, code: 1006, reason: Utf8Bytes::new() }
    }

    fn ended(info: Option<&CloseInfo>) -> Self {
        info.map_or_else(Self::failed, |info| Self {
            failed: false,
            clean: info.clean,
            code: info.code.into(),
            reason: info.reason.clone(),
        })
    }
}

/// The object that a connection belongs to.
pub(crate) trait Owner: Send + Sync + 'static {
    /// Takes what the protocol tells.
    fn feedback(self: &Arc<Self>, feedback: Feedback);

    /// Whether it has room for a message; when that changes it [wakes](Link::wake) the driver.
    fn wants_message(&self) -> bool;

    /// The queue of what is to be sent has become shorter.
    fn encoded(&self) {}
}

/// Where to connect to.
pub(crate) struct Target {
    pub(crate) client: Client,
    pub(crate) url: String,
    /// Whether subprotocols are offered.
    pub(crate) has_protocols: bool,
    /// Whether the port is one not to be connected to.
    pub(crate) is_blocked: bool,
}

/// "Establish a WebSocket connection".
async fn establish(target: Target) -> Option<sockeye::WebSocket> {
    // Fetch section 2.9, "block bad port": "If url's scheme is an HTTP(S) scheme and url's port is a bad port, then return blocked."
    if target.is_blocked {
        return None;
    }
    // WHATWG WebSockets section 2.2 step 11.1: "If response is a network error or its status is not 101, fail the WebSocket connection."
    let ws = target.client.connect(&target.url).await.ok()?;
    // Step 11.2: "If protocols is not the empty list and extracting header list values given `Sec-WebSocket-Protocol` and response's header
    // list results in null, failure, or the empty byte sequence, then fail the WebSocket connection."
    (!target.has_protocols || ws.subprotocol().is_some()).then_some(ws)
}

/// Opens a connection and drives it to its end.
pub(crate) async fn run<O: Owner>(owner: Arc<O>, link: Arc<Link>, target: Target) {
    let established = tokio::select! {
        biased;
        () = link.failed() => None,
        established = Box::pin(establish(target)) => established,
    };
    let Some(mut ws) = established else {
        link.shut();
        owner.feedback(Feedback::Closed(Closed::failed()));
        return;
    };
    let handshake = ws.take_handshake();
    let extensions = handshake.iter().flat_map(|handshake| &handshake.extensions);
    let extensions = extensions.map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let protocol = handshake.and_then(|handshake| handshake.subprotocol).unwrap_or_default();
    owner.feedback(Feedback::Established { extensions, protocol });
    let mut connection = Connection { ws, link, meter: Meter::default() };
    loop {
        let feedback = poll_fn(|cx| connection.poll(&*owner, cx)).await;
        let is_closed = matches!(feedback, Feedback::Closed(_));
        if is_closed {
            connection.link.shut();
        }
        owner.feedback(feedback);
        if is_closed {
            break;
        }
    }
    drop(owner);
    // A failed connection is closed for the object at once. The peer is still to get the Close frame that says why, which closing the
    // socket with unread bytes would destroy; the closing deadline bounds this.
    while !connection.link.is_failed() && matches!(connection.ws.recv_event().await, Ok(Some(_))) {}
}

struct Connection {
    ws: sockeye::WebSocket,
    link: Arc<Link>,
    meter: Meter,
}

impl Connection {
    /// The next that the protocol has to say. Between one and the next the object's code runs, and what is counted does not change.
    fn poll<O: Owner>(&mut self, owner: &O, cx: &mut Context<'_>) -> Poll<Feedback> {
        self.link.register(cx.waker());
        if self.link.is_failed() {
            return Poll::Ready(Feedback::Closed(Closed::failed()));
        }
        self.poll_encode(owner, cx);
        // First, so that whoever hears an answer knows that what it answers was transmitted.
        if self.ws.close_info().is_none()
            && let Poll::Ready(transmitted) = self.poll_transmitted(cx)
        {
            return Poll::Ready(transmitted);
        }
        if !owner.wants_message() {
            return Poll::Pending;
        }
        loop {
            let received = pin!(self.ws.recv_event()).poll(cx);
            match received {
                Poll::Ready(Ok(Some(Event::Message(message)))) => {
                    return Poll::Ready(Feedback::Message(message));
                }
                Poll::Ready(Ok(Some(Event::Close(_)))) => return Poll::Ready(Feedback::ClosingStarted),
                Poll::Ready(Ok(Some(_))) => {}
                Poll::Ready(Ok(None)) => {
                    return Poll::Ready(Feedback::Closed(Closed::ended(self.ws.close_info())));
                }
                // The server has closed the TCP connection: it is closed, neither cleanly nor by a failure. So have it all browsers.
                Poll::Ready(Err(Error::Io(error))) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Feedback::Closed(Closed::ended(self.ws.close_info())));
                }
                // RFC 6455 section 7.2.1: "if at any point the underlying transport layer connection is unexpectedly lost, the client MUST
                // _Fail the WebSocket Connection_."
                Poll::Ready(Err(_)) => return Poll::Ready(Feedback::Closed(Closed::failed())),
                Poll::Pending => break,
            }
        }
        // The peer broke the protocol: RFC 6455 section 7.1.7: "An endpoint MUST NOT continue to attempt to process data (including a
        // responding Close frame) from the remote endpoint after being instructed to _Fail the WebSocket Connection_."
        if self.ws.close_info().is_some_and(|info| !info.clean) {
            return Poll::Ready(Feedback::Closed(Closed::failed()));
        }
        self.poll_transmitted(cx)
    }

    /// Encodes what the object has queued, as far as there is room, and then its Close frame.
    fn poll_encode<O: Owner>(&mut self, owner: &O, cx: &mut Context<'_>) {
        while self.link.has_message() {
            match Pin::new(&mut self.ws).poll_ready(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => self.link.shut(),
            }
            let message = self.link.next_message();
            owner.encoded();
            let Some(message) = message else { break };
            let (length, before) = (message.len(), self.ws.buffered_amount());
            if Pin::new(&mut self.ws).start_send(message).is_ok() {
                self.meter.encoded(length, before, self.ws.buffered_amount());
            }
        }
        // The frame was checked when it was asked for; and if the peer's Close came first, ours is on its way already.
        let _ = match self.link.next_close() {
            Some(Closing::Frame(frame)) => self.ws.start_close(frame.code, frame.reason),
            Some(Closing::Empty) => self.ws.start_close_without_code(),
            None => Ok(()),
        };
    }

    /// Writes, and tells if application data has got to the network. What a lost connection has swallowed has not.
    fn poll_transmitted(&mut self, cx: &mut Context<'_>) -> Poll<Feedback> {
        let was_open = self.ws.close_info().is_none();
        let is_lost = matches!(Pin::new(&mut self.ws).poll_flush(cx), Poll::Ready(Err(_)));
        if is_lost || was_open && self.ws.close_info().is_some() {
            return Poll::Pending;
        }
        match self.meter.transmitted(self.ws.buffered_amount()) {
            Some(total) => Poll::Ready(Feedback::Transmitted(total)),
            None => Poll::Pending,
        }
    }
}

//! The one loop of both modes: what came, what is to be sent, what the user wishes, whichever is there first.

use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use sockeye::{CloseCode, Error, Message, Reconnecting, WebSocket};

use super::input::Input;
use super::{Ending, describe_close, escaped};
use crate::exit::Exit;
use crate::signals::Interrupts;
use crate::tell;

/// How long more input is waited for when the connection has ended before it.
const LAST_INPUT: Duration = Duration::from_millis(500);

/// What happens next.
pub(super) enum Step {
    /// A message came, or a part of one; and whether it is the last.
    Received(Message, bool),
    /// There is no more input: it has ended, or failed (which was told).
    InputEnded,
    /// The connection has ended.
    Ended,
}

/// A message to be sent, or a part of one; and whether it is the last.
enum Unsent {
    Message(Message),
    Part(Message, bool),
}

/// A connection and the user's wishes.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
pub(super) struct Pump {
    /// `None` while it is lost, and another is on its way.
    ws: Option<WebSocket>,
    connections: Reconnecting,
    /// Whether a lost connection is to be made again.
    reconnects: bool,
    interrupts: Interrupts,
    /// Whether more input may come.
    has_input: bool,
    /// Whether messages are received in parts, as they come.
    in_parts: bool,
    /// Input that is not sent yet, or could not be sent any more.
    unsent: Option<Unsent>,
    /// Whether a message was sent in part.
    is_in_message: bool,
    /// Which of the two is asked first: if it were always the same, it could keep the other from ever being asked.
    input_first: bool,
    /// How often the user has wished the end: once, to close; twice, not to wait for the end of that either.
    interrupted: u8,
    own: Option<Exit>,
    result: Result<(), Error>,
    closing_since: Option<Instant>,
}

impl Pump {
    pub(super) fn new(
        ws: WebSocket,
        connections: Reconnecting,
        reconnects: bool,
        interrupts: Interrupts,
    ) -> Self {
        Self {
            ws: Some(ws),
            connections,
            reconnects,
            interrupts,
            has_input: true,
            in_parts: false,
            unsent: None,
            is_in_message: false,
            input_first: false,
            interrupted: 0,
            own: None,
            result: Ok(()),
            closing_since: None,
        }
    }

    /// Receives messages in parts from now on: however long they are, they are not kept.
    pub(super) fn receive_parts(&mut self) {
        self.in_parts = true;
    }

    /// Whether more input may come.
    pub(super) fn has_input(&self) -> bool {
        self.has_input
    }

    /// Whether the closing handshake has begun on this side.
    pub(super) fn is_closing(&self) -> bool {
        self.closing_since.is_some()
    }

    /// Whether the user wishes the end: what still comes need not be shown.
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted > 0
    }

    /// Whether everything sent so far was given to the operating system.
    pub(super) fn is_written(&self) -> bool {
        self.ws.as_ref().is_some_and(|ws| ws.buffered_amount() == 0)
    }

    /// Closes with 1000. What still comes is received.
    pub(super) fn close(&mut self) {
        self.has_input = false;
        // If it is closing already, or was lost, its end comes anyway.
        if self.ws.as_mut().is_none_or(|ws| ws.start_close(CloseCode::NORMAL_CLOSURE, "").is_ok()) {
            self.closing_since = Some(Instant::now());
        }
    }

    /// Closes because of something on this side.
    pub(super) fn close_for(&mut self, own: Exit) {
        self.own = Some(own);
        self.close();
    }

    /// What happens next. Input is sent on the way; none is taken unless it can be sent at once, so that waiting to send
    /// never keeps from receiving, and two ends that both wait for room do not wait for each other. `may_receive` is whether
    /// there is room for a message; an end that the user wishes needs none.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        may_receive: bool,
        mut poll_input: impl FnMut(&mut Context<'_>) -> Poll<Option<Input>>,
    ) -> Poll<Step> {
        if self.poll_interrupt(cx) {
            return Poll::Ready(Step::Ended);
        }
        if self.ws.is_none() && !ready!(self.poll_reconnect(cx)) {
            return Poll::Ready(Step::Ended);
        }
        self.input_first = !self.input_first;
        if self.input_first
            && let Some(step) = self.poll_input(cx, &mut poll_input)
        {
            return Poll::Ready(step);
        }
        if (may_receive || self.is_interrupted())
            && let Poll::Ready(received) = self.poll_recv(cx)
        {
            let result = match received {
                Ok(Some((message, is_last))) => return Poll::Ready(Step::Received(message, is_last)),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if self.is_over(&result) {
                self.result = result;
                return Poll::Ready(Step::Ended);
            }
            self.ws = None;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Receiving has written what could be written, so that there may be room now.
        self.poll_input(cx, &mut poll_input).map_or(Poll::Pending, Poll::Ready)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(Message, bool)>, Error>> {
        let Some(ws) = &mut self.ws else { return Poll::Pending };
        if self.in_parts {
            pin!(ws.recv_part()).poll(cx).map_ok(|part| part.map(|part| (part.data, part.last)))
        } else {
            pin!(ws.recv()).poll(cx).map_ok(|message| message.map(|message| (message, true)))
        }
    }

    /// Whether the connection that has ended like this is not to be made again. Tells of it otherwise.
    fn is_over(&self, result: &Result<(), Error>) -> bool {
        let info = self.ws.as_ref().and_then(WebSocket::close_info);
        let is_done =
            result.is_ok() && info.is_none_or(|info| info.clean && info.code == CloseCode::NORMAL_CLOSURE);
        let may_heal = result.as_ref().err().is_none_or(Error::is_temporary);
        // What was sent of a message cannot be sent again.
        if !self.reconnects || self.is_closing() || is_done || !may_heal || self.is_in_message {
            return true;
        }
        match (result, info) {
            (Err(error), _) => tell(escaped(&error.to_string())),
            (Ok(()), Some(info)) => tell(describe_close(info, false)),
            (Ok(()), None) => {}
        }
        false
    }

    /// Makes the connection again: false if that is given up.
    fn poll_reconnect(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.is_closing() {
            return Poll::Ready(false);
        }
        Poll::Ready(match ready!(pin!(self.connections.connect()).poll(cx)) {
            Ok(ws) => {
                tell("connected again");
                self.ws = Some(ws);
                true
            }
            Err(error) => {
                self.result = Err(error);
                false
            }
        })
    }

    /// Whether the user wishes the end at once; the first such wish closes the connection.
    pub(super) fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> bool {
        while self.interrupted < 2 && self.interrupts.poll(cx).is_ready() {
            self.interrupt();
        }
        self.interrupted == 2
    }

    fn interrupt(&mut self) {
        self.interrupted += 1;
        self.close_for(Exit::Interrupted);
    }

    fn poll_input(
        &mut self,
        cx: &mut Context<'_>,
        poll_input: &mut impl FnMut(&mut Context<'_>) -> Poll<Option<Input>>,
    ) -> Option<Step> {
        while self.has_input
            && let Some(ws) = &mut self.ws
            && ws.buffered_amount() < ws.config().max_buffered
        {
            if let Some(unsent) = &self.unsent {
                // There is room, so that mostly this is ready at once. If it fails, receiving tells why.
                let (sent, goes_on) = match unsent {
                    Unsent::Message(message) => (pin!(ws.send(message.clone())).poll(cx), false),
                    Unsent::Part(part, last) => (pin!(ws.send_part(part.clone(), *last)).poll(cx), !last),
                };
                match sent {
                    Poll::Pending => break,
                    Poll::Ready(Ok(())) => (self.unsent, self.is_in_message) = (None, goes_on),
                    Poll::Ready(Err(_)) if self.reconnects => break,
                    Poll::Ready(Err(_)) => self.has_input = false,
                }
                continue;
            }
            match poll_input(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Input::Message(message))) => self.unsent = Some(Unsent::Message(message)),
                Poll::Ready(Some(Input::Part(part, last))) => self.unsent = Some(Unsent::Part(part, last)),
                Poll::Ready(Some(Input::Failed(why))) => {
                    crate::complain(why);
                    self.own = Some(Exit::Other);
                    self.has_input = false;
                    return Some(Step::InputEnded);
                }
                Poll::Ready(Some(Input::Interrupted)) => {
                    self.interrupt();
                    // Receiving writes the Close, and may have had its turn.
                    cx.waker().wake_by_ref();
                }
                Poll::Ready(None) => {
                    self.has_input = false;
                    return Some(Step::InputEnded);
                }
            }
        }
        None
    }

    /// The connection has ended; `rest` is the input that was not taken, if more of it comes.
    pub(super) async fn finish(self, rest: impl Future<Output = Option<Input>>) -> Ending {
        let more = async {
            matches!(
                tokio::time::timeout(LAST_INPUT, rest).await,
                Ok(Some(Input::Message(_) | Input::Part(..)))
            )
        };
        let has_unsent = self.unsent.is_some() || (self.has_input && more.await);
        Ending {
            own: self.own,
            result: self.result,
            info: self.ws.as_ref().and_then(WebSocket::close_info).cloned(),
            closing_since: self.closing_since,
            has_unsent,
        }
    }
}

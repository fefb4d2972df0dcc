//! What an object asks of its connection, from whatever thread: the queue of what is to be sent, and how it is to end.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};

use sockeye::{CloseFrame, Message};

/// Shared by an object and the task that drives its connection.
#[derive(Default)]
pub(crate) struct Link(Mutex<Wishes>);

/// The Close frame with which a closing handshake starts.
pub(crate) enum Closing {
    /// One without a body.
    Empty,
    /// One with a code that may be sent and a reason that fits.
    Frame(CloseFrame),
}

/// A message in the queue.
enum Queued {
    Now(Message),
    /// One whose data is still being read: those behind it wait.
    Deferred(Arc<OnceLock<Message>>),
}

impl Queued {
    fn is_there(&self) -> bool {
        match self {
            Self::Now(_) => true,
            Self::Deferred(place) => place.get().is_some(),
        }
    }

    fn into_message(self) -> Option<Message> {
        match self {
            Self::Now(message) => Some(message),
            Self::Deferred(place) => place.get().cloned(),
        }
    }
}

#[derive(Default)]
struct Wishes {
    messages: VecDeque<Queued>,
    /// The Close frame to be sent behind the messages.
    close: Option<Closing>,
    /// Whether no more is taken: the closing handshake is started, or the connection is over.
    shut: bool,
    /// Whether the connection is to be failed.
    fail: bool,
    driver: Option<Waker>,
}

impl Link {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        let mut wishes = self.wishes();
        change(&mut wishes);
        let driver = wishes.driver.take();
        drop(wishes);
        driver.into_iter().for_each(Waker::wake);
    }

    /// Queues a message, if the closing handshake is not started yet.
    pub(crate) fn send(&self, message: Message) {
        self.queue(Queued::Now(message));
    }

    /// Queues a message whose data will be put into the place it is given, and the driver [woken](Self::wake).
    pub(crate) fn send_deferred(&self, place: Arc<OnceLock<Message>>) {
        self.queue(Queued::Deferred(place));
    }

    fn queue(&self, message: Queued) {
        self.wish(|wishes| {
            if !wishes.shut {
                wishes.messages.push_back(message);
            }
        });
    }

    /// Starts the closing handshake, behind the messages that are queued.
    pub(crate) fn start_close(&self, frame: Closing) {
        self.wish(|wishes| {
            if !std::mem::replace(&mut wishes.shut, true) {
                wishes.close = Some(frame);
            }
        });
    }

    /// Fails the connection if a message of that place is still to be sent.
    pub(crate) fn give_up(&self, place: &Arc<OnceLock<Message>>) {
        self.wish(|wishes| {
            let is_it =
                |message: &Queued| matches!(message, Queued::Deferred(known) if Arc::ptr_eq(known, place));
            if wishes.messages.iter().any(is_it) {
                (wishes.shut, wishes.fail) = (true, true);
            }
        });
    }

    /// Fails the connection.
    pub(crate) fn fail(&self) {
        self.wish(|wishes| (wishes.shut, wishes.fail) = (true, true));
    }

    /// Has the driver look again at what the object wants.
    pub(crate) fn wake(&self) {
        self.wish(|_| {});
    }

    /// Whether a message waits for its turn to be encoded.
    pub(crate) fn has_message(&self) -> bool {
        self.wishes().messages.front().is_some_and(Queued::is_there)
    }

    /// Remembers whom to wake. Before anything is looked at, or a wake-up between the two would be lost.
    pub(crate) fn register(&self, driver: &Waker) {
        self.wishes().driver = Some(driver.clone());
    }

    /// The next message.
    pub(crate) fn next_message(&self) -> Option<Message> {
        let mut wishes = self.wishes();
        let is_there = wishes.messages.front().is_some_and(Queued::is_there);
        if is_there { wishes.messages.pop_front()?.into_message() } else { None }
    }

    /// The Close frame, once it is its turn.
    pub(crate) fn next_close(&self) -> Option<Closing> {
        let mut wishes = self.wishes();
        if wishes.messages.is_empty() { wishes.close.take() } else { None }
    }

    /// The peer has closed, or the connection is over: what is queued is not sent any more.
    pub(crate) fn shut(&self) {
        let mut wishes = self.wishes();
        (wishes.shut, wishes.close) = (true, None);
        let unsent = std::mem::take(&mut wishes.messages);
        drop(wishes);
        drop(unsent);
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.wishes().fail
    }

    /// Waits until the connection is to be failed.
    pub(crate) async fn failed(&self) {
        poll_fn(|cx| {
            self.register(cx.waker());
            if self.is_failed() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

//! A WebSocket in two halves, for two tasks.
//!
//! Both share one driver, locked for a poll and never across an `await`. The transport is polled with one waker for all, since
//! it keeps only one a direction: with a waker of its own, the flush of a pong by the receiving half would take the place
//! of a sender that waits to write, and that sender would never be woken.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use sockeye_proto::{CloseFrame, CloseInfo};

use crate::driver::Driver;
use crate::error::Error;
use crate::handshake::Handshake;

mod queue;
mod receiver;
mod sender;
mod writer;

use queue::Queue;
pub use queue::{Offered, QueueCounters, QueuedSender, SlowConsumer};
pub use receiver::Receiver;
pub use sender::Sender;
pub use writer::MessageWriter;

pub(crate) fn split(driver: Driver, handshake: Option<Box<Handshake>>) -> (Sender, Receiver) {
    let waiting = Arc::new(Waiting::default());
    let shared = Arc::new(Shared {
        driver: Mutex::new(driver),
        waker: waiting.clone().into(),
        waiting,
        unread: AtomicBool::new(false),
        writing: AtomicBool::new(false),
        queue: OnceLock::new(),
        handshake,
    });
    (Sender { shared: shared.clone() }, Receiver { shared })
}

struct Shared {
    driver: Mutex<Driver>,
    waiting: Arc<Waiting>,
    /// Wakes all who wait.
    waker: Waker,
    /// Whether the receiver is gone, so that nobody wants the messages that come.
    unread: AtomicBool,
    /// Whether there is a [`MessageWriter`], for whose end all other senders wait. Changed under the driver's lock only.
    writing: AtomicBool,
    /// What is not encoded yet, if anybody queues messages. Locked behind the driver.
    queue: OnceLock<Box<Mutex<Queue>>>,
    handshake: Option<Box<Handshake>>,
}

/// Who waits. A waker whose future is gone stays until the next wake-up, and costs no more than that.
#[derive(Default)]
struct Waiting(Mutex<Wakers>);

#[derive(Default)]
struct Wakers {
    receiver: Option<Waker>,
    senders: Vec<Waker>,
}

impl Waiting {
    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_receiver(&self, waker: &Waker) {
        match &mut self.wakers().receiver {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    fn add_sender(&self, waker: &Waker) {
        let senders = &mut self.wakers().senders;
        if !senders.iter().any(|known| known.will_wake(waker)) {
            senders.push(waker.clone());
        }
    }

    fn wake_receiver(&self) {
        let waker = self.wakers().receiver.take();
        waker.into_iter().for_each(Waker::wake);
    }

    fn wake_senders(&self) {
        let wakers = std::mem::take(&mut self.wakers().senders);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_receiver();
        self.wake_senders();
    }
}

impl Shared {
    fn driver(&self) -> MutexGuard<'_, Driver> {
        // A panic of the transport's leaves nothing half done that matters more than the connection's end.
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_receiver<T>(
        &self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Driver, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        // Before the poll, or a wake-up between the two would be lost.
        self.waiting.add_receiver(cx.waker());
        let mut driver = self.driver();
        let cx = &mut Context::from_waker(&self.waker);
        let result = poll(&mut driver, cx);
        self.move_queue(&mut driver, cx);
        let room = driver.take_news().written || !driver.connection().is_open();
        drop(driver);
        if room {
            self.waiting.wake_senders();
        }
        result
    }

    fn poll_sender<T>(
        &self,
        cx: &Context<'_>,
        mut poll: impl FnMut(&mut Driver, &mut Context<'_>) -> Poll<Result<T, Error>>,
    ) -> Poll<Result<T, Error>> {
        let mut driver = self.driver();
        let shared = &mut Context::from_waker(&self.waker);
        let mut try_once = |driver: &mut Driver| {
            if self.unread.load(Ordering::Acquire) {
                // Nobody else takes what comes.
                while let Poll::Ready(event) = driver.poll_event(shared) {
                    if event?.is_none() {
                        break;
                    }
                }
            }
            poll(driver, shared)
        };
        let mut result = try_once(&mut driver);
        if result.is_pending() {
            // Most of the time a sender need not wait, so that it is added only now; and tries again, or a wake-up between
            // the two would be lost.
            self.waiting.add_sender(cx.waker());
            result = try_once(&mut driver);
        }
        let news = driver.take_news();
        let ended = driver.connection().is_ended();
        drop(driver);
        if news.read || ended {
            self.waiting.wake_receiver();
        }
        if result.is_ready() && (news.written || ended) {
            self.waiting.wake_senders();
        }
        result
    }

    /// Whether a message is being sent in parts, so that no other can be.
    fn is_writing(&self, driver: &Driver) -> bool {
        self.writing.load(Ordering::Relaxed) || driver.connection().unfinished().is_some()
    }

    /// Waits for room for another message, behind those that are queued, and for the end of the one that is being written.
    fn poll_ready(&self, driver: &mut Driver, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            ready!(driver.poll_ready(cx))?;
            if self.writing.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            if self.queue.get().is_none() || (self.move_queue(driver, cx) && driver.has_room()) {
                return Poll::Ready(Ok(()));
            }
            if self.is_writing(driver) {
                return Poll::Pending;
            }
        }
    }

    /// Waits until everything encoded or queued is written.
    fn poll_flush(&self, driver: &mut Driver, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let empty = self.move_queue(driver, cx);
            ready!(driver.poll_flush(cx))?;
            if empty {
                return Poll::Ready(Ok(()));
            }
            if self.is_writing(driver) {
                return Poll::Pending;
            }
        }
    }

    fn start_close(&self, frame: &CloseFrame) -> Result<(), Error> {
        let result = self.driver().start_close(Some(frame));
        // Whoever waits for room will get none, and whoever is polled next has the closing deadline to keep.
        self.waiting.wake_receiver();
        self.waiting.wake_senders();
        result
    }

    fn close_info(&self) -> Option<CloseInfo> {
        self.driver().connection().close_info().cloned()
    }
}

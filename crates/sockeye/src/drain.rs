//! Closing every connection of a server at once, and each to its end.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::mpsc;

use crate::driver::Driver;

/// The connections of one server, and whether they are to be closed.
pub(crate) struct Drain {
    closing: AtomicBool,
    members: Mutex<Members>,
    /// Where connections go that were dropped before their closing handshake had ended.
    left: mpsc::UnboundedSender<Box<Driver>>,
}

#[derive(Default)]
struct Members {
    /// Whom to wake, by the member's place.
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Drain {
    /// No connections yet; and what was left of those that will be dropped while they close, to be finished.
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Box<Driver>>) {
        let (left, to_finish) = mpsc::unbounded_channel();
        let drain = Self { closing: AtomicBool::new(false), members: Mutex::default(), left };
        (Arc::new(drain), to_finish)
    }

    /// Tells every member, present and future, to close.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        let wakers: Vec<_> = self.members().wakers.iter_mut().filter_map(Option::take).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place among the server's.
pub(crate) struct Member {
    drain: Arc<Drain>,
    place: usize,
    /// What was last left in the place: compared before the lock is taken.
    waker: Option<Waker>,
}

impl Member {
    pub(crate) fn new(drain: Arc<Drain>) -> Self {
        let place = {
            let mut members = drain.members();
            members.free.pop().unwrap_or_else(|| {
                members.wakers.push(None);
                members.wakers.len() - 1
            })
        };
        Self { drain, place, waker: None }
    }

    /// Whether to close; if not, the task is woken when it is time.
    pub(crate) fn is_closing(&mut self, cx: &Context<'_>) -> bool {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.drain.members().wakers[self.place].clone_from(&self.waker);
        }
        // After the waker is in place: whoever closes either finds it or has set this before.
        self.drain.closing.load(Ordering::SeqCst)
    }

    /// Leaves a connection to the server, to finish its closing handshake.
    pub(crate) fn leave(&self, driver: Driver) {
        // If there is no server any more, it is only dropped.
        let _ = self.drain.left.send(Box::new(driver));
    }

    /// Waits until it is time to close.
    pub(crate) async fn closing(&mut self) {
        poll_fn(|cx| if self.is_closing(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut members = self.drain.members();
        members.wakers[self.place] = None;
        members.free.push(self.place);
    }
}

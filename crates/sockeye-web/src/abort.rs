//! Giving up: a signal that is given to many, and raised once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Raises an [`AbortSignal`] (DOM section 3.1).
///
/// ```
/// let controller = sockeye_web::AbortController::new();
/// let signal = controller.signal();
/// controller.abort();
/// assert!(signal.aborted());
/// ```
#[derive(Clone, Debug, Default)]
pub struct AbortController {
    signal: AbortSignal,
}

impl AbortController {
    /// A controller with a signal of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// The signal, for those who are to listen.
    pub fn signal(&self) -> AbortSignal {
        self.signal.clone()
    }

    /// Raises the signal: listeners that were registered with it are removed, an opening that was given it is given up. A second
    /// time it does nothing.
    pub fn abort(&self) {
        self.signal.0.aborted.store(true, Ordering::Release);
        self.signal.0.raised.notify_waiters();
    }
}

/// Tells that something is to be given up (DOM section 3.2): for [`ListenerOptions`](crate::ListenerOptions) and
/// [`WebSocketStreamOptions`](crate::WebSocketStreamOptions).
#[derive(Clone, Debug, Default)]
pub struct AbortSignal(Arc<Signal>);

#[derive(Debug, Default)]
struct Signal {
    aborted: AtomicBool,
    raised: Notify,
}

impl AbortSignal {
    /// Whether it was raised.
    pub fn aborted(&self) -> bool {
        self.0.aborted.load(Ordering::Acquire)
    }

    /// Waits until it is raised.
    pub(crate) async fn raised(&self) {
        // It gets every wake-up from here on, polled or not.
        let raised = self.0.raised.notified();
        if !self.aborted() {
            raised.await;
        }
    }
}

//! Ctrl-C and, where there are such, SIGTERM and SIGHUP.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlBreak, CtrlC, ctrl_break, ctrl_c};

/// The user's wishes to end; from the moment on that this exists, they no longer end the program by themselves.
pub(crate) struct Interrupts {
    #[cfg(unix)]
    signals: [Signal; 2],
    #[cfg(windows)]
    signals: (CtrlC, CtrlBreak),
}

impl Interrupts {
    #[cfg(unix)]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { signals: [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?] })
    }

    #[cfg(windows)]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { signals: (ctrl_c()?, ctrl_break()?) })
    }

    /// Ready for each wish.
    #[cfg(unix)]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // All are polled, so that each of them wakes the task.
        let ready = self.signals.each_mut().map(|signal| signal.poll_recv(cx).is_ready());
        if ready.contains(&true) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ready for each wish.
    #[cfg(windows)]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ready = [self.signals.0.poll_recv(cx).is_ready(), self.signals.1.poll_recv(cx).is_ready()];
        if ready.contains(&true) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Waits for a wish. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }
}

/// The user's wishes that files are read again (SIGHUP); where there is no such signal, there are none.
pub(crate) struct Reloads(#[cfg(unix)] Option<Signal>);

impl Reloads {
    /// If there is nothing to be read again, the signal goes on to end the program, as it does when a terminal is closed.
    #[cfg(unix)]
    pub(crate) fn new(wanted: bool) -> io::Result<Self> {
        wanted.then(|| signal(SignalKind::hangup())).transpose().map(Self)
    }

    #[cfg(windows)]
    pub(crate) fn new(_wanted: bool) -> io::Result<Self> {
        Ok(Self())
    }

    /// Waits for a wish. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

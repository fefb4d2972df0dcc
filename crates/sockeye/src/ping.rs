//! Pings of the user's, and the pongs that answer them (RFC 6455 sections 5.5.2 and 5.5.3).

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::Error;
use crate::metrics::Metrics;

/// How many pings may wait for their pong; the oldest gives up for one more.
const WAITING: usize = 16;

/// Waits for the pong that answers a ping: the round-trip time.
///
/// Resolved by whoever receives on the same connection; fails with [`Error::Closed`] when the connection ends first, or
/// when 16 newer pings wait. Cancel-safe; dropping it forgets the answer only.
#[derive(Debug)]
#[must_use = "the ping is sent without it, but nobody learns the round-trip time"]
pub struct Ping(oneshot::Receiver<Duration>);

impl Future for Ping {
    type Output = Result<Duration, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| Error::Closed)
    }
}

struct Waiting {
    payload: [u8; 8],
    sent: Instant,
    answer: oneshot::Sender<Duration>,
}

/// The pings that are not answered yet, oldest first; boxed, since few connections ever have one.
#[derive(Default)]
pub(crate) struct Pings(Option<Box<State>>);

#[derive(Default)]
struct State {
    count: u64,
    waiting: VecDeque<Waiting>,
}

impl Pings {
    /// A new ping: what it carries, and who waits for its pong.
    pub(crate) fn start(&mut self) -> ([u8; 8], Ping) {
        let state = self.0.get_or_insert_default();
        state.count += 1;
        let payload = state.count.to_be_bytes();
        let (answer, answered) = oneshot::channel();
        if state.waiting.len() == WAITING {
            state.waiting.pop_front();
        }
        state.waiting.push_back(Waiting { payload, sent: Instant::now(), answer });
        (payload, Ping(answered))
    }

    /// A pong came. It answers the ping whose payload it carries, and those before: RFC 6455 section 5.5.3 lets a
    /// peer answer only the newest.
    pub(crate) fn answered(&mut self, payload: &[u8], metrics: Option<&Metrics>) {
        let Some(state) = &mut self.0 else { return };
        let Some(newest) = state.waiting.iter().position(|ping| ping.payload == *payload) else { return };
        for ping in state.waiting.drain(..=newest) {
            let time = ping.sent.elapsed();
            if let Some(metrics) = metrics {
                metrics.round_trip(time);
            }
            // Whoever no longer waits does not need it.
            let _ = ping.answer.send(time);
        }
    }

    /// No pong will come any more.
    pub(crate) fn give_up(&mut self) {
        self.0 = None;
    }
}

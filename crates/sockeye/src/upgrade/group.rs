//! WebSockets on others' servers, counted and closed together.

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sockeye_proto::Config;
use tokio::time::timeout;

use crate::drain::{Drain, Drained, Registry};
use crate::metrics::Metrics;

/// How much longer than the closing handshake a handler may take to end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// WebSockets on others' servers that are counted and closed together: given to each by [`WebSocketUpgrade::group`](super::WebSocketUpgrade::group), whichever the route.
/// Clones are the same group. Needs the feature `hyper`.
///
/// A server of hyper's or axum's that goes down knows nothing of its WebSockets any more: it has handed their connections over. So they are told here:
///
/// ```no_run
/// # #[cfg(feature = "axum")] {
/// use axum::{Router, extract::State, response::Response, routing::any};
/// use sockeye::{Drain, Group, WebSocketUpgrade};
///
/// async fn echo(State(group): State<Group>, upgrade: WebSocketUpgrade) -> Response {
///     upgrade.group(&group).on_upgrade(|mut ws| async move {
///         while let Some(message) = ws.recv().await? {
///             ws.send(message).await?;
///         }
///         Ok::<_, sockeye::Error>(())
///     })
/// }
///
/// # async fn example(listener: tokio::net::TcpListener, shutdown: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
/// let group = Group::new();
/// let router = Router::new().route("/echo", any(echo)).with_state(group.clone());
/// axum::serve(listener, router).with_graceful_shutdown(shutdown).await?;
/// println!("{:?}", group.drain(Drain::default()).await?);
/// # Ok(())
/// # }
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Group {
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: Option<Metrics>,
}

impl Group {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts what the connections do that join this clone of the group, or clones of it, from now on; without this nothing is counted.
    ///
    /// Handshakes that are refused before they have joined, such as invalid ones, are not counted.
    #[must_use]
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Closes all connections, at a pace and with a code, and waits until they have ended and with them the tasks that
    /// [`on_upgrade`](super::WebSocketUpgrade::on_upgrade) has spawned, as [`Server::run_until`](crate::Server::run_until) does. Connections that join from now on are closed at once,
    /// with the same code.
    ///
    /// What [`send`](crate::WebSocket::send) has taken before is written before the Close. A handler sees it as any other: [`recv`](crate::WebSocket::recv) gives the messages that
    /// still come, and then `None`; `send` fails with [`Error::Closed`](crate::Error::Closed). It may simply end by that: a connection that is dropped while it closes is finished in a task of the
    /// group's.
    ///
    /// At [`Drain::deadline`] the tasks of `on_upgrade` are ended, and their connections with them; by default that is [`Drain::over`], 5 s, and a second. WebSockets in
    /// other tasks, those of [`accept`](super::WebSocketUpgrade::accept) above all, count as cut off then and are left alone: they end with their tasks, or when somebody polls them after
    /// [`Config::close_timeout`].
    ///
    /// Dropped before it is ready, it leaves those open that were not told yet; called again, it goes on, with the code that is given then.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] at once if [`Drain::code`] is none that may be sent.
    pub async fn drain(&self, drain: Drain) -> io::Result<Drained> {
        if !drain.code.may_be_sent() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a code that may not be sent"));
        }
        let Self { registry, metrics } = self;
        let mut draining = metrics.as_ref().map(|metrics| Draining::new(metrics, registry));
        let mut count = || draining.iter_mut().for_each(|draining| draining.count(registry));
        let ending = async {
            let mut closing = pin!(registry.close(drain.code, drain.over));
            let mut all_told = false;
            while !(all_told && registry.is_empty()) {
                tokio::select! {
                    () = &mut closing, if !all_told => all_told = true,
                    () = registry.gone() => count(),
                }
            }
        };
        let closing = Config::default().close_timeout.unwrap_or_default();
        let usual = drain.over.saturating_add(closing + LAST_WORDS);
        if timeout(drain.deadline.unwrap_or(usual), ending).await.is_err() {
            registry.abort();
            registry.abort_tasks().await;
        }
        count();
        registry.pass_on();
        Ok(registry.drained())
    }
}

/// What the metrics are told while a group is drained.
struct Draining<'a> {
    metrics: &'a Metrics,
    /// What they were told already, or was so before.
    told: Drained,
    aborted: usize,
}

impl<'a> Draining<'a> {
    fn new(metrics: &'a Metrics, registry: &Registry) -> Self {
        metrics.draining();
        Self { metrics, told: registry.ended(), aborted: 0 }
    }

    fn count(&mut self, registry: &Registry) {
        let (now, told) = (registry.ended(), self.told);
        for _ in told.clean + told.lost..now.clean + now.lost {
            self.metrics.drained();
        }
        self.aborted += now.aborted - told.aborted;
        self.told = now;
    }
}

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        self.metrics.down(self.aborted);
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").finish_non_exhaustive()
    }
}

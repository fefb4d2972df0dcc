//! What a server goes by, and changing it while the server runs.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use sockeye_proto::Config;
use tokio::sync::watch;

use crate::client_addr::{ForwardedBy, Networks, OwnProxies};
use crate::drain::Drain;
use crate::incoming::{Admission, Policy};
use crate::limits::{Connections, Limits, Most};
use crate::metrics::Metrics;
use crate::origin::Origins;

/// What a [`Server`](crate::Server) goes by, all of which can be changed while it runs ([`Control::set`]). The setters of `Server` set these fields.
///
/// ```
/// let mut settings = sockeye::Settings::default();
/// settings.max_connections = Some(10_000);
/// settings.config.max_message_size = 64 << 10;
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    /// Limits and deadlines of connections.
    pub config: Config,
    /// Pages of which origins are let in; those of the server's own always are.
    pub origins: Origins,
    /// Who begins with a header of the PROXY protocol: [`Server::proxy_protocol`](crate::Server::proxy_protocol).
    pub proxy_protocol: Option<Networks>,
    /// Whose header fields about their clients are believed: [`Server::forwarded`](crate::Server::forwarded).
    pub forwarded: Option<(ForwardedBy, Networks)>,
    /// How many connections are taken at once: [`Server::max_connections`](crate::Server::max_connections). Fewer than there are close none: new ones are taken when
    /// enough of the old ones have gone.
    pub max_connections: Option<usize>,
    /// How many of them may be being opened: [`Server::max_opening`](crate::Server::max_opening).
    pub max_opening: Option<usize>,
    /// How many are taken of one address: [`Server::max_connections_per_addr`](crate::Server::max_connections_per_addr). Connections that came while this was
    /// `None` are not counted; a limit that is to come later is best begun with as a high one.
    pub max_connections_per_addr: Option<usize>,
    /// How the server goes down: what is in force when it does.
    pub drain: Drain,
}

/// Changes the settings of a server and its [workers](crate::Server::worker), looks at its connections, and ends it; also while it runs. Clones are one.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let server = sockeye::Server::bind("127.0.0.1:9000").await?;
/// let control = server.control();
/// tokio::spawn(server.run(|incoming| incoming.reject(sockeye::StatusCode::NOT_FOUND, "")));
/// control.change(|settings| settings.max_connections = Some(1000));
/// println!("{} connections", control.connections().open());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Control(Arc<Shared>);

/// What a server and its workers share.
struct Shared {
    in_force: RwLock<InForce>,
    limits: Arc<Limits>,
    /// Whether they are to go down.
    ended: watch::Sender<bool>,
}

/// Settings as connections need them.
#[derive(Default)]
struct InForce {
    policy: Policy,
    drain: Drain,
}

impl InForce {
    fn settings(&self) -> Settings {
        let Policy { config, origins, admission, metrics: _ } = &self.policy;
        let Admission { proxies, most } = &**admission;
        Settings {
            config: Config::clone(config),
            origins: Origins::clone(origins),
            proxy_protocol: proxies.proxy_protocol.clone(),
            forwarded: proxies.forwarded.clone(),
            max_connections: most.of_all,
            max_opening: most.opening,
            max_connections_per_addr: most.of_addr,
            drain: self.drain.clone(),
        }
    }

    fn set(&mut self, settings: Settings) {
        let Settings {
            config,
            origins,
            proxy_protocol,
            forwarded,
            max_connections,
            max_opening,
            max_connections_per_addr,
            drain,
        } = settings;
        let proxies = OwnProxies { proxy_protocol, forwarded };
        let (config, origins, metrics) = (Arc::new(config), Arc::new(origins), self.policy.metrics.take());
        let most = Most { of_all: max_connections, opening: max_opening, of_addr: max_connections_per_addr };
        let admission = Arc::new(Admission { proxies, most });
        *self = Self { policy: Policy { config, origins, admission, metrics }, drain };
    }
}

impl Control {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            in_force: RwLock::default(),
            limits: Arc::default(),
            ended: watch::Sender::new(false),
        }))
    }

    /// A copy of the settings in force.
    pub fn settings(&self) -> Settings {
        self.read(InForce::settings)
    }

    /// Sets all settings, for connections that are accepted from now on; those that are there, also those that are being opened, keep theirs. None of them is closed,
    /// whatever the limits are.
    pub fn set(&self, settings: Settings) {
        self.write(|in_force| in_force.set(settings));
    }

    /// Changes some settings, as [`set`](Self::set) does, with nobody else's change in between. `change` may not use this `Control`, or one that is the same.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        self.write(|in_force| {
            let mut settings = in_force.settings();
            change(&mut settings);
            in_force.set(settings);
        });
    }

    /// How many connections there are and were.
    pub fn connections(&self) -> Connections {
        self.0.limits.connections.clone()
    }

    /// Tells the server and its workers to go down, as the future does that was given to [`Server::run_until`](crate::Server::run_until); they cannot be run again.
    pub fn shut_down(&self) {
        self.0.ended.send_replace(true);
    }

    /// Waits until that was told. Cancel-safe.
    pub(super) async fn ended(&self) {
        // The sender is ours.
        let _ = self.0.ended.subscribe().wait_for(|ended| *ended).await;
    }

    pub(super) fn set_metrics(&self, metrics: Metrics) {
        self.write(|in_force| in_force.policy.metrics = Some(metrics));
    }

    /// What holds for a connection that is accepted now.
    pub(super) fn policy(&self) -> Policy {
        self.read(|in_force| in_force.policy.clone())
    }

    pub(super) fn drain(&self) -> Drain {
        self.read(|in_force| in_force.drain.clone())
    }

    pub(super) fn limits(&self) -> &Arc<Limits> {
        &self.0.limits
    }

    fn read<T>(&self, read: impl FnOnce(&InForce) -> T) -> T {
        read(&self.0.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, write: impl FnOnce(&mut InForce)) {
        write(&mut self.0.in_force.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("settings", &self.settings())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

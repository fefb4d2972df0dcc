//! What is made of options and files, and made anew while the server runs.

use std::mem::discriminant;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use sockeye::{Control, Metrics, ServerTls};
use tokio::sync::watch;

use super::certificate::Shown;
use super::cors::Cors;
use super::files::Files;
use super::hosts::Hosts;
use super::metrics::{Exposition, token};
use super::site::Site;
use crate::args::{Certificate, Said, Serve, serve_again};

/// The options that can be changed while the server runs; any other needs a restart.
pub(crate) const LIVE: [&str; 24] = [
    "allow-host",
    "allow-origin",
    "close-timeout",
    "deflate-level",
    "drain",
    "drain-code",
    "drain-deadline",
    "forwarded",
    "max-connections",
    "max-connections-per-addr",
    "max-header-size",
    "max-message-size",
    "max-opening",
    "metrics-token-file",
    "no-deflate",
    "open-timeout",
    "ping-interval",
    "ping-timeout",
    "proxy-protocol",
    "root",
    "tls-cert",
    "tls-client-ca",
    "tls-key",
    "trusted-proxy",
];

/// What is served to plain HTTP requests, listener by listener.
#[derive(Clone)]
pub(super) struct Pages {
    /// Where the WebSockets are.
    pub(super) main: Arc<[Site]>,
    /// At `--metrics-listen`.
    pub(super) metrics: Arc<[Site]>,
}

/// What stays as it is.
pub(super) struct Fixed {
    /// What is listened on; `None` is a unix socket.
    pub(super) addresses: Vec<Option<SocketAddr>>,
    pub(super) control: Control,
    /// Where metrics are alone, if anywhere, and the control of the server there.
    pub(super) metrics: Option<(Option<SocketAddr>, Control)>,
    pub(super) counted: Metrics,
    /// Whether the server goes down.
    pub(super) stopped: watch::Receiver<bool>,
}

/// What can be changed while the server runs.
pub(super) struct Live {
    fixed: Fixed,
    /// What is in force.
    plan: Serve,
    /// What was said in the beginning.
    started: Said,
    shown: Option<Shown>,
    pages: watch::Sender<Pages>,
}

impl Live {
    /// Reads all files, and has the servers go by the plan.
    pub(super) fn new(plan: Serve, fixed: Fixed) -> Result<Self, String> {
        let shown = Shown::new(&plan, &fixed.addresses)?;
        let (pages, _) = watch::channel(fixed.pages(&plan)?);
        fixed.set(&plan);
        let started = plan.said.clone();
        Ok(Self { fixed, plan, started, shown, pages })
    }

    pub(super) fn tls(&self) -> Option<&ServerTls> {
        self.shown.as_ref().map(|shown| &shown.tls)
    }

    pub(super) fn pages(&self) -> watch::Receiver<Pages> {
        self.pages.subscribe()
    }

    /// Reads all files again and goes by what is in them, or by nothing of it if anything is wrong. Tells what has changed.
    pub(super) fn read_again(&mut self) -> Result<String, String> {
        let mut plan = serve_again()?;
        let same_kind = discriminant(&plan.tls) == discriminant(&self.plan.tls);
        if !same_kind {
            plan.tls = self.plan.tls.clone();
            plan.client_ca.clone_from(&self.plan.client_ca);
        }
        let tls = self.shown.as_ref().map(|shown| shown.read_again(&plan)).transpose()?;
        let pages = self.fixed.pages(&plan)?;

        // Nothing can go wrong any more.
        if let (Some(shown), Some(tls)) = (&self.shown, tls) {
            shown.tls.replace(&tls);
        }
        self.pages.send_replace(pages);
        self.fixed.set(&plan);
        let is_live = |name: &&str| LIVE.contains(name) && (same_kind || !name.starts_with("tls-"));
        let mut told = match &files(&plan)[..] {
            [] => "there is nothing to be read again".to_owned(),
            files => format!("read again: {}", files.join(", ")),
        };
        let changed = self.plan.said.changed(&plan.said).filter(is_live);
        let later = self.started.changed(&plan.said).filter(|name| !is_live(name));
        for (what, names) in [("changed", changed.collect::<Vec<_>>()), ("after a restart", later.collect())]
        {
            if !names.is_empty() {
                told += "; ";
                told += what;
                told += ": ";
                told += &names.join(", ");
            }
        }
        self.plan = plan;
        Ok(told)
    }
}

impl Fixed {
    fn set(&self, plan: &Serve) {
        self.control.set(plan.settings.clone());
        if let Some((_, control)) = &self.metrics {
            // Who watches is let in when all others are not.
            control.change(|settings| settings.config = plan.settings.config.clone());
        }
    }

    fn pages(&self, plan: &Serve) -> Result<Pages, String> {
        let token = plan.metrics_token_file.as_deref().map(token).transpose();
        let token = token.map_err(|error| format!("--metrics-token-file: {error}"))?;
        let connections = self.control.connections();
        let metrics = Arc::new(Exposition::new(self.counted.clone(), connections, token.as_deref()));
        let open =
            |root: &PathBuf| Files::new(root).map_err(|error| format!("--root {}: {error}", root.display()));
        let files = plan.root.as_ref().map(open).transpose()?;
        let cors = Cors::new(&plan.settings.origins);
        let is_tls = !matches!(plan.tls, Certificate::None);
        let is_loopback = |address: &SocketAddr| address.ip().is_loopback();
        let main = |address: &Option<SocketAddr>| {
            let is_local = address.as_ref().is_none_or(is_loopback);
            let is_shown = self.metrics.is_none() && (is_local || metrics.wants_token());
            let shown = is_shown.then(|| metrics.clone());
            let site = Site::new(Hosts::new(*address, &plan.allow_host), is_tls, shown, self.stopped.clone());
            site.files(files.clone()).cors(cors.clone())
        };
        let alone = |(address, _): &(Option<SocketAddr>, Control)| {
            let hosts = if address.as_ref().is_some_and(is_loopback) { &plan.allow_host[..] } else { &[] };
            let site = Site::of_metrics(Hosts::new(*address, hosts), metrics.clone(), self.stopped.clone());
            site.cors(cors.clone())
        };
        Ok(Pages {
            main: self.addresses.iter().map(main).collect(),
            metrics: self.metrics.iter().map(alone).collect(),
        })
    }
}

/// What there is to be read again.
pub(super) fn files(plan: &Serve) -> Vec<&'static str> {
    let all = [
        ("configuration", plan.config.is_some()),
        ("certificate", matches!(plan.tls, Certificate::Files { .. })),
        ("CAs of clients", plan.client_ca.is_some()),
        ("token", plan.metrics_token_file.is_some()),
    ];
    all.into_iter().filter_map(|(what, is_there)| is_there.then_some(what)).collect()
}

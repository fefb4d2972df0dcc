//! The accept loop, and what a connection goes through until its handler has it.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Control, HttpHandler, Server};
use crate::client_addr::read_proxy_header;
use crate::drain::{Drained, Left, Member, Registry};
use crate::error::Error;
use crate::incoming::{Admission, Incoming, Policy, UNAVAILABLE, Wanted};
use crate::limits::OpeningPermit;
use crate::listener::Listeners;
use crate::metrics::{Metrics, Refused};
use crate::opening::{Opening, Phase};
use crate::peer::Peer;
use crate::tls::{self, ServerTls};
use crate::transport::Transport;

/// How long a failure to accept is not told again.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// How much longer than the closing handshake a handler may take to end when the server goes down.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Who is told that accepting has failed.
pub(super) struct AcceptErrors {
    tell: Box<dyn Fn(&io::Error) + Send + Sync>,
    /// When it was told last.
    told: Mutex<Option<Instant>>,
}

impl AcceptErrors {
    pub(super) fn new(tell: impl Fn(&io::Error) + Send + Sync + 'static) -> Self {
        Self { tell: Box::new(tell), told: Mutex::default() }
    }

    fn tell(&self, error: &io::Error) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
            *told = Some(Instant::now());
            drop(told);
            (self.tell)(error);
        }
    }
}

/// Runs a server until it has gone down.
pub(super) async fn run<H, F>(server: Server, shutdown: impl Future, handler: H) -> io::Result<Drained>
where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let Server { listeners, tls, http, accept_errors, control } = server;
    if !control.drain().code.may_be_sent() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a code that may not be sent"));
    }
    let mut listeners = Listeners::new(listeners)?;
    let (registry, left) = Registry::new();
    let mut tasks = Tasks { handlers: JoinSet::new(), finishing: JoinSet::new(), left };
    let handler = Arc::new(handler);
    let mut shutdown = pin!(async {
        tokio::select! {
            _ = shutdown => control.shut_down(),
            () = control.ended() => {}
        }
    });
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listeners.accept() => accepted,
            _ = tasks.next() => continue,
        };
        let (transport, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                control.connections().count_accept_error();
                if let Some(errors) = &accept_errors {
                    errors.tell(&error);
                }
                continue;
            }
        };
        let policy = control.policy();
        // Behind a proxy the client's is not known yet.
        let Admission { proxies, most } = &*policy.admission;
        let client = peer.addr.filter(|_| !proxies.hold(peer.addr)).map(|addr| addr.ip());
        let Some((permit, opening)) = control.limits().enter(client, *most) else {
            policy.refused(Refused::Limit, &peer);
            turn_away(&transport, tls.is_some());
            continue;
        };
        let permit = Arc::new(permit);
        let member = Member::new(registry.clone(), permit.clone());
        // Boxed, and outside of the task's own block, or the task would keep the opening's size for as long as the
        // connection lives.
        let opening = open(transport, peer, tls.clone(), policy, member, opening, http.clone());
        let opening = Box::pin(opening);
        let handler = handler.clone();
        tasks.handlers.spawn(async move {
            if let Some(incoming) = opening.await {
                let span = incoming.span();
                drop(span.within(handler(incoming)).await);
            }
            drop(permit);
        });
    }
    drop(listeners);
    Ok(tasks.end(&control, &registry).await)
}

/// What runs for the connections.
struct Tasks {
    /// Opening handshakes, and handlers.
    handlers: JoinSet<()>,
    /// What handlers have left.
    finishing: JoinSet<()>,
    left: UnboundedReceiver<Left>,
}

impl Tasks {
    /// Waits until one has ended, or has left something to be finished; whether it was a handler. Cancel-safe.
    async fn next(&mut self) -> bool {
        tokio::select! {
            Some(_) = self.handlers.join_next() => true,
            Some(_) = self.finishing.join_next() => false,
            // The registry has a sender.
            Some(left) = self.left.recv() => {
                self.finishing.spawn(left.finish());
                false
            }
        }
    }

    /// Closes all connections, and ends what has not ended then.
    async fn end(mut self, control: &Control, registry: &Registry) -> Drained {
        let (drain, policy) = (control.drain(), control.policy());
        let metrics = policy.metrics.as_ref();
        metrics.into_iter().for_each(Metrics::draining);
        let ending = async {
            let mut closing = pin!(registry.close(drain.code, drain.over));
            let mut all_told = false;
            while !(all_told && self.handlers.is_empty() && self.finishing.is_empty() && registry.is_empty())
            {
                tokio::select! {
                    () = &mut closing, if !all_told => all_told = true,
                    was_handler = self.next() => metrics.into_iter().filter(|_| was_handler).for_each(Metrics::drained),
                    () = registry.gone() => {}
                }
            }
        };
        let usual = policy
            .config
            .close_timeout
            .map(|timeout| timeout.saturating_add(drain.over).saturating_add(LAST_WORDS));
        match drain.deadline.or(usual) {
            None => ending.await,
            Some(deadline) => drop(timeout(deadline, ending).await),
        }
        if let Some(metrics) = metrics {
            metrics.down(self.handlers.len());
        }
        registry.abort();
        self.finishing.shutdown().await;
        self.handlers.shutdown().await;
        drop(self.left);
        registry.drained()
    }
}

/// Ends a connection that there is no room for.
fn turn_away(transport: &Transport, tls: bool) {
    if tls {
        return;
    }
    let socket = match transport {
        Transport::Tcp(stream) => SockRef::from(stream),
        #[cfg(unix)]
        Transport::Unix(stream) => SockRef::from(stream),
        _ => return,
    };
    // The socket is new, so that there is room for so few bytes; if there is none, or the peer is gone, it ends without.
    let _ = socket.send(UNAVAILABLE);
}

/// Hears from a proxy for whom it speaks, sets up TLS, and reads an opening handshake; anything else is dealt with here.
async fn open(
    mut transport: Transport,
    mut peer: Peer,
    tls: Option<ServerTls>,
    policy: Policy,
    mut member: Member,
    permit: OpeningPermit,
    http: Option<Arc<HttpHandler>>,
) -> Option<Incoming> {
    let mut opening = Opening::new(&policy.config);
    if policy.admission.proxies.speak_first(peer.addr) {
        let reading = read_proxy_header(&mut transport);
        let client = tokio::select! {
            biased;
            client = opening.phase(Phase::Proxy, policy.config.proxy_timeout, reading) => client,
            () = member.going_down() => return None,
        };
        peer.client = client.map_err(|error| policy.refused(Refused::of(&error), &peer)).ok()?;
    }
    if let Some(tls) = tls {
        let securing = opening.phase(Phase::Tls, policy.config.tls_timeout, tls::accept(&tls, transport));
        let secured = tokio::select! {
            biased;
            secured = securing => secured,
            () = member.going_down() => return None,
        };
        let (secured, info) = secured.map_err(|error| policy.refused(Refused::of(&error), &peer)).ok()?;
        (transport, peer.tls) = (secured, Some(Box::new(info)));
    }
    let wanted = Wanted::read(transport, peer, policy, Some(member), opening).await;
    drop(permit);
    match wanted {
        Ok(Wanted::WebSocket(incoming)) => return Some(incoming),
        Ok(Wanted::Http(connection)) => match http {
            Some(http) => http(connection).await,
            None => drop(connection.refuse().await),
        },
        Err(_) => {}
    }
    None
}

//! The sockets that are listened on.

use std::io;
use std::net::SocketAddr;

use sockeye::Listener;

use crate::args::{Listen, Serve};

/// A socket that is listened on.
pub(super) struct Listening {
    pub(super) listener: Listener,
    /// `None` for a unix socket.
    pub(super) address: Option<SocketAddr>,
    /// The address and port, or `unix:` and the path.
    pub(super) place: String,
}

#[cfg(unix)]
pub(super) type Inherited = listenfd::ListenFd;
#[cfg(not(unix))]
pub(super) struct Inherited;

/// The sockets that were handed over, if they are to be listened on.
#[cfg(unix)]
pub(super) fn inherited(wanted: &[Listen]) -> Inherited {
    if wanted.contains(&Listen::Inherited) { Inherited::from_env() } else { Inherited::empty() }
}

#[cfg(not(unix))]
pub(super) fn inherited(_wanted: &[Listen]) -> Inherited {
    Inherited
}

/// Listens everywhere: on one socket at least for WebSockets, and on that for metrics, if there is one; or says where it cannot, and why.
pub(super) async fn listen(
    plan: &Serve,
    #[cfg_attr(not(unix), allow(unused_variables, unused_mut, reason = "there are none"))]
    mut inherited: Inherited,
) -> Result<(Vec<Listening>, Option<Listening>), (String, io::Error)> {
    let mut listening = Vec::new();
    let is_shared = plan.workers.is_some_and(|count| count > 1);
    for wanted in &plan.listen {
        match wanted {
            Listen::Tcp(address) => listening.push(tcp(address, is_shared).await?),
            #[cfg(unix)]
            Listen::Unix(path) => {
                let place = format!("unix:{}", path.display());
                let listener =
                    Listener::unix(path, plan.unix_mode).map_err(|error| (place.clone(), error))?;
                listening.push(Listening { listener, address: None, place });
            }
            #[cfg(unix)]
            Listen::Inherited => take(&mut inherited, &mut listening)
                .map_err(|error| ("the sockets inherited".to_owned(), error))?,
        }
    }
    let for_metrics = match &plan.metrics_listen {
        Some(address) => Some(tcp(address, false).await?),
        None => None,
    };
    Ok((listening, for_metrics))
}

/// Listens on an address, in such a way that workers can share it if they are to.
async fn tcp(address: &str, shared: bool) -> Result<Listening, (String, io::Error)> {
    let listener = if shared { Listener::tcp_shared(address).await } else { Listener::tcp(address).await };
    let listener = listener.map_err(|error| (address.to_owned(), error))?;
    Ok(of_tcp(listener, address))
}

fn of_tcp(listener: Listener, otherwise: &str) -> Listening {
    let address = listener.local_addr();
    let place = address.map_or_else(|| otherwise.to_owned(), |address| address.to_string());
    Listening { listener, address, place }
}

#[cfg(unix)]
fn take(inherited: &mut Inherited, listening: &mut Vec<Listening>) -> io::Result<()> {
    if inherited.len() == 0 {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there are none (LISTEN_FDS)"));
    }
    for index in 0..inherited.len() {
        if let Ok(Some(tcp)) = inherited.take_tcp_listener(index) {
            listening.push(of_tcp(tcp.try_into()?, "a socket inherited"));
        } else if let Some(unix) = inherited.take_unix_listener(index)? {
            let address = unix.local_addr()?;
            let path = address.as_pathname().map(|path| path.display().to_string()).unwrap_or_default();
            listening.push(Listening {
                listener: unix.try_into()?,
                address: None,
                place: format!("unix:{path}"),
            });
        }
    }
    Ok(())
}

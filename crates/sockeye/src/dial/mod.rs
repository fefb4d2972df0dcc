//! From a host's name to a connected stream.

mod eyeballs;
mod resolve;
mod tcp;

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::opening::OpenCause;
use crate::transport::Transport;

pub(crate) use resolve::resolve;
pub use resolve::{Overrides, Resolve, Resolving, SystemResolver};
pub use tcp::{Family, Tcp};

/// Connects to one of the addresses of a host.
pub(crate) async fn connect(
    addresses: Vec<SocketAddr>,
    tcp: &Tcp,
    host: &str,
    port: u16,
) -> Result<(Transport, SocketAddr), OpenCause> {
    let failed = |source| {
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        OpenCause::Connect { address, source }
    };
    let addresses = eyeballs::order(tcp.usable(addresses).map_err(failed)?);
    let known = addresses.len();
    let tried = addresses.into_iter().take(eyeballs::MOST_ADDRESSES);
    let attempt = |address| async move { Ok((tcp.connect(address).await?, address)) };
    let raced = eyeballs::race(tried, tcp.attempt_delay, attempt).await;
    raced.map_err(|errors| failed(summary(errors, known)))
}

/// One error for all that were tried: of the kind that tells most, with the text of each, once.
fn summary(mut errors: Vec<io::Error>, known: usize) -> io::Error {
    let tried = errors.len();
    if known == 1
        && let Some(error) = errors.pop()
    {
        return error;
    }
    let mut texts: Vec<String> = Vec::new();
    for text in errors.iter().map(ToString::to_string) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    // An address without a route tells of the way there; whatever else comes tells of the host.
    let no_route = [io::ErrorKind::NetworkUnreachable, io::ErrorKind::HostUnreachable];
    let mut kinds = errors.iter().map(io::Error::kind);
    let telling = kinds.clone().find(|kind| !no_route.contains(kind));
    let kind = telling.or_else(|| kinds.next()).unwrap_or(io::ErrorKind::NotFound);
    let of = if tried < known { format!(" of {known}") } else { String::new() };
    io::Error::new(kind, format!("{tried}{of} addresses tried: {}", texts.join("; ")))
}

/// Connects to a unix socket.
pub(crate) async fn connect_unix(path: &Path) -> Result<Transport, OpenCause> {
    connect_path(path).await.map_err(|source| {
        // As others write the name of an abstract socket.
        let address = path.display().to_string().replacen('\0', "@", 1);
        OpenCause::Connect { address, source }
    })
}

#[cfg(unix)]
async fn connect_path(path: &Path) -> io::Result<Transport> {
    Ok(Transport::Unix(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
#[expect(clippy::unused_async, reason = "elsewhere there is something to wait for")]
async fn connect_path(_path: &Path) -> io::Result<Transport> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "there are no unix sockets on this system"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_each_error_once() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let no_route = || io::Error::from(io::ErrorKind::NetworkUnreachable);
        let one = summary(vec![io::Error::from_raw_os_error(111)], 1);
        assert_eq!(one.raw_os_error(), Some(111), "a single error is itself");
        let cases = [
            (vec![refused(), refused()], 2, "2 addresses tried: connection refused"),
            (
                vec![no_route(), refused(), no_route()],
                3,
                "3 addresses tried: network unreachable; connection refused",
            ),
            (vec![refused()], 2, "1 of 2 addresses tried: connection refused"),
        ];
        for (errors, known, text) in cases {
            let summary = summary(errors, known);
            assert_eq!(
                (summary.kind(), summary.to_string().as_str()),
                (io::ErrorKind::ConnectionRefused, text)
            );
        }
        assert_eq!(summary(vec![no_route(), no_route()], 2).kind(), io::ErrorKind::NetworkUnreachable);
    }
}

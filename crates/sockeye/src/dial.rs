//! From a host's name to a connected stream.

use std::io;

use sockeye_proto::WebSocketUrl;
use tokio::net::TcpStream;

use crate::error::Error;

/// Connects to the URL's host: resolves its name and tries each address in turn.
pub(crate) async fn dial(url: &WebSocketUrl) -> Result<TcpStream, Error> {
    let (host, port) = (url.host(), url.port());
    let resolve = |source| Error::Resolve { host: host.to_owned(), source };
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(resolve)?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(source) => Error::Connect { address: url.authority().to_owned(), source },
        None => resolve(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
    })
}

//! Connections that rest: each has exchanged a message, and waits for its end.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sockeye::{Client, Error, Message, Utf8Bytes, WebSocketUrl};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;

use super::{AT_ONCE, Failure, Start, all, client, ending, tell};

/// From so many addresses they come.
const SOURCES: usize = 64;

/// Prints `end CODE clean|lost COUNT` for each way in which they ended, and `second UNIX COUNT` for each second in which some did.
pub(super) async fn run(url: &str, count: usize, network: u8) -> Result<(), Failure> {
    let (start, openings) = (Start::new(count), Arc::new(Semaphore::new(AT_ONCE)));
    let client = client(None)?;
    let port = url.parse::<WebSocketUrl>()?.port();
    let host: Ipv4Addr = url.parse::<WebSocketUrl>()?.host().parse()?;
    let ends = all(count, |number| {
        let last = u8::try_from(number % SOURCES).unwrap_or_default() + 1;
        let addresses = [(Ipv4Addr::new(127, 0, network, last), 0).into(), (host, port).into()];
        one(client.clone(), url.to_owned(), addresses, openings.clone(), start.clone())
    })
    .await?;
    let (mut ways, mut seconds) = (BTreeMap::new(), BTreeMap::new());
    for (way, second) in ends {
        *ways.entry(way).or_insert(0) += 1;
        *seconds.entry(second).or_insert(0) += 1;
    }
    for (way, count) in ways {
        tell(&format!("end {way} {count}"));
    }
    for (second, count) in seconds {
        tell(&format!("second {second} {count}"));
    }
    Ok(())
}

/// Returns how it ended, and in which second.
async fn one(
    client: Client,
    url: String,
    [source, target]: [SocketAddr; 2],
    openings: Arc<Semaphore>,
    start: Arc<Start>,
) -> Result<(String, u64), Failure> {
    let mut ws = {
        let _turn = openings.acquire().await?;
        let socket = TcpSocket::new_v4()?;
        if target.ip().is_loopback() {
            socket.bind(source)?;
        }
        let mut ws = client.connect_over(socket.connect(target).await?, &url).await?;
        // Long enough to be compressed.
        let text = Utf8Bytes::from(format!("{source} {}", "says hello, ".repeat(200)));
        ws.send(text.clone()).await?;
        let echo = ws.recv().await?;
        if echo != Some(Message::Text(text)) {
            return Err(format!("{echo:?} came back").into());
        }
        ws
    };
    start.one();
    let way = match ws.recv().await {
        Ok(None) => ending(ws.close_info()),
        Ok(Some(message)) => return Err(format!("{message:?} came unasked").into()),
        Err(Error::Io(_)) => "reset lost".into(),
        Err(error) => return Err(error.into()),
    };
    Ok((way, SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()))
}

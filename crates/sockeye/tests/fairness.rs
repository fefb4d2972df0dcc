//! One flooding peer does not starve the others on its thread.

mod support;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use sockeye::{Config, WebSocket, pair};
use support::open;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// A byte stream that, once the handshake is through, always has more of the same frame to give, at once: a peer that
/// sends faster than anybody can read, without the runtime's knowing.
struct Flood {
    stream: DuplexStream,
    frame: &'static [u8],
    flooding: bool,
}

impl AsyncRead for Flood {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.flooding {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        while buffer.remaining() >= self.frame.len() {
            buffer.put_slice(self.frame);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.flooding {
            // The answer to the handshake is the last thing that it lets pass.
            self.flooding = true;
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn flooded(frame: &'static [u8]) -> WebSocket {
    let (client, stream) = tokio::io::duplex(4096);
    open(client, Flood { stream, frame, flooding: false }, Config::default()).await.1
}

/// How often another task of the same thread gets its turn while a flood is handled.
async fn turns_of_another(flood: impl Future + Send + 'static) -> usize {
    let flood = tokio::spawn(async move { drop(flood.await) });
    let mut turns = 0;
    while turns < 100 && !flood.is_finished() {
        tokio::task::yield_now().await;
        turns += 1;
    }
    flood.abort();
    turns
}

#[tokio::test]
async fn a_flood_of_messages_leaves_turns_to_others() {
    let mut ws = flooded(b"\x81\x82\0\0\0\0hi").await;
    let turns = turns_of_another(async move {
        for _ in 0..1_000_000 {
            let message = ws.recv().await.unwrap().unwrap();
            ws.send(message).await.unwrap();
        }
    });
    assert_eq!(turns.await, 100);
}

#[tokio::test]
async fn a_flood_of_pings_leaves_turns_to_others() {
    let mut ws = flooded(b"\x89\x80\0\0\0\0").await;
    assert_eq!(turns_of_another(async move { ws.recv().await.map(|_| ()) }).await, 100);
}

#[tokio::test]
async fn a_flood_after_the_close_leaves_turns_to_others() {
    let mut ws = flooded(b"\x81\x82\0\0\0\0hi").await;
    assert_eq!(turns_of_another(async move { ws.close(1000, "").await.map(|_| ()) }).await, 100);
}

#[tokio::test(start_paused = true)]
async fn one_task_that_sends_to_many_connections_leaves_nothing_unwritten() {
    let (mut members, peers): (Vec<_>, Vec<_>) = std::iter::repeat_with(pair).take(300).unzip();
    let receiving: Vec<_> = peers
        .into_iter()
        .map(|mut peer| tokio::spawn(async move { peer.recv().await.unwrap().unwrap() }))
        .collect();
    for member in &mut members {
        member.send("to all").await.unwrap();
    }
    // Nobody calls any of them again.
    for received in receiving {
        let message = tokio::time::timeout(Duration::from_secs(5), received).await.expect("it was written");
        assert_eq!(message.unwrap(), "to all".into());
    }
}

//! One plain HTTP request, and its answer.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_io_timeout::TimeoutStream;

/// How much is read of a file at once. Some four of these are held for a client that takes nothing: what was read, and
/// what is to be written.
pub(super) const CHUNK: usize = 16 << 10;

/// How long a client may take for the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take nothing of the answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Answers a request. The connection is not kept alive: a further request on it might be an opening handshake, and those
/// are the library's to read.
pub(super) async fn serve_one<I, F, B>(io: I, answer: impl Fn(Request<()>) -> F)
where
    I: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Response<B>>,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    let mut io = Box::pin(TimeoutStream::new(io));
    io.as_mut().set_write_timeout_pinned(Some(WRITE_TIMEOUT));
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(request.map(drop));
        async { Ok::<_, Infallible>(answer.await) }
    });
    // What goes wrong is the client's doing and tells us nothing.
    let _ = http1::Builder::new()
        .keep_alive(false)
        // Whoever has ended its side, as `nc -N` does, still gets the answer.
        .half_close(true)
        .max_buf_size(CHUNK)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(io), service)
        .await;
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use hyper::body::Frame;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    /// A body without end, which counts what was taken from it.
    struct Endless(Arc<AtomicUsize>);

    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.fetch_add(CHUNK, Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; CHUNK])))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_holds_little_and_not_for_long() {
        let taken = Arc::new(AtomicUsize::new(0));
        let (mut client, server) = duplex(1);
        let body = taken.clone();
        let serving = tokio::spawn(serve_one(server, move |_| {
            std::future::ready(Response::new(Endless(body.clone())))
        }));
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        // Slow is not stalled.
        for _ in 0..100 {
            client.read_u8().await.unwrap();
            tokio::time::advance(WRITE_TIMEOUT / 2).await;
        }
        let since = Instant::now();
        tokio::time::timeout(2 * WRITE_TIMEOUT, serving).await.expect("it ends").unwrap();
        assert!(since.elapsed() <= WRITE_TIMEOUT, "{:?}", since.elapsed());
        let taken = taken.load(Ordering::Relaxed);
        assert!((1..=3 * CHUNK).contains(&taken), "{taken} bytes were held");
    }
}

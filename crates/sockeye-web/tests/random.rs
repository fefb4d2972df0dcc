//! Any order of calls from any thread, against any server: the events come in the standard's order, and the last is `close`.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use sockeye::Client;
use sockeye_web::{EventType, ListenerOptions, Options, WebSocket};
use support::{CLOSE, Log, TEXT, answer, close_payload, frame, read_head, tcp, try_read_frame};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Numbers from a seed (xorshift).
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A server that does this and that.
async fn misbehave(mut stream: TcpStream, mut random: Random) {
    if random.below(8) == 0 {
        return;
    }
    let request = read_head(&mut stream).await;
    if random.below(8) == 0 {
        return;
    }
    answer(&mut stream, &request, "").await;
    for _ in 0..random.below(20) {
        let sent = match random.below(10) {
            0 => stream.write_all(&frame(CLOSE, &close_payload(4000, "bye"))).await,
            1 => stream.write_all(&[0xff, 0xff]).await,
            2 => {
                stream.set_zero_linger().unwrap();
                return;
            }
            3..6 => try_read_frame(&mut stream).await.map(|_| ()),
            _ => stream.write_all(&frame(TEXT, b"message")).await,
        };
        if sent.is_err() {
            return;
        }
    }
    while let Ok((opcode, payload)) = try_read_frame(&mut stream).await {
        if opcode == CLOSE {
            let _ = stream.write_all(&frame(CLOSE, &payload)).await;
            return;
        }
    }
}

/// A user who does this and that.
fn act(socket: &WebSocket, mut random: Random) {
    for _ in 0..random.below(30) {
        match random.below(12) {
            0 => drop(socket.close(None, None)),
            1 => drop(socket.close(4001, "enough")),
            2..7 => drop(socket.send("text")),
            7 => drop(socket.send(vec![0; 100_000])),
            8 => drop(socket.clone()),
            9 => {
                let id =
                    socket.add_event_listener(EventType::Message, |socket, _| drop(socket.send("answer")));
                socket.remove_event_listener(id);
            }
            10 => {
                let options = ListenerOptions { once: true, signal: None };
                socket.add_event_listener_with(EventType::Close, options, |_, _| ());
            }
            _ => std::thread::yield_now(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn events_come_in_order_whatever_is_done() {
    let mut config = sockeye_web::config();
    config.close_timeout = Some(Duration::from_millis(100));
    let mut options = Options::default();
    options.client = Client::new().config(config);
    for seed in 1..=300 {
        let mut random = Random::new(seed);
        let script = random.clone();
        random.below(2);
        let server = tcp(async move |stream| misbehave(stream, script).await).await;
        let log = Log::default();
        let state = Arc::new(AtomicU16::new(0));
        let socket = WebSocket::with_options(&server.url, &[], options.clone(), |socket| {
            for event_type in support::EVENTS {
                let (log, state) = (log.clone(), Arc::clone(&state));
                socket.set_handler(event_type, move |socket, event| {
                    let now = socket.ready_state();
                    // A panic would be caught here.
                    let goes_back = state.swap(now, Ordering::SeqCst) > now;
                    log.add(if goes_back { "a state goes back" } else { event.event_type().as_str() });
                });
            }
        })
        .unwrap();
        let users: Vec<_> = (0..3)
            .map(|_| {
                random.below(2);
                let (socket, random) = (socket.clone(), random.clone());
                tokio::task::spawn_blocking(move || act(&socket, random))
            })
            .collect();
        // Somebody closes in the end, or nobody does and nobody holds it.
        let closing = random.below(2) == 0;
        for user in users {
            user.await.unwrap();
        }
        if closing {
            socket.close(None, None).unwrap();
        } else {
            socket.close(1000, None).unwrap();
            drop(socket);
        }
        let mut lines = log.until("close").await;
        assert_eq!(lines.pop().as_deref(), Some("close"), "{seed}: {lines:?}");
        if lines.last().is_some_and(|line| line == "error") {
            lines.pop();
        }
        let mut lines = lines.into_iter();
        if let Some(first) = lines.next() {
            assert_eq!(first, "open", "{seed}");
        }
        assert!(lines.all(|line| line == "message"), "{seed}");
        // It may have never seen a connection.
        drop(server);
        assert_eq!(log.lines().iter().filter(|line| *line == "close").count(), 1, "{seed}");
    }
}

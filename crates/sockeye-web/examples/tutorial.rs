//! What every tutorial shows: a listener for each event, `send`, then `close`.
//!
//! ```sh
//! cargo run --release -- serve
//! cargo run -p sockeye-web --example tutorial -- ws://127.0.0.1:9000/echo
//! ```

use sockeye_web::{DomException, Event, EventType, WebSocket};
use tokio::sync::mpsc;

/// Says hello, and tells what happens until the connection is closed.
pub(crate) async fn hello(url: &str) -> Result<Vec<String>, DomException> {
    let (say, mut said) = mpsc::unbounded_channel();
    let socket = WebSocket::new(url)?;

    let line = say.clone();
    socket.add_event_listener(EventType::Open, move |socket, _| {
        let _ = line.send("Connected to the server".to_owned());
        let _ = socket.send("Hello Server!");
    });
    let line = say.clone();
    socket.add_event_listener(EventType::Message, move |socket, event| {
        if let Event::Message(event) = event {
            let _ = line.send(format!("Message from server {}", event.data.as_text().unwrap_or_default()));
        }
        let _ = socket.close(1000, "work complete");
    });
    let line = say.clone();
    socket.add_event_listener(EventType::Error, move |_, _| {
        let _ = line.send("WebSocket error".to_owned());
    });
    socket.add_event_listener(EventType::Close, move |_, event| {
        if let Event::Close(event) = event {
            let _ = say.send(format!("Closed: {} {:?}", event.code, event.reason));
        }
    });

    let mut lines = Vec::new();
    while let Some(line) = said.recv().await {
        println!("{line}");
        lines.push(line);
    }
    Ok(lines)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), DomException> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:9000/echo".to_owned());
    hello(&url).await.map(|_| ())
}

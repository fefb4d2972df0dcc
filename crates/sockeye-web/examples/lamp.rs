//! The standard's second example (WHATWG WebSockets section 4): the server says "on" or "off".
//!
//! ```sh
//! cargo run -p sockeye-web --example lamp -- ws://127.0.0.1:9000/rooms/lamp
//! ```

use sockeye_web::{DomException, WebSocket};
use tokio::sync::mpsc;

/// Follows the lamp until the connection ends: whether it was on, each time it was told.
pub(crate) async fn follow(url: &str) -> Result<Vec<bool>, DomException> {
    let (turn, mut lamp) = mpsc::unbounded_channel();
    let socket = WebSocket::new(url)?;
    socket.set_onmessage(move |_, event| match event.data.as_text() {
        Some("on") => drop(turn.send(true)),
        Some("off") => drop(turn.send(false)),
        _ => {}
    });
    let mut states = Vec::new();
    // When the connection has ended the socket lets go of its handlers, and the channel ends with them.
    while let Some(is_on) = lamp.recv().await {
        println!("{}", if is_on { "it is light" } else { "it is dark" });
        states.push(is_on);
    }
    Ok(states)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), DomException> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:9000/echo".to_owned());
    follow(&url).await.map(|_| ())
}

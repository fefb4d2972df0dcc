//! The standard's own example (WHATWG WebSockets section 3.1): updates go out every 50 ms if the network can handle that, or at
//! whatever rate it can handle.
//!
//! ```sh
//! cargo run --release -- serve
//! cargo run -p sockeye-web --example game -- ws://127.0.0.1:9000/echo 3
//! ```

use std::time::Duration;

use sockeye_web::{DomException, WebSocket};
use tokio::sync::oneshot;
use tokio::time::interval;

/// Plays until so many updates are sent, and tells how many the server has confirmed.
pub(crate) async fn play(url: &str, updates: u32) -> Result<u32, DomException> {
    let socket = WebSocket::new(url)?;
    let (opened, open) = oneshot::channel::<()>();
    let (closed, close) = oneshot::channel::<()>();
    let (mut opened, mut closed, mut confirmed) = (Some(opened), Some(closed), 0);
    socket.set_onopen(move |_| drop(opened.take()));
    socket.set_onmessage(move |socket, event| {
        println!("{}", event.data.as_text().unwrap_or_default());
        confirmed += 1;
        if confirmed == updates {
            let _ = socket.close(1000, None);
        }
    });
    socket.set_onclose(move |_, _| drop(closed.take()));
    // The handler of `open` lets go of its end; and so does a socket that never opens.
    let _ = open.await;
    let mut ticks = interval(Duration::from_millis(50));
    let mut sent = 0;
    while sent < updates && socket.ready_state() == WebSocket::OPEN {
        ticks.tick().await;
        if socket.buffered_amount() == 0 {
            socket.send(get_update_data(sent))?;
            sent += 1;
        }
    }
    let _ = close.await;
    Ok(sent)
}

fn get_update_data(number: u32) -> String {
    format!("update {number}")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:9000/echo".to_owned());
    let updates = arguments.next().map_or(Ok(10), |updates| updates.parse())?;
    println!("{} updates sent", play(&url, updates).await?);
    Ok(())
}

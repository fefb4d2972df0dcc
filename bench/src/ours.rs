//! The loop of sockeye's front page.

use std::io;

use sockeye::{Config, Server};
use tokio::net::TcpListener;

/// Serves for ever, with default limits and keepalive.
pub async fn serve(change: impl FnOnce(Server) -> Server) -> io::Result<()> {
    let mut config = Config::default();
    if let (Some(level), Some(deflate)) = (crate::deflate_level(), &mut config.deflate) {
        deflate.level = level;
    }
    let server = Server::from(TcpListener::from_std(crate::listen()?)?).config(config);
    let idle = crate::is_idle_case();
    change(server)
        .run(move |incoming| async move {
            let mut ws = incoming.accept().await?;
            if idle {
                drop(ws.take_handshake());
            }
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
            }
            Ok(())
        })
        .await
}

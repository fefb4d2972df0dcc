//! sockeye, by the loop that its front page shows.

use std::io;

use tokio::net::TcpListener;

fn main() -> io::Result<()> {
    sockeye_bench::current_thread(true)?.block_on(async {
        let mut config = sockeye::Config::default();
        if let (Some(level), Some(deflate)) = (sockeye_bench::deflate_level(), &mut config.deflate) {
            deflate.level = level;
        }
        let server = sockeye::Server::from(TcpListener::from_std(sockeye_bench::listen()?)?).config(config);
        let idle = sockeye_bench::is_idle_case();
        server
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
    })
}

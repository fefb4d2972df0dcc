//! sockeye on tokio's multi-threaded runtime with two workers; otherwise as `sockeye`.

use std::io;

use tokio::net::TcpListener;

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let server = sockeye::Server::from(TcpListener::from_std(sockeye_bench::listen()?)?);
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

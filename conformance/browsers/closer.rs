//! A server that closes every WebSocket as soon as it is open, with a code and a reason of its own:
//! what the browser suite needs to see that a page is told both.

use sockeye::Server;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let server = Server::bind("127.0.0.1:0").await?.allow_any_origin();
    println!("listening on http://{}/", server.local_addr()?);
    server
        .run(|incoming| async move {
            let mut ws = incoming.accept().await?;
            ws.close(4001, "enough").await?;
            Ok(())
        })
        .await
}

//! What the browser cases need of a server and `sockeye serve` has not: subprotocols, small windows that are taken over, closes of
//! its own, and words on stdout about what it was offered and how each connection ended.
//!
//! `browsers_server [CERTIFICATE KEY]`; `/close/CODE/N/..` is closed at once, with N fish for the reason; `/cut/..` after a message, without a closing
//! handshake; anything else is an echo.

use sockeye::{Config, Deflate, Incoming, Server, ServerTls};

const SUBPROTOCOLS: [&str; 2] = ["second.sockeye", "first.sockeye"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut deflate = Deflate::default();
    deflate.server_no_context_takeover = Some(false);
    deflate.client_no_context_takeover = Some(false);
    deflate.server_max_window_bits = 12;
    deflate.client_max_window_bits = 12;
    deflate.threshold = 0;
    let mut config = Config::default();
    config.deflate = Some(deflate);
    let mut server = Server::bind("127.0.0.1:0").await?.allow_any_origin().config(config);
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if let [certificate, key] = &files[..] {
        server = server.tls(ServerTls::from_pem(&std::fs::read(certificate)?, &std::fs::read(key)?)?);
    }
    println!("listening on {}", server.local_addr()?);
    server.run(serve).await?;
    Ok(())
}

async fn serve(incoming: Incoming) -> Result<(), sockeye::Error> {
    let path = incoming.path().to_owned();
    let offers = incoming.headers().get("sec-websocket-extensions").and_then(|offers| offers.to_str().ok());
    println!("offered {path} {}", offers.unwrap_or("nothing"));
    let mut ws = incoming.accept_subprotocol(&SUBPROTOCOLS).await?;
    let agreed: Vec<_> =
        ws.handshake().iter().flat_map(|opening| &opening.extensions).map(ToString::to_string).collect();
    println!("agreed {path} {}", agreed.join(", "));
    match path.split('/').collect::<Vec<_>>()[..] {
        ["", "close", code, fish, ..] => {
            let (code, fish) = (code.parse::<u16>().unwrap_or(1011), fish.parse().unwrap_or(0));
            ws.close(code, "🐟".repeat(fish)).await?;
        }
        ["", "cut", ..] => {
            ws.recv().await?;
            return Ok(());
        }
        _ => {
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
            }
        }
    }
    if let Some(close) = ws.close_info() {
        println!(
            "closed {path} {} {:?} clean: {}",
            u16::from(close.code),
            close.reason.as_str(),
            close.clean
        );
    }
    Ok(())
}

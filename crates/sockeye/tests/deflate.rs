//! permessage-deflate (RFC 7692) through the library: agreed on, used, and never out of step.

mod support;

use std::time::Duration;

use sockeye::{Config, Deflate, Error, Event, Message, WebSocket};
use support::{Trickle, open_as_configured, poll_once};

/// Takes its context over in both directions.
fn takeover() -> Config {
    let mut deflate = Deflate::default();
    deflate.server_no_context_takeover = Some(false);
    deflate.client_no_context_takeover = Some(false);
    deflate.threshold = 0;
    configured(deflate)
}

fn configured(deflate: Deflate) -> Config {
    let mut config = Config::default();
    config.deflate = Some(deflate);
    config
}

fn messages() -> Vec<Message> {
    let sizes = [0, 1, 2, 20, 125, 126, 300];
    let text = sizes.iter().map(|size| Message::from("κ".repeat(*size)));
    let binary = sizes.iter().map(|size| {
        // Hardly compressible.
        Message::from((0..*size).map(|i| ((i * i * 7919) >> 3).to_be_bytes()[7]).collect::<Vec<_>>())
    });
    text.zip(binary).flat_map(|(text, binary)| [text, binary]).collect()
}

fn agreed(ws: &WebSocket) -> String {
    ws.handshake().unwrap().extensions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn the_handshake_tells_what_was_agreed_on() {
    let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let mut off = Config::default();
    off.deflate = None;
    for (name, config, expected) in [
        ("by default nothing is taken over", Config::default(), both),
        ("as configured", takeover(), "permessage-deflate"),
        ("off", off, ""),
    ] {
        let (client, server) = tokio::io::duplex(1 << 16);
        let (client, server) = open_as_configured(client, server, config).await;
        assert_eq!((agreed(&client), agreed(&server)), (expected.to_owned(), expected.to_owned()), "{name}");
    }
}

#[tokio::test]
async fn what_is_opted_out_arrives_between_the_others() {
    let (client, server) = tokio::io::duplex(1 << 20);
    let (client, mut server) = open_as_configured(client, server, takeover()).await;
    let text = "the same again, ".repeat(1000);
    let (sender, mut receiver) = client.split();
    let mut received = Vec::new();
    for _ in 0..3 {
        sender.send(text.as_str()).await.unwrap();
        sender.send_uncompressed(text.as_str()).await.unwrap();
        for _ in 0..2 {
            received.push(server.recv().await.unwrap().unwrap());
        }
    }
    server.send(text.as_str()).await.unwrap();
    server.send_uncompressed(text.as_str()).await.unwrap();
    for _ in 0..2 {
        received.push(receiver.recv().await.unwrap().unwrap());
    }
    assert!(received.iter().all(|message| message.as_text() == Some(&text)));
}

#[tokio::test]
async fn recv_and_send_dropped_at_every_poll_point_keep_the_contexts_in_step() {
    for fragment_size in [None, Some(10)] {
        let mut config = takeover();
        config.fragment_size = fragment_size;
        config.max_buffered = 1;
        let (client, server) = tokio::io::duplex(64);
        let (mut client, mut server) =
            open_as_configured(Trickle::new(client), Trickle::new(server), config).await;
        let sending = tokio::spawn(async move {
            let (mut sent, mut dropped) = (Vec::new(), 0);
            for message in messages().into_iter().cycle().take(12_000) {
                match poll_once(server.send(message.clone())).await {
                    Some(result) => {
                        result.unwrap();
                        sent.push(message);
                    }
                    None => dropped += 1,
                }
                tokio::task::yield_now().await;
            }
            server.close(1000, "done").await.unwrap();
            (sent, dropped)
        });
        let (mut received, mut dropped) = (Vec::new(), 0);
        loop {
            match poll_once(client.recv()).await {
                Some(Ok(Some(message))) => received.push(message),
                Some(end) => break assert_eq!(end.unwrap(), None),
                None => {
                    dropped += 1;
                    tokio::task::yield_now().await;
                }
            }
        }
        let (sent, not_sent) = sending.await.unwrap();
        assert!(received == sent && sent.len() > 10 && not_sent > 1000, "{} sent", sent.len());
        assert!(dropped > 200, "only {dropped} futures were dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_time_changes_nothing_that_can_be_seen() {
    let mut deflate = takeover().deflate.unwrap();
    deflate.quiet = Some(Duration::from_secs(1));
    let (client, server) = tokio::io::duplex(1 << 16);
    let (mut client, mut server) = open_as_configured(client, server, configured(deflate)).await;
    let echo = tokio::spawn(async move {
        while let Some(message) = server.recv().await? {
            server.send(message).await?;
        }
        Ok::<_, Error>(())
    });
    for i in 0..10 {
        let text = format!("{i}: {}", "one and the same text ".repeat(20));
        client.send(text.as_str()).await.unwrap();
        assert_eq!(client.recv().await.unwrap().unwrap().as_text(), Some(text.as_str()));
        // Deadlines are kept while it receives.
        let quiet = tokio::time::timeout(Duration::from_millis(700 * i), client.recv()).await;
        assert!(i == 0 || quiet.is_err(), "{quiet:?}");
    }
    assert!(client.close(1000, "").await.unwrap().clean);
    echo.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_bomb_costs_no_more_than_the_limit() {
    let mut config = takeover();
    config.max_buffered = 64 << 20;
    let (client, server) = tokio::io::duplex(1 << 20);
    let (mut client, mut server) = {
        let mut small = config.clone();
        small.max_message_size = 1 << 18;
        let opening = sockeye::Client::new().config(config);
        let accepting = async { sockeye::Incoming::read(server, small).await?.accept().await };
        let (client, server) = tokio::join!(opening.connect_over(client, "ws://test/"), accepting);
        (client.unwrap(), server.unwrap())
    };
    client.send(vec![0; 2 << 20]).await.unwrap();
    let closed = async {
        let event = client.recv_event().await.unwrap();
        assert!(matches!(&event, Some(Event::Close(Some(frame))) if frame.code == 1009), "{event:?}");
        client.recv().await
    };
    let (received, closed) = tokio::join!(server.recv(), closed);
    assert_eq!(closed.unwrap(), None);
    let error = received.unwrap_err();
    assert!(
        matches!(error, Error::Protocol(sockeye::ProtocolError::MessageTooBig { limit: 262_144 })),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_must_not_name_what_the_library_negotiates() {
    let (client, server) = tokio::io::duplex(1 << 16);
    let accepting = async {
        let incoming = sockeye::Incoming::read(server, Config::default()).await?;
        let mut answer = sockeye::Answer::default();
        answer.extensions.push(Deflate::default().offer());
        incoming.accept_with(answer).await
    };
    let opening = sockeye::Client::new();
    let (client, server) = tokio::join!(opening.connect_over(client, "ws://test/"), accepting);
    assert!(client.is_err());
    let error = server.unwrap_err().to_string();
    assert!(error.contains("permessage-deflate is negotiated by the library"), "{error}");
}

//! What a server counts, against what was done to it.

#[path = "support/certificates.rs"]
mod certificates;
mod support;

use std::time::Duration;

use certificates::Ca;
use sockeye::{
    Client, Closed, Config, Error, ForwardedBy, HeaderValue, Incoming, Message, MessageKind, Metrics,
    Networks, Refused, Server, ServerTls, Side, SlowConsumer, Snapshot, StatusCode, connect, pair,
};
use support::{echo, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn refused(snapshot: &Snapshot, why: Refused) -> u64 {
    snapshot.refused.iter().find(|(refused, _)| *refused == why).unwrap().1
}

fn all_refused(snapshot: &Snapshot) -> u64 {
    snapshot.refused.iter().map(|(_, count)| count).sum()
}

fn closed(snapshot: &Snapshot) -> Vec<(&'static str, Side, u64)> {
    snapshot.closed.iter().map(|Closed { code, initiator, count, .. }| (*code, *initiator, *count)).collect()
}

/// Waits until the figures are as told: a server counts in its own time.
async fn until(metrics: &Metrics, are_right: impl Fn(&Snapshot) -> bool) -> Snapshot {
    for _ in 0..2000 {
        let snapshot = metrics.snapshot();
        if are_right(&snapshot) {
            return snapshot;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it never comes to that: {:#?}", metrics.snapshot());
}

#[tokio::test]
async fn messages_and_bytes_are_counted_by_direction_and_kind() {
    let metrics = Metrics::new();
    let mut config = Config::default();
    config.deflate = None;
    let server = serve(|server| server.metrics(metrics.clone()).config(config), echo).await;
    let mut ws = connect(&server.url()).await.unwrap();
    for message in [Message::from("12345"), Message::from("678"), Message::from(vec![0; 1000])] {
        ws.send(message.clone()).await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some(message));
    }
    let counted = until(&metrics, |snapshot| snapshot.sent.binary_messages == 1).await;
    assert_eq!((counted.connections_open, counted.connections_total), (1, 1));
    for traffic in [counted.received, counted.sent] {
        assert_eq!((traffic.text_messages, traffic.text_bytes), (2, 8));
        assert_eq!((traffic.binary_messages, traffic.binary_bytes), (1, 1000));
    }
    // Headers of 2, 2 and 4 bytes; and a masking key of 4 with what comes.
    assert_eq!((counted.received.wire_bytes, counted.sent.wire_bytes), (1008 + 8 + 12, 1008 + 8));
    assert!(ws.close(4001, "").await.unwrap().clean);
    let counted = until(&metrics, |snapshot| snapshot.connections_open == 0).await;
    assert_eq!(closed(&counted), [("4000-4999", Side::Peer, 1)]);
    server.stop().await;
}

#[tokio::test]
async fn parts_are_one_message_and_compression_is_seen_in_the_wire_bytes() {
    let metrics = Metrics::new();
    let server = serve(|server| server.metrics(metrics.clone()), echo).await;
    let mut ws = connect(&server.url()).await.unwrap();
    let part = "the same again, ".repeat(1000);
    for last in [false, true] {
        ws.send_part(part.as_str(), last).await.unwrap();
    }
    assert_eq!(ws.recv().await.unwrap().unwrap().len(), 32_000);
    let counted = until(&metrics, |snapshot| snapshot.sent.text_messages == 1).await;
    for traffic in [counted.received, counted.sent] {
        assert_eq!((traffic.text_messages, traffic.text_bytes), (1, 32_000));
        assert!((10..2000).contains(&traffic.wire_bytes), "{}", traffic.wire_bytes);
    }
    drop(ws);
    let counted = until(&metrics, |snapshot| snapshot.connections_open == 0).await;
    assert_eq!(closed(&counted), [("1006", Side::Peer, 1)]);
    server.stop().await;
}

#[tokio::test]
async fn what_a_handler_sends_in_parts_is_counted() {
    let metrics = Metrics::new();
    let server = serve(
        |server| server.metrics(metrics.clone()),
        |incoming: Incoming| async move {
            let (sender, mut receiver) = incoming.accept().await?.split();
            let mut message = sender.start_message(MessageKind::Binary).await?;
            message.send_part(b"12").await?;
            message.send_reader(&mut &b"345"[..]).await?;
            message.finish()?;
            while receiver.recv().await?.is_some() {}
            Ok(())
        },
    )
    .await;
    let mut ws = connect(&server.url()).await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().len(), 5);
    let counted = until(&metrics, |snapshot| snapshot.sent.binary_messages == 1).await;
    assert_eq!(counted.sent.binary_bytes, 5);
    drop(ws);
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_taken_for_sending_is_not_counted() {
    let metrics = Metrics::new();
    let server = serve(
        |server| server.metrics(metrics.clone()),
        |incoming: Incoming| async move {
            let mut ws = incoming.accept().await?;
            ws.send_part("1", false).await?;
            assert!(matches!(ws.send("in the midst of another").await, Err(Error::Misuse(_))));
            assert!(matches!(ws.send_part(b"of the other kind", true).await, Err(Error::Misuse(_))));
            ws.send_part("2", true).await?;
            while ws.recv().await?.is_some() {}
            Ok(())
        },
    )
    .await;
    let mut ws = connect(&server.url()).await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap(), "12".into());
    let counted = until(&metrics, |snapshot| snapshot.sent.text_bytes >= 2).await.sent;
    assert_eq!((counted.text_messages, counted.text_bytes), (1, 2));
    assert_eq!((counted.binary_messages, counted.binary_bytes), (0, 0));
    drop(ws);
    server.stop().await;
}

#[tokio::test]
async fn round_trips_of_keepalive_and_of_the_application_are_counted() {
    let metrics = Metrics::new();
    let mut config = Config::default();
    config.ping_interval = Some(Duration::from_millis(5));
    let server = serve(
        |server| server.metrics(metrics.clone()).config(config),
        |incoming: Incoming| async move {
            let mut ws = incoming.accept().await?;
            let ping = ws.ping();
            while ws.recv().await?.is_some() {}
            ping.await.map(drop)
        },
    )
    .await;
    let mut ws = connect(&server.url()).await.unwrap();
    let receiving = async { ws.recv().await };
    let counting = until(&metrics, |snapshot| snapshot.round_trips.buckets.iter().sum::<u64>() >= 4);
    let counted = tokio::select! {
        counted = counting => counted,
        other = receiving => panic!("{other:?}"),
    };
    assert!(counted.sent.pings >= 4, "{counted:?}");
    assert!(counted.round_trips.sum > Duration::ZERO);
    drop(ws);
    server.stop().await;
}

#[tokio::test]
async fn refused_handshakes_are_counted_by_reason() {
    let metrics = Metrics::new();
    let mut config = Config::default();
    config.open_timeout = Some(Duration::from_millis(50));
    let server = serve(
        |server| server.metrics(metrics.clone()).config(config),
        |incoming: Incoming| async move {
            if incoming.path() == "/no" {
                return incoming.reject(StatusCode::NOT_FOUND, "").await;
            }
            drop(incoming.accept().await?);
            Ok(())
        },
    )
    .await;
    let raw = async |bytes: &'static [u8]| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    };
    let foreign = Client::new().origin(HeaderValue::from_static("https://evil.example"));
    assert!(foreign.connect(&server.url()).await.is_err());
    assert!(connect(&format!("{}no", server.url())).await.is_err());
    drop(raw(b"GET / HTTP/1.1\r\n").await);
    let mut silent = raw(b"").await;
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    let mut wrong = raw(b"GET /\r\n\r\n").await;
    wrong.read_to_end(&mut Vec::new()).await.unwrap();
    drop(wrong);
    let mut page = raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    page.read_to_end(&mut Vec::new()).await.unwrap();
    drop(page);
    let mut ws = connect(&server.url()).await.unwrap();
    assert!(matches!(ws.recv().await, Err(Error::Io(_))), "the handler drops it");
    let counted =
        until(&metrics, |snapshot| snapshot.connections_open == 0 && refused(snapshot, Refused::Lost) == 1)
            .await;
    for why in [Refused::Origin, Refused::Rejected, Refused::Timeout, Refused::Invalid] {
        assert_eq!(refused(&counted, why), 1, "{why:?}");
    }
    assert_eq!((counted.http, counted.connections_total), (1, 1));
    assert_eq!(closed(&counted), [("1006", Side::Local, 1)]);
    server.stop().await;
}

#[tokio::test]
async fn those_that_tls_or_a_limit_or_a_missing_header_keeps_out_are_counted() {
    let metrics = Metrics::new();
    let ca = Ca::new("ca");
    let identity = ca.issue(&["localhost"]);
    let tls = ServerTls::from_pem(identity.chain.as_bytes(), identity.key.as_bytes()).unwrap();
    let server = serve(|server| server.metrics(metrics.clone()).tls(tls), echo).await;
    let mut wrong = TcpStream::connect(server.address).await.unwrap();
    wrong.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    wrong.read_to_end(&mut Vec::new()).await.unwrap();
    let counted = until(&metrics, |snapshot| refused(snapshot, Refused::Tls) == 1).await;
    assert_eq!(all_refused(&counted), 1);
    server.stop().await;

    let metrics = Metrics::new();
    let server = serve(|server| server.metrics(metrics.clone()).max_connections(1), echo).await;
    let ws = connect(&server.url()).await.unwrap();
    assert!(connect(&server.url()).await.is_err());
    let counted = until(&metrics, |snapshot| refused(snapshot, Refused::Limit) == 1).await;
    assert_eq!(all_refused(&counted), 1);
    drop(ws);
    server.stop().await;

    // Whose address it is a proxy says, once the request is read.
    let metrics = Metrics::new();
    let proxies = Networks::new(["127.0.0.0/8"]).unwrap();
    let few = |server: Server| {
        let server = server.metrics(metrics.clone()).max_connections_per_addr(1);
        server.proxy_protocol(proxies.clone()).forwarded(ForwardedBy::XForwardedFor, proxies)
    };
    let server = serve(few, echo).await;
    let open = async || {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n").await.unwrap();
        Client::new().connect_over(stream, "ws://localhost/").await
    };
    let ws = open().await.unwrap();
    assert_eq!(open().await.unwrap_err().refusal().unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    let _ = TcpStream::connect(server.address).await.unwrap().write_all(b"GET / HTTP/1.1\r\n").await;
    let counted = until(&metrics, |snapshot| refused(snapshot, Refused::Invalid) == 1).await;
    assert_eq!((refused(&counted, Refused::Limit), all_refused(&counted)), (1, 2));
    drop(ws);
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_its_handler_leaves_is_counted_once_as_the_server_goes_down() {
    let metrics = Metrics::new();
    let handler = |incoming: Incoming| async move {
        let mut ws = incoming.accept().await?;
        let _ = ws.recv().await?;
        // Whether it closes already is found out by sending; the rest is the server's to do.
        while ws.send("more").await.is_ok() {
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    let server = serve(|server| server.metrics(metrics.clone()), handler).await;
    let mut ws = connect(&server.url()).await.unwrap();
    ws.send("begin").await.unwrap();
    assert!(ws.recv().await.unwrap().is_some());
    let (drained, ()) = tokio::join!(server.stop(), async { while ws.recv().await.unwrap().is_some() {} });
    let counted = metrics.snapshot();
    assert_eq!((drained.clean, counted.drained, counted.aborted), (1, 1, 0));
}

#[tokio::test]
async fn queues_and_slow_consumers_are_counted() {
    let metrics = Metrics::new();
    let mut config = Config::default();
    (config.max_buffered, config.deflate) = (1000, None);
    let server = serve(
        |server| server.metrics(metrics.clone()).config(config),
        |incoming: Incoming| async move {
            let (sender, mut receiver) = incoming.accept().await?.split();
            let queued = sender.queued(SlowConsumer::Coalesce, 100_000);
            while sender.buffered_amount() < 1000 {
                queued.offer(vec![0; 60_000])?;
            }
            for _ in 0..3 {
                queued.offer_keyed("key", vec![0; 10_000])?;
            }
            queued.offer(vec![0; 95_000])?;
            let closing = sender.queued(SlowConsumer::Close(1013.into()), 100_000);
            assert!(receiver.recv().await?.is_some());
            let _ = closing.offer(vec![0; 50_000]);
            while receiver.recv().await?.is_some() {}
            Ok(())
        },
    )
    .await;
    let mut ws = connect(&server.url()).await.unwrap();
    let counted = until(&metrics, |snapshot| snapshot.queued_bytes == 95_160).await;
    assert_eq!((counted.queued, counted.dropped, counted.coalesced), (1, 1, 2));
    ws.send("close").await.unwrap();
    let counted = until(&metrics, |snapshot| snapshot.slow_closed == 1).await;
    assert_eq!((counted.queued, counted.queued_bytes, counted.dropped), (0, 0, 3));
    while ws.recv().await.unwrap().is_some() {}
    let counted = until(&metrics, |snapshot| snapshot.connections_open == 0).await;
    assert_eq!(closed(&counted), [("1013", Side::Local, 1)]);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn going_down_is_counted() {
    let metrics = Metrics::new();
    let server = Server::bind("127.0.0.1:0").await.unwrap().metrics(metrics.clone());
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(server.run_until(stopped, |incoming| async move {
        let stubborn = incoming.path() == "/stubborn";
        let mut ws = incoming.accept().await?;
        while ws.recv().await?.is_some() {}
        if stubborn { std::future::pending().await } else { Ok(()) }
    }));
    let mut good = connect(&url).await.unwrap();
    let mut stubborn = connect(&format!("{url}stubborn")).await.unwrap();
    assert_eq!(metrics.snapshot().draining, 0);
    drop(stop);
    assert_eq!(good.recv().await.unwrap(), None);
    assert_eq!(stubborn.recv().await.unwrap(), None);
    running.await.unwrap().unwrap();
    let counted = metrics.snapshot();
    assert_eq!((counted.draining, counted.drained, counted.aborted), (0, 1, 1));
    assert_eq!(closed(&counted), [("1001", Side::Local, 2)]);
}

#[tokio::test]
async fn what_no_server_accepted_is_not_counted() {
    let (mut client, mut server) = pair();
    client.send("hello").await.unwrap();
    assert!(server.recv().await.unwrap().is_some());
    let counted = Metrics::new().snapshot();
    assert_eq!((counted.connections_total, counted.received), (0, counted.sent));
}

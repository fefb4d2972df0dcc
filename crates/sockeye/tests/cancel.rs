//! `recv` and `send` are cancel-safe: dropped at any poll point, nothing is lost, doubled or torn.

mod support;

use sockeye::{Config, Error, Event, Message};
use support::{Trickle, open, poll_once};

fn messages() -> Vec<Message> {
    let sizes = [0, 1, 2, 125, 126, 127, 300, 1000];
    let text = sizes.iter().map(|size| Message::from("κ".repeat(*size)));
    let binary = sizes.iter().map(|size| Message::from(vec![0xA5; *size]));
    text.zip(binary).flat_map(|(text, binary)| [text, binary]).collect()
}

fn fragmented() -> Config {
    let mut config = Config::default();
    config.fragment_size = Some(100);
    config
}

#[tokio::test]
async fn recv_dropped_at_every_poll_point_loses_nothing() {
    for config in [Config::default(), fragmented()] {
        let (client, server) = tokio::io::duplex(64);
        let (mut client, mut server) = open(Trickle::new(client), Trickle::new(server), config).await;
        let sending = tokio::spawn(async move {
            for message in messages() {
                server.send(message).await.unwrap();
            }
            server.close(1000, "done").await.unwrap()
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
        assert_eq!(received, messages());
        assert!(dropped > 5000, "only {dropped} futures were dropped");
        assert!(sending.await.unwrap().clean);
        assert_eq!(client.close_info().unwrap().reason, "done");
    }
}

#[tokio::test]
async fn send_dropped_at_every_poll_point_sends_all_or_nothing() {
    for mut config in [Config::default(), fragmented()] {
        config.max_buffered = 1;
        let (client, server) = tokio::io::duplex(64);
        let (mut client, mut server) = open(Trickle::new(client), Trickle::new(server), config).await;
        let receiving = tokio::spawn(async move {
            let mut received = Vec::new();
            while let Some(message) = server.recv().await.unwrap() {
                received.push(message);
            }
            received
        });
        let (mut sent, mut dropped) = (Vec::new(), 0);
        for i in 0..3000 {
            let message = Message::from(format!("{i}:{}", "x".repeat(i % 300)));
            match poll_once(client.send(message.clone())).await {
                Some(result) => {
                    result.unwrap();
                    sent.push(message);
                }
                None => dropped += 1,
            }
            tokio::task::yield_now().await;
        }
        assert!(sent.len() > 10 && dropped > 1000, "{} sent, {dropped} dropped", sent.len());
        client.close(1000, "").await.unwrap();
        assert_eq!(receiving.await.unwrap(), sent);
    }
}

#[tokio::test]
async fn close_dropped_at_every_poll_point_closes_once() {
    let (client, server) = tokio::io::duplex(64);
    let (mut client, mut server) = open(Trickle::new(client), Trickle::new(server), Config::default()).await;
    let receiving = tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(event) = server.recv_event().await.unwrap() {
            events.push(event);
        }
        events
    });
    let info = loop {
        match poll_once(client.close(4000, "bye")).await {
            Some(info) => break info.unwrap(),
            None => tokio::task::yield_now().await,
        }
    };
    assert!(info.clean && info.code == 4000, "{info:?}");
    let events = receiving.await.unwrap();
    assert!(matches!(&events[..], [Event::Close(Some(frame))] if frame.reason == "bye"), "{events:?}");
}

#[tokio::test]
async fn opening_dropped_is_given_up() {
    let (client, server) = tokio::io::duplex(64);
    let dropped = poll_once(sockeye::Client::new().connect_over(Trickle::new(client), "ws://test/")).await;
    assert!(dropped.is_none());
    let error = sockeye::accept(server).await.unwrap_err();
    assert!(matches!(error, Error::Open(_)), "{error}");
}

//! A broadcast: one message for many connections, whatever each of them has agreed on.

mod support;

use sockeye::{Config, Deflate, Error, Message, Prepared, TrySendError};
use support::{open_as_configured, poll_once};

/// What members of one broadcast may differ in.
fn configs() -> Vec<Config> {
    let mut deflates = [Some(Deflate::default()); 6];
    deflates[1] = None;
    if let [_, _, Some(takeover), Some(window), Some(threshold), _] = &mut deflates {
        takeover.server_no_context_takeover = Some(false);
        takeover.client_no_context_takeover = Some(false);
        window.server_max_window_bits = 10;
        window.client_max_window_bits = 10;
        threshold.threshold = 1 << 20;
    }
    let configured = deflates.into_iter().map(|deflate| {
        let mut config = Config::default();
        config.deflate = deflate;
        config.max_buffered = 1 << 20;
        config
    });
    configured.collect()
}

fn messages() -> Vec<Message> {
    let text = "the same for all, κόσμε, ";
    let texts = [0, 1, 10, 3000].into_iter().map(|times| Message::from(text.repeat(times)));
    let binary = (0..50_000_u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[1]);
    texts.chain([Message::from(binary.collect::<Vec<_>>())]).collect()
}

#[tokio::test]
async fn all_members_receive_the_same() {
    let prepared: Vec<_> = messages().into_iter().map(Prepared::new).collect();
    let (mut whole, mut split, mut peers) = (Vec::new(), Vec::new(), Vec::new());
    for config in configs() {
        for server_sends in [true, false] {
            for is_split in [true, false] {
                let (client, server) = tokio::io::duplex(1 << 20);
                let (client, server) = open_as_configured(client, server, config.clone()).await;
                let (member, peer) = if server_sends { (server, client) } else { (client, server) };
                peers.push(peer);
                if is_split { split.push(member.split()) } else { whole.push(member) }
            }
        }
    }
    for _ in 0..2 {
        for prepared in &prepared {
            for member in &mut whole {
                member.send_prepared(prepared).await.unwrap();
                member.flush().await.unwrap();
            }
            for (sender, _) in &split {
                sender.send_prepared(prepared).await.unwrap();
                sender.try_send_prepared(prepared).unwrap();
                sender.flush().await.unwrap();
            }
        }
    }
    drop(whole);
    drop(split);
    let mut counts = Vec::new();
    for mut peer in peers {
        let mut received = Vec::new();
        while let Ok(Some(message)) = peer.recv().await {
            received.push(message);
        }
        let times = received.len() / messages().len();
        let expected = [messages(), messages()].concat().into_iter();
        let expected: Vec<_> = expected.flat_map(|message| vec![message; times / 2]).collect();
        assert!(received == expected, "{} messages", received.len());
        counts.push(times);
    }
    counts.sort_unstable();
    assert_eq!(counts, [[2; 12], [4; 12]].concat());
}

#[tokio::test]
async fn it_waits_for_room_and_sends_nothing_if_dropped_before() {
    let mut config = Config::default();
    config.max_buffered = 1000;
    let (client, server) = tokio::io::duplex(64);
    let (client, mut server) = open_as_configured(client, server, config).await;
    let (sender, receiver) = client.split();
    let prepared = Prepared::new("the same again, ".repeat(10_000));
    let mut sent = 0;
    while poll_once(sender.send_prepared(&prepared)).await.is_some() {
        sent += 1;
        assert!(sent < 100, "there is no bound");
    }
    let full = sender.try_send_prepared(&prepared).unwrap_err();
    assert!(matches!(full, TrySendError::Full(message) if message == *prepared.message()));
    let receiving = tokio::spawn(async move {
        let mut count = 0;
        while let Some(message) = server.recv().await? {
            assert_eq!(message.len(), 160_000);
            count += 1;
        }
        Ok::<_, Error>(count)
    });
    sender.send_prepared(&prepared).await.unwrap();
    let mut receiver = receiver;
    assert!(receiver.close(1000, "").await.unwrap().clean);
    assert_eq!(receiving.await.unwrap().unwrap(), sent + 1);
    assert!(matches!(sender.send_prepared(&prepared).await, Err(Error::Closed)));
    let closed = sender.try_send_prepared(&prepared).unwrap_err();
    assert!(matches!(closed, TrySendError::Closed(message) if message == *prepared.message()));
}

//! The two halves: each hazard of sharing a connection between tasks.

mod support;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sockeye::{Client, Config, Error, Event, Message, TrySendError, WebSocket, pair, pair_with};
use support::{Trickle, open, poll_once};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Long enough for anything that is not stuck; in virtual time it costs nothing.
const LONG: Duration = Duration::from_secs(3);

/// A pair whose transport holds little, with room for little more.
async fn narrow() -> (WebSocket, WebSocket) {
    let mut config = Config::default();
    config.max_buffered = 100;
    let (client, server) = tokio::io::duplex(64);
    open(client, server, config).await
}

async fn echo(mut ws: WebSocket) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn clones_send_from_many_tasks_while_one_receives() {
    let (client, server) = narrow().await;
    tokio::spawn(echo(server));
    let (sender, mut receiver) = client.split();
    let mut senders = JoinSet::new();
    for task in 0..10 {
        let sender = sender.clone();
        senders.spawn(async move {
            for i in 0..100 {
                sender.send(format!("{task}:{i}")).await.unwrap();
            }
        });
    }
    let mut next = [0; 10];
    for _ in 0..1000 {
        let message = timeout(LONG, receiver.recv()).await.expect("stuck").unwrap().unwrap();
        let (task, i) = message.as_text().unwrap().split_once(':').unwrap();
        let task: usize = task.parse().unwrap();
        assert_eq!(i.parse(), Ok(next[task]), "each sender's messages keep their order");
        next[task] += 1;
    }
    assert_eq!(next, [100; 10]);
    let (closed, rest) = tokio::join!(sender.close(1000, ""), receiver.recv());
    assert!(closed.unwrap().clean && rest.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_pongs_flush_does_not_steal_a_blocked_senders_wake_up() {
    let (client, mut server) = narrow().await;
    let (sender, mut receiver) = client.split();
    let sending = tokio::spawn(async move {
        for _ in 0..100 {
            sender.send(vec![1; 90]).await.unwrap();
        }
        sender.flush().await.unwrap();
    });
    drop(server.ping());
    server.flush().await.unwrap();
    tokio::task::yield_now().await;
    // The sender is blocked, since nobody reads. Now the receiver tries to write a pong, and is never polled again: the
    // transport must not have forgotten the sender for it.
    assert!(matches!(poll_once(receiver.recv_event()).await, Some(Ok(Some(Event::Ping(_))))));
    assert!(poll_once(receiver.recv_event()).await.is_none());
    let receiving = tokio::spawn(async move {
        for _ in 0..100 {
            server.recv().await.unwrap().unwrap();
        }
    });
    timeout(LONG, sending).await.expect("the sender was never woken").unwrap();
    timeout(LONG, receiving).await.expect("a message is missing").unwrap();
}

#[tokio::test(start_paused = true)]
async fn when_the_receiver_is_dropped_senders_go_on_and_answer() {
    let (client, server) = narrow().await;
    let (sender, receiver) = client.split();
    let (to_client, mut from_client) = server.split();
    drop(receiver);
    let receiving = tokio::spawn(async move {
        let mut received = 0;
        while from_client.recv().await.unwrap().is_some() {
            received += 1;
        }
        received
    });
    // More than would fit anywhere, so that it must be thrown away at the other end.
    let flooding = tokio::spawn(async move {
        for _ in 0..100 {
            to_client.send(vec![2; 90]).await.unwrap();
        }
        (to_client.ping(),)
    });
    for _ in 0..100 {
        timeout(LONG, sender.send(vec![1; 90])).await.expect("stuck").unwrap();
    }
    let mut ping = None;
    timeout(LONG, async {
        let mut flooding = flooding;
        while ping.is_none() {
            sender.send("still here").await.unwrap();
            sender.flush().await.unwrap();
            ping = poll_once(&mut flooding).await.map(|flooded| flooded.unwrap().0);
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("what comes is not thrown away");
    let pong = tokio::spawn(ping.unwrap());
    let closed = timeout(LONG, sender.close(1000, "")).await.expect("the close is stuck").unwrap();
    assert!(closed.clean);
    assert!(pong.await.unwrap().is_ok(), "the ping was not answered");
    assert!(receiving.await.unwrap() > 100);
}

#[tokio::test(start_paused = true)]
async fn when_all_senders_are_dropped_the_receiver_goes_on_and_answers() {
    let (client, mut server) = pair();
    let (sender, mut receiver) = client.split();
    drop(sender);
    let receiving = tokio::spawn(async move {
        let message = receiver.recv().await.unwrap();
        assert_eq!(receiver.recv().await.unwrap(), None);
        message
    });
    let ping = tokio::spawn(server.ping());
    assert!(matches!(server.recv_event().await.unwrap(), Some(Event::Pong(_))));
    assert!(ping.await.unwrap().is_ok());
    server.send("to the receiver").await.unwrap();
    assert!(server.close(1000, "").await.unwrap().clean);
    assert_eq!(receiving.await.unwrap(), Some("to the receiver".into()));
}

#[tokio::test(start_paused = true)]
async fn when_both_halves_are_dropped_the_peer_sees_the_end() {
    let (client, mut server) = pair();
    drop(client.split());
    assert!(matches!(server.recv().await, Err(Error::Io(_))));
}

#[tokio::test(start_paused = true)]
async fn a_close_from_either_half_ends_both() {
    for by_sender in [true, false] {
        let (client, server) = pair();
        let server = tokio::spawn(echo(server));
        let (sender, mut receiver) = client.split();
        sender.send("before").await.unwrap();
        if by_sender {
            let closing = tokio::spawn({
                let sender = sender.clone();
                async move { sender.close(4000, "s").await }
            });
            assert_eq!(receiver.recv().await.unwrap(), Some("before".into()), "it is still delivered");
            assert_eq!(receiver.recv().await.unwrap(), None);
            assert!(closing.await.unwrap().unwrap().code == 4000);
        } else {
            receiver.start_close(4000, "r").unwrap();
            assert_eq!(receiver.recv().await.unwrap(), Some("before".into()));
            assert!(receiver.close(1000, "").await.unwrap().code == 4000, "the first close counts");
        }
        assert!(matches!(sender.send("late").await, Err(Error::Closed)));
        assert_eq!(sender.try_send("late"), Err(TrySendError::Closed("late".into())));
        assert!(sender.close_info().unwrap().clean && receiver.close_info().unwrap().clean);
        server.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_frees_those_who_wait_for_room() {
    let (client, server) = narrow().await;
    let (sender, mut receiver) = client.split();
    let mut blocked = JoinSet::new();
    for _ in 0..5 {
        let sender = sender.clone();
        blocked.spawn(async move { while sender.send(vec![0; 90]).await.is_ok() {} });
    }
    tokio::task::yield_now().await;
    let receiving = tokio::spawn(async move { receiver.recv().await });
    sender.start_close(1000, "").unwrap();
    timeout(LONG, blocked.join_all()).await.expect("a sender still waits for room");
    drop(server);
    assert!(receiving.await.unwrap().unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_frees_those_who_wait_for_room() {
    let (client, server) = narrow().await;
    let (sender, mut receiver) = client.split();
    let mut blocked = JoinSet::new();
    for _ in 0..5 {
        let sender = sender.clone();
        blocked.spawn(async move { while sender.send(vec![0; 90]).await.is_ok() {} });
    }
    let receiving = tokio::spawn(async move { receiver.recv().await });
    tokio::task::yield_now().await;
    drop(server);
    timeout(LONG, blocked.join_all()).await.expect("a sender still waits for room");
    assert!(receiving.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_clone_dropped_while_it_waits_holds_nobody_up() {
    let (client, mut server) = narrow().await;
    let (sender, _receiver) = client.split();
    while poll_once(sender.send(vec![1; 90])).await.is_some() {}
    let clones: Vec<_> = (0..3).map(|_| sender.clone()).collect();
    let mut waiting: Vec<_> = clones.iter().map(|clone| tokio_spawn_send(clone.clone())).collect();
    tokio::task::yield_now().await;
    waiting.remove(0).abort();
    drop(clones);
    let receiving = tokio::spawn(async move {
        let mut marked = 0;
        while marked < 2 {
            marked += usize::from(server.recv().await.unwrap().unwrap().is_text());
        }
        server
    });
    for sent in waiting {
        timeout(LONG, sent).await.expect("a sender was never woken").unwrap();
    }
    sender.flush().await.unwrap();
    timeout(LONG, receiving).await.expect("a message is missing").unwrap();
}

fn tokio_spawn_send(sender: sockeye::Sender) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move { sender.send("marked").await.unwrap() })
}

#[tokio::test(start_paused = true)]
async fn every_poll_point_of_both_halves_may_be_cancelled() {
    let mut config = Config::default();
    config.max_buffered = 1;
    let (client, server) = tokio::io::duplex(64);
    let (client, server) = open(Trickle::new(client), Trickle::new(server), config).await;
    tokio::spawn(echo(server));
    let (sender, mut receiver) = client.split();
    let (mut sent, mut received, mut dropped) = (Vec::new(), Vec::new(), 0);
    for i in 0..20_000 {
        let message = Message::from(format!("{i}:{}", "x".repeat(i % 200)));
        if sent.len() < 100 {
            match poll_once(sender.send(message.clone())).await {
                Some(result) => {
                    result.unwrap();
                    sent.push(message);
                }
                None => dropped += 1,
            }
        }
        match poll_once(receiver.recv()).await {
            Some(message) => received.push(message.unwrap().unwrap()),
            None => dropped += 1,
        }
        if sent.len() == 100 && received.len() == 100 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(received, sent);
    assert!(sent.len() == 100 && dropped > 1000, "{} sent, {dropped} dropped", sent.len());
}

#[tokio::test(start_paused = true)]
async fn try_send_takes_what_there_is_room_for() {
    let (client, mut server) = narrow().await;
    let (sender, mut receiver) = client.split();
    let mut sent = 0;
    let refused = loop {
        match sender.try_send(format!("{sent:90}")) {
            Ok(()) => sent += 1,
            Err(TrySendError::Full(message)) => break message,
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 10, "there is no bound");
    };
    assert_eq!(refused.as_text(), Some(format!("{sent:90}").as_str()), "it is given back");
    assert!((100..300).contains(&sender.buffered_amount()), "{}", sender.buffered_amount());
    tokio::spawn(async move { receiver.recv().await });
    for _ in 0..sent {
        assert!(timeout(LONG, server.recv()).await.expect("not written").unwrap().is_some());
    }
    assert_eq!(sender.buffered_amount(), 0);
    sender.try_send("again").unwrap();
    assert_eq!(server.recv().await.unwrap(), Some("again".into()));
}

#[tokio::test(start_paused = true)]
async fn peers_that_send_at_the_same_time_do_not_wait_for_each_other() {
    let (client, server) = narrow().await;
    let mut talking = JoinSet::new();
    for ws in [client, server] {
        let (sender, mut receiver) = ws.split();
        talking.spawn(async move {
            for _ in 0..500 {
                sender.send(vec![3; 500]).await.unwrap();
            }
            sender.flush().await.unwrap();
        });
        talking.spawn(async move {
            for _ in 0..500 {
                receiver.recv().await.unwrap().unwrap();
            }
            // Whoever is done first must not go before the other has got all.
            let _ = timeout(LONG, receiver.recv()).await;
        });
    }
    timeout(10 * LONG, talking.join_all()).await.expect("they wait for each other");
}

#[tokio::test(start_paused = true)]
async fn the_halves_are_a_stream_and_a_sink() {
    let (client, server) = pair();
    tokio::spawn(echo(server));
    let (mut sender, receiver) = client.split();
    sender
        .send_all(&mut futures_util::stream::iter((0..50).map(|i| Ok(Message::from(vec![i])))))
        .await
        .unwrap();
    let received: Vec<_> = receiver.take(50).map(Result::unwrap).collect().await;
    assert!(received.iter().zip(0..).all(|(message, i)| message.as_bytes() == [i]));
}

#[tokio::test(start_paused = true)]
async fn a_send_that_nobody_reads_ends_by_the_keepalive() {
    // Both ends send only, and nobody receives: neither waits for ever.
    let (mut client, mut server) = pair_with(Config::default());
    let flood = async |ws: &mut WebSocket| while ws.send(vec![0; 10_000]).await.is_ok() {};
    timeout(Duration::from_secs(100), async { tokio::join!(flood(&mut client), flood(&mut server)) })
        .await
        .expect("they wait for ever");
}

#[tokio::test]
async fn the_halves_may_be_sent_to_other_threads() {
    fn is_send<T: Send>(_: &T) {}
    let (ws, _peer) = pair();
    let (sender, mut receiver) = ws.split();
    is_send(&sender);
    is_send(&receiver.recv());
    is_send(&sender.send("x"));
    let client = Client::new();
    is_send(&client.connect("ws://test/"));
}

//! Slow consumers: what each policy lets through to a peer that does not read, and then reads again.

mod support;

use std::time::Duration;

use allocation_counter::measure;
use sockeye::{
    CloseCode, Config, Error, Message, MessageKind, Offered, Prepared, QueueCounters, QueuedSender, Receiver,
    Sender, SlowConsumer, WebSocket,
};
use support::{open, poll_once};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Long enough for anything that is not stuck; in virtual time it costs nothing.
const LONG: Duration = Duration::from_secs(3);

/// What a queued message of three bytes counts.
const SIZE: usize = 160 + 3;

/// A split connection with little room, and its peer, which does not read yet.
async fn narrow() -> (Sender, Receiver, WebSocket) {
    let mut config = Config::default();
    config.max_buffered = 100;
    let (client, server) = tokio::io::duplex(64);
    let (peer, ws) = open(client, server, config).await;
    let (sender, receiver) = ws.split();
    (sender, receiver, peer)
}

/// Offers `m00`, `m01` and so on, and tells what became of each.
fn offer_all(sender: &QueuedSender, count: usize) -> Vec<Offered> {
    (0..count).map(|i| sender.offer(format!("m{i:02}")).unwrap()).collect()
}

/// How many of the first were encoded at once: what the transport and the output hold.
fn sent(fates: &[Offered]) -> usize {
    let sent = fates.iter().take_while(|fate| **fate == Offered::Sent).count();
    assert!((20..40).contains(&sent), "164 bytes hold {sent} frames of 5 bytes");
    assert!(fates[sent..].iter().all(|fate| *fate != Offered::Sent));
    sent
}

fn names(places: impl IntoIterator<Item = usize>) -> Vec<String> {
    places.into_iter().map(|i| format!("m{i:02}")).collect()
}

/// What the peer gets once it reads, while nobody but the receiver is polled.
async fn read(receiver: &mut Receiver, peer: &mut WebSocket, count: usize) -> Vec<String> {
    let mut messages = Vec::new();
    timeout(LONG, async {
        while messages.len() < count {
            tokio::select! {
                message = peer.recv() => messages.push(text(message.unwrap())),
                other = receiver.recv() => panic!("{other:?}"),
            }
        }
        for _ in 0..10 {
            assert!(poll_once(receiver.recv()).await.is_none());
            assert!(poll_once(peer.recv()).await.is_none(), "there are more");
        }
    })
    .await
    .expect("messages are missing");
    messages
}

fn text(message: Option<Message>) -> String {
    message.unwrap().as_text().unwrap().to_owned()
}

/// What became of all, once the queue is empty.
fn assert_counters(sender: &QueuedSender, sent: usize, dropped: usize, coalesced: usize) {
    let counters = sender.counters();
    let expected = (sent as u64, dropped as u64, coalesced as u64, 0, 0);
    let QueueCounters { sent, dropped, coalesced, queued, queued_bytes, .. } = counters;
    assert_eq!((sent, dropped, coalesced, queued, queued_bytes), expected);
}

#[tokio::test(start_paused = true)]
async fn drop_newest_keeps_what_came_first() {
    let (sender, mut receiver, mut peer) = narrow().await;
    let queued = sender.queued(SlowConsumer::DropNewest, 10 * SIZE);
    let fates = offer_all(&queued, 60);
    let sent = sent(&fates);
    assert_eq!(fates[sent..sent + 10], [Offered::Queued; 10]);
    assert!(fates[sent + 10..].iter().all(|fate| *fate == Offered::Dropped));
    let counters = queued.counters();
    assert_eq!((counters.queued, counters.queued_bytes), (10, 10 * SIZE));
    assert_eq!(read(&mut receiver, &mut peer, sent + 10).await, names(0..sent + 10));
    assert_counters(&queued, sent + 10, 50 - sent, 0);
    // And all is as before.
    assert_eq!(queued.offer("m99").unwrap(), Offered::Sent);
    assert_eq!(read(&mut receiver, &mut peer, 1).await, ["m99"]);
}

#[tokio::test(start_paused = true)]
async fn drop_oldest_keeps_what_came_last() {
    let (sender, mut receiver, mut peer) = narrow().await;
    let queued = sender.queued(SlowConsumer::DropOldest, 10 * SIZE);
    let fates = offer_all(&queued, 60);
    let sent = sent(&fates);
    assert!(fates[sent..].iter().all(|fate| *fate == Offered::Queued));
    // What could never fit throws nothing out.
    assert_eq!(queued.offer(vec![0; 10 * SIZE]).unwrap(), Offered::Dropped);
    assert_eq!(read(&mut receiver, &mut peer, sent + 10).await, names((0..sent).chain(50..60)));
    assert_counters(&queued, sent + 10, 51 - sent, 0);
}

#[tokio::test(start_paused = true)]
async fn coalesce_renews_in_place_and_drops_the_oldest() {
    let (sender, mut receiver, mut peer) = narrow().await;
    let queued = sender.queued(SlowConsumer::Coalesce, 4 * (SIZE + 161));
    let fates = offer_all(&queued, 40);
    let sent = sent(&fates);
    let offer = |key: &str, message: &str| queued.offer_keyed(key, message).unwrap();
    // There is room for four with a key: those without are dropped as the oldest.
    assert_eq!(["a", "b", "c"].map(|key| offer(key, &format!("{key}=1"))), [Offered::Queued; 3]);
    assert_eq!(offer("b", "b=2"), Offered::Coalesced);
    assert_eq!(offer("b", "b=3"), Offered::Coalesced);
    assert_eq!(offer("d", "d=1"), Offered::Queued);
    assert_eq!(offer("e", "e=1"), Offered::Queued, "for which a=1 is dropped");
    assert_eq!(offer("a", "a=2"), Offered::Queued, "for which b=3 is dropped");
    // A longer one does not fit in the older one's place: it goes behind, and c=1 with it.
    assert_eq!(offer("c", "c=long"), Offered::Coalesced);
    let mut expected = names(0..sent);
    expected.extend(["e=1", "a=2", "c=long"].map(String::from));
    assert_eq!(read(&mut receiver, &mut peer, sent + 3).await, expected);
    // Without a key: 40 - sent; with one: a=1, b=3 and, for the longer one, d=1.
    assert_counters(&queued, sent + 3, 40 - sent + 3, 3);
}

#[tokio::test(start_paused = true)]
async fn close_tells_the_peer_with_which_code() {
    for code in [CloseCode::POLICY_VIOLATION, CloseCode::TRY_AGAIN_LATER] {
        let (sender, mut receiver, mut peer) = narrow().await;
        let queued = sender.queued(SlowConsumer::Close(code), 10 * SIZE);
        let mut count = 0;
        let error = loop {
            match queued.offer(format!("m{count:02}")) {
                Ok(_) => count += 1,
                Err(error) => break error,
            }
            assert!(count < 60, "there is no bound");
        };
        assert!(matches!(error, Error::Closed), "{error}");
        assert!(matches!(queued.offer("more"), Err(Error::Closed)));
        assert!(matches!(sender.send("more").await, Err(Error::Closed)));
        let receiving = tokio::spawn(async move { receiver.recv().await });
        let mut messages = Vec::new();
        while let Some(message) = timeout(LONG, peer.recv()).await.expect("stuck").unwrap() {
            messages.push(text(Some(message)));
        }
        // What was encoded still comes; what was queued does not.
        assert_eq!(messages, names(0..count - 10));
        let info = peer.close_info().unwrap();
        assert!(info.clean && info.code == code && info.reason == *"the peer reads too slowly", "{info:?}");
        assert_eq!(receiving.await.unwrap().unwrap(), None);
        assert_counters(&queued, count - 10, 11, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_code_that_may_not_be_sent_is_misuse() {
    let (sender, _receiver, _peer) = narrow().await;
    let queued = sender.queued(SlowConsumer::Close(CloseCode::NO_STATUS_RECEIVED), 0);
    let error = (0..60).find_map(|_| queued.offer("m00").err()).unwrap();
    assert!(matches!(error, Error::Misuse(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn clones_share_the_queue_and_keep_their_order() {
    let (sender, mut receiver, mut peer) = narrow().await;
    let queued = sender.queued(SlowConsumer::DropOldest, 30 * SIZE);
    let mut offering = JoinSet::new();
    for task in 0..4 {
        let queued = queued.clone();
        offering.spawn(async move {
            for i in 0..100 {
                queued.offer(format!("{task}:{i:02}")).unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    offering.join_all().await;
    let counters = queued.counters();
    let waiting = usize::try_from(counters.sent).unwrap() + counters.queued;
    assert_eq!(waiting as u64 + counters.dropped, 400);
    let messages = read(&mut receiver, &mut peer, waiting).await;
    let mut last = [None; 4];
    for message in &messages {
        let (task, i) = message.split_once(':').unwrap();
        let (task, i): (usize, u32) = (task.parse().unwrap(), i.parse().unwrap());
        assert!(last[task] < Some(i), "{messages:?}");
        last[task] = Some(i);
    }
    assert_eq!(last, [Some(99); 4], "the newest of each is kept");
    assert_eq!(queued.counters().sent, waiting as u64);
}

#[tokio::test(start_paused = true)]
async fn send_and_flush_wait_behind_the_queue() {
    let (sender, mut receiver, mut peer) = narrow().await;
    let queued = sender.queued(SlowConsumer::DropNewest, 100 * SIZE);
    offer_all(&queued, 60);
    assert!(queued.counters().queued > 0);
    assert!(matches!(sender.try_send("no"), Err(sockeye::TrySendError::Full(_))));
    let sending = tokio::spawn(async move {
        sender.send("m60").await?;
        sender.flush().await
    });
    assert!(poll_once(receiver.recv()).await.is_none());
    tokio::task::yield_now().await;
    assert!(!sending.is_finished());
    assert_eq!(read(&mut receiver, &mut peer, 61).await, names(0..61));
    sending.await.unwrap().unwrap();
    assert_counters(&queued, 60, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn when_the_receiver_is_dropped_a_sender_moves_the_queue() {
    let (sender, receiver, mut peer) = narrow().await;
    drop(receiver);
    let queued = sender.queued(SlowConsumer::DropNewest, 100 * SIZE);
    offer_all(&queued, 60);
    let flushing = tokio::spawn(async move { sender.flush().await });
    for expected in names(0..60) {
        assert_eq!(text(timeout(LONG, peer.recv()).await.expect("stuck").unwrap()), expected);
    }
    flushing.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_at_the_close_is_dropped_and_counted() {
    let (sender, mut receiver, mut peer) = narrow().await;
    let queued = sender.queued(SlowConsumer::DropNewest, 10 * SIZE);
    let sent = sent(&offer_all(&queued, 60));
    sender.start_close(1000, "").unwrap();
    let receiving = tokio::spawn(async move { receiver.recv().await });
    let mut count = 0;
    while timeout(LONG, peer.recv()).await.expect("stuck").unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, sent);
    assert_eq!(receiving.await.unwrap().unwrap(), None);
    assert_counters(&queued, sent, 60 - sent, 0);
}

#[tokio::test(start_paused = true)]
async fn prepared_messages_are_offered_too() {
    let (sender, mut receiver, mut peer) = narrow().await;
    let queued = sender.queued(SlowConsumer::Coalesce, 10 << 10);
    let sent = sent(&offer_all(&queued, 60));
    assert_eq!(queued.offer_prepared_keyed("key", &Prepared::new("one")).unwrap(), Offered::Queued);
    assert_eq!(queued.offer_prepared_keyed("key", &Prepared::new("two")).unwrap(), Offered::Coalesced);
    assert_eq!(queued.offer_prepared(&Prepared::new("end")).unwrap(), Offered::Queued);
    let messages = read(&mut receiver, &mut peer, 62).await;
    assert_eq!(messages[60..], ["two", "end"]);
    assert_counters(&queued, 62, 0, 1);
    assert!(sent < 60);
}

#[tokio::test(start_paused = true)]
async fn offers_queue_behind_a_message_in_parts() {
    let (sender, mut receiver, mut peer) = narrow().await;
    let queued = sender.queued(SlowConsumer::DropNewest, 10 * SIZE);
    let mut message = sender.start_message(MessageKind::Text).await.unwrap();
    assert_eq!(queued.offer("m00").unwrap(), Offered::Queued);
    message.send_part("in ").await.unwrap();
    assert_eq!(queued.offer("m01").unwrap(), Offered::Queued);
    assert!(poll_once(receiver.recv()).await.is_none());
    assert!(poll_once(sender.flush()).await.is_none(), "it waits for the end of the message");
    message.send_part("parts").await.unwrap();
    message.finish().unwrap();
    assert_eq!(read(&mut receiver, &mut peer, 3).await, ["in parts", "m00", "m01"]);
    assert_counters(&queued, 2, 0, 0);
}

#[test]
fn the_queue_holds_no_more_than_its_bound_and_nothing_once_it_is_empty() {
    const BOUND: usize = 256 << 10;
    for (policy, length, keyed) in [
        (SlowConsumer::DropOldest, 20, false),
        (SlowConsumer::Coalesce, 20, true),
        (SlowConsumer::DropNewest, 5000, false),
    ] {
        let run = |offers: usize| {
            let test = async move {
                let (sender, receiver, peer) = narrow().await;
                let queued = sender.queued(policy, BOUND);
                // Each is a slice of a big block, which must not be kept for it.
                for i in 0..offers {
                    let block = sockeye::Bytes::from(vec![0; 64 << 10]);
                    let message = block.slice(..length);
                    let key = if keyed { i.to_string() } else { String::new() };
                    let _ = queued.offer_keyed(key, message).unwrap();
                }
                std::hint::black_box((receiver, peer));
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut test = Some(test);
            measure(|| test.take().into_iter().for_each(|test| runtime.block_on(test))).bytes_max
        };
        run(1);
        let (few, many) = (run(10), run(10_000));
        let held = many - few;
        let most = (BOUND + BOUND / 4) as u64;
        assert!(held <= most, "{policy:?} of {length} bytes: {held} bytes for a queue of {BOUND}");
        assert!(held > BOUND as u64 / 3, "it is used: {held}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_holds_up_nobody_else() {
    let (sender, _receiver, _peer) = narrow().await;
    let (other_sender, mut other_receiver, mut other_peer) = narrow().await;
    let slow = sender.queued(SlowConsumer::DropOldest, 10 * SIZE);
    let quick = other_sender.queued(SlowConsumer::DropOldest, 10 * SIZE);
    for i in 0..1000 {
        let message = Prepared::new(format!("{i}"));
        slow.offer_prepared(&message).unwrap();
        assert_eq!(quick.offer_prepared(&message).unwrap(), Offered::Sent);
        assert_eq!(read(&mut other_receiver, &mut other_peer, 1).await, [i.to_string()]);
    }
    assert!(slow.counters().dropped > 900);
}

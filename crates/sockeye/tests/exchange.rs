//! Messages, pings and closes between the two ends.

mod support;

use futures_util::{SinkExt, StreamExt};
use sockeye::{ApiMisuse, Config, Error, Event, Message, ProtocolError, Side, pair, pair_with};

#[tokio::test]
async fn messages_go_both_ways_at_any_time() {
    let (mut client, mut server) = pair();
    client.send("to the server").await.unwrap();
    server.send(b"to the client").await.unwrap();
    client.send(vec![7; 3]).await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some("to the server".into()));
    assert_eq!(server.recv().await.unwrap(), Some(vec![7; 3].into()));
    assert_eq!(client.recv().await.unwrap(), Some(b"to the client".into()));
}

#[tokio::test]
async fn big_messages_pass_in_one_frame_and_in_many() {
    let payload: Vec<u8> = (0..251).cycle().take(4 << 20).collect();
    for fragment_size in [None, Some(1000)] {
        let mut config = Config::default();
        config.fragment_size = fragment_size;
        let (mut client, mut server) = pair_with(config);
        let sent = Message::from(payload.clone());
        let echo = tokio::spawn(async move {
            while let Some(message) = server.recv().await.unwrap() {
                server.send(message).await.unwrap();
            }
        });
        client.send(sent.clone()).await.unwrap();
        assert!(client.recv().await.unwrap() == Some(sent), "fragments of {fragment_size:?}");
        client.close(1000, "").await.unwrap();
        echo.await.unwrap();
    }
}

#[tokio::test]
async fn it_is_a_stream_and_a_sink() {
    let (mut client, server) = pair();
    let echo = tokio::spawn(async move {
        let (sink, stream) = StreamExt::split(server);
        stream.forward(sink).await
    });
    for i in 0..100 {
        client.feed(Message::from(i.to_string())).await.unwrap();
    }
    SinkExt::flush(&mut client).await.unwrap();
    for i in 0..100 {
        let message = client.next().await.unwrap().unwrap();
        assert_eq!(message.as_text(), Some(i.to_string().as_str()));
    }
    SinkExt::close(&mut client).await.unwrap();
    assert!(client.next().await.is_none());
    echo.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_ping_is_answered_while_both_ends_receive() {
    let (mut client, mut server) = pair();
    let ping = client.ping();
    let answered = tokio::spawn(ping);
    let server = tokio::spawn(async move {
        let first = server.recv_event().await.unwrap();
        server.recv().await.unwrap();
        first
    });
    assert!(matches!(client.recv_event().await.unwrap(), Some(Event::Pong(_))));
    answered.await.unwrap().unwrap();
    client.close(1000, "").await.unwrap();
    assert!(matches!(server.await.unwrap(), Some(Event::Ping(_))));
}

#[tokio::test]
async fn a_ping_that_cannot_be_answered_fails() {
    let (mut client, server) = pair();
    let ping = client.ping();
    drop(server);
    assert!(client.recv().await.is_err());
    assert!(matches!(ping.await, Err(Error::Closed)));
    assert!(matches!(client.ping().await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_close_is_not_an_error_and_says_who_began() {
    let (mut client, mut server) = pair();
    let closing = tokio::spawn(async move { client.close(4001, "enough").await });
    assert_eq!(server.recv().await.unwrap(), None);
    assert_eq!(server.recv().await.unwrap(), None, "and for ever");
    let info = server.close_info().unwrap();
    assert_eq!((info.initiator, info.clean), (Side::Peer, true));
    assert!(info.code == 4001 && info.reason == "enough");
    let info = closing.await.unwrap().unwrap();
    assert_eq!((info.initiator, info.clean), (Side::Local, true));
    assert!(matches!(server.send("late").await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_close_may_have_no_code() {
    let (mut client, mut server) = pair();
    client.start_close_without_code().unwrap();
    assert!(matches!(client.start_close_without_code(), Err(Error::Closed)));
    let server = tokio::spawn(async move {
        let event = server.recv_event().await.unwrap();
        assert!(server.recv().await.unwrap().is_none());
        (event, server.close_info().unwrap().clone())
    });
    assert_eq!(client.recv_event().await.unwrap(), Some(Event::Close(None)));
    assert_eq!(client.recv().await.unwrap(), None);
    let (event, info) = server.await.unwrap();
    assert_eq!(event, Some(Event::Close(None)));
    assert!(info.code == 1005 && info.clean && info.initiator == Side::Peer);
}

#[tokio::test]
async fn messages_are_delivered_after_our_close_until_the_peers() {
    let (mut client, mut server) = pair();
    server.send("before").await.unwrap();
    client.start_close(1000, "").unwrap();
    assert!(matches!(client.send("late").await, Err(Error::Closed)));
    assert!(matches!(client.start_close(1000, ""), Err(Error::Closed)));
    client.flush().await.unwrap();
    server.send("after").await.unwrap();
    let server = tokio::spawn(async move { server.recv().await.unwrap() });
    assert_eq!(client.recv().await.unwrap(), Some("before".into()));
    assert_eq!(client.recv().await.unwrap(), Some("after".into()));
    assert_eq!(client.recv().await.unwrap(), None);
    assert_eq!(server.await.unwrap(), None);
}

#[tokio::test]
async fn both_may_close_at_once() {
    let (mut client, mut server) = pair();
    let (client, server) = tokio::join!(client.close(1000, "c"), server.close(1001, "s"));
    let (client, server) = (client.unwrap(), server.unwrap());
    assert!(client.clean && server.clean);
    assert_eq!((client.initiator, server.initiator), (Side::Local, Side::Local));
    assert!(client.reason == "s" && server.reason == "c");
}

#[tokio::test]
async fn a_bad_close_is_refused_and_nothing_is_sent() {
    let (mut client, mut server) = pair();
    let cases = [(1005, String::new()), (1006, String::new()), (999, String::new()), (1000, "x".repeat(124))];
    for (code, reason) in cases {
        let error = client.close(code, reason).await.unwrap_err();
        assert!(matches!(error, Error::Misuse(ApiMisuse::CloseCode(_) | ApiMisuse::CloseReasonTooLong(124))));
    }
    client.send("still open").await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some("still open".into()));
}

#[tokio::test]
async fn a_dropped_peer_is_an_error_once() {
    let (mut client, mut server) = pair();
    server.send("last words").await.unwrap();
    drop(server);
    assert_eq!(client.recv().await.unwrap(), Some("last words".into()));
    let Err(Error::Io(error)) = client.recv().await else { panic!("the end is not clean") };
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(client.recv().await.unwrap(), None);
    let info = client.close_info().unwrap();
    assert!(info.code == 1006 && !info.clean && info.initiator == Side::Peer);
    assert!(client.send("late").await.is_err());
}

#[tokio::test]
async fn a_limit_broken_is_told_to_both_ends_after_what_came_before() {
    let mut config = Config::default();
    config.max_message_size = 1000;
    let (mut client, mut server) = pair_with(config);
    client.send(vec![0; 1000]).await.unwrap();
    client.send(vec![0; 1001]).await.unwrap();
    let server = tokio::spawn(async move {
        assert!(server.recv().await.unwrap().is_some());
        server.recv().await.unwrap_err()
    });
    assert_eq!(client.recv().await.unwrap(), None);
    assert!(client.close_info().unwrap().code == 1009);
    let error = server.await.unwrap();
    assert!(matches!(error, Error::Protocol(ProtocolError::MessageTooBig { limit: 1000 })), "{error}");
}

#[tokio::test]
async fn two_peers_that_both_send_before_they_receive_do_not_wait_for_each_other() {
    let (mut client, mut server) = pair();
    // More than the transport and one send queue hold, so that each `send` has to wait for the other end.
    let talk = async |ws: &mut sockeye::WebSocket| {
        for _ in 0..12 {
            ws.send(vec![1; 16 << 10]).await.unwrap();
        }
        for _ in 0..12 {
            assert!(ws.recv().await.unwrap().is_some());
        }
        ws.flush().await.unwrap();
    };
    tokio::join!(talk(&mut client), talk(&mut server));
}

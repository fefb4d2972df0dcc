//! The examples do what they say.

mod support;

#[allow(dead_code, reason = "its main is not called")]
#[path = "../examples/game.rs"]
mod game;

#[allow(dead_code, reason = "its main is not called")]
#[path = "../examples/lamp.rs"]
mod lamp;

#[allow(dead_code, reason = "its main is not called")]
#[path = "../examples/tutorial.rs"]
mod tutorial;

use std::time::{Duration, Instant};

use support::{CLOSE, TEXT, close_payload, echo, frame, opened, soon};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

#[tokio::test]
async fn the_game_sends_an_update_every_50_ms() {
    let server = opened(echo).await;
    let start = Instant::now();
    assert_eq!(soon(game::play(&server.url, 5)).await, Ok(5));
    assert!(start.elapsed() >= Duration::from_millis(200), "the first at once, then 4 more");
    server.end().await;
}

#[tokio::test]
async fn the_game_ends_if_it_cannot_begin() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(soon(game::play(&url, 5)).await, Ok(0));
}

#[tokio::test]
async fn the_lamp_is_turned_on_and_off() {
    let server = opened(async |mut stream| {
        for text in ["on", "off", "flicker", "on"] {
            stream.write_all(&frame(TEXT, text.as_bytes())).await.unwrap();
        }
        stream.write_all(&frame(CLOSE, &close_payload(1000, ""))).await.unwrap();
    })
    .await;
    assert_eq!(soon(lamp::follow(&server.url)).await, Ok(vec![true, false, true]));
    server.end().await;
}

#[tokio::test]
async fn the_tutorial_says_hello() {
    let server = opened(echo).await;
    let lines = soon(tutorial::hello(&server.url)).await.unwrap();
    let expected =
        ["Connected to the server", "Message from server Hello Server!", "Closed: 1000 \"work complete\""];
    assert_eq!(lines, expected);
    server.end().await;
    let lines = soon(tutorial::hello("ws://127.0.0.1:1/")).await.unwrap();
    assert_eq!(lines, ["WebSocket error", "Closed: 1006 \"\""]);
}

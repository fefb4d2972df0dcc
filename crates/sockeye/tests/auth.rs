//! The example `auth`: who is let in, and what the others are told.

#[allow(dead_code, reason = "it is a program, too")]
#[path = "../examples/auth.rs"]
mod auth;
mod support;

use std::sync::Arc;

use auth::{Users, handle};
use sockeye::{Client, Refusal, StatusCode, WebSocket, header};
use support::serve;

async fn let_in(client: &Client, url: &str) -> WebSocket {
    let mut ws = client.connect(url).await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("Hello, ada"));
    ws
}

async fn refused(client: &Client, url: &str) -> Refusal {
    client.connect(url).await.unwrap_err().refusal().unwrap().clone()
}

#[tokio::test]
async fn each_way_of_saying_who_one_is() {
    let users = Arc::new(Users::new());
    let server = serve(|server| server, move |incoming| handle(incoming, users.clone())).await;
    let url = server.url();

    let unknown = Client::new();
    let refusal = refused(&unknown, &url).await;
    assert_eq!(refusal.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refusal.headers[header::WWW_AUTHENTICATE], "Bearer realm=\"echo\"");
    assert_eq!(refusal.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(&refusal.body[..], br#"{"error": "who are you?"}"#);

    let ticket = format!("{url}?x=1&ticket=once");
    let first = let_in(&unknown, &ticket).await;
    assert_eq!(refused(&unknown, &ticket).await.status, StatusCode::UNAUTHORIZED, "it is good once");
    let by_token = Client::new().bearer_auth("token").unwrap();
    let second = let_in(&by_token, &url).await;
    let by_cookie = Client::new().cookie("theme", "dark").unwrap().cookie("session", "cookie").unwrap();
    assert_eq!(refused(&by_cookie, &url).await.status, StatusCode::TOO_MANY_REQUESTS);
    drop(first);
    // Until the server has seen that.
    let third = loop {
        match by_cookie.connect(&url).await {
            Ok(ws) => break ws,
            Err(error) => assert_eq!(error.refusal().unwrap().status, StatusCode::TOO_MANY_REQUESTS),
        }
    };
    for client in [Client::new().bearer_auth("Token"), Client::new().cookie("session", "token")] {
        assert_eq!(refused(&client.unwrap(), &url).await.status, StatusCode::UNAUTHORIZED);
    }
    drop((second, third));
    server.stop().await;
}

//! What is told about connections to whoever collects spans and events.
#![cfg(feature = "tracing")]

mod support;

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use sockeye::{Client, HeaderValue, Incoming, connect};
use support::serve;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps all that it is told of this crate, a line each.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Lines {
    fn add(&self, what: &str, record: impl FnOnce(&mut dyn Visit)) {
        let mut lines = self.0.lock().unwrap();
        lines.push_str(what);
        record(&mut Fields(&mut lines));
        lines.push('\n');
    }

    fn has(&self, part: &str) -> bool {
        self.0.lock().unwrap().contains(part)
    }

    fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sockeye::trace") || metadata.target() == "handler"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.add("span", |visit| span.record(visit));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        self.add("record", |visit| values.record(visit));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.add("event", |visit| event.record(visit));
    }

    fn enter(&self, _: &Id) {
        self.add("enter", |_| {});
    }

    fn exit(&self, _: &Id) {
        self.add("exit", |_| {});
    }
}

#[tokio::test]
async fn a_connection_has_a_span_and_no_secret_is_in_it() {
    let lines = Lines::default();
    let guard = tracing::subscriber::set_default(lines.clone());
    let server = serve(
        |server| server,
        |incoming: Incoming| async move {
            if incoming.path() == "/no" {
                return incoming.reject(sockeye::StatusCode::FORBIDDEN, "").await;
            }
            let mut ws = incoming.accept_subprotocol(&["chat"]).await?;
            while ws.recv().await?.is_some() {
                tracing::info!(target: "handler", "a message");
            }
            Ok(())
        },
    )
    .await;
    let url = format!("{}room?token=secret1&secret2&x=secret3", server.url());
    let client = Client::new().subprotocol("chat").bearer_auth("secret4").unwrap();
    let client = client.cookie("session", "secret5").unwrap();
    let mut ws = client.connect(&url).await.unwrap();
    ws.send("secret6").await.unwrap();
    assert!(ws.close(1000, "good \u{1b}[31m bye").await.unwrap().clean);
    let foreign = Client::new().origin(HeaderValue::from_static("https://evil.example"));
    assert!(foreign.connect(&server.url()).await.is_err());
    assert!(connect(&format!("{}no", server.url())).await.is_err());
    drop(connect(&server.url()).await.unwrap());
    for _ in 0..2000 {
        if lines.has("event message=failed") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    server.stop().await;
    drop(guard);

    let told = lines.take();
    let plain: Vec<_> = told.lines().filter(|line| !["enter", "exit"].contains(line)).collect();
    assert!(plain[0].starts_with("span peer=127.0.0.1:"), "{told}");
    assert!(plain[0].ends_with(r#" path="/room?token=***&***&x=***""#), "{told}");
    assert_eq!(plain[1], r#"record subprotocol="chat""#);
    assert_eq!(plain[2..4], ["event message=accepted", "event message=a message"]);
    let closed = r#"event message=closed code=1000 initiator="peer" clean=true reason="good \u{1b}[31m bye""#;
    assert_eq!(plain[4], closed);
    for part in
        [r#" reason="origin""#, r#" reason="rejected""#, "event message=failed error=the connection was lost"]
    {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(!told.contains("secret"), "{told}");
    let handled = told.split("event message=a message").next().unwrap();
    assert!(
        handled.matches("enter").count() > handled.matches("exit").count(),
        "the handler runs in the span"
    );
}

#[tokio::test]
async fn the_client_is_told_beside_the_proxy() {
    let lines = Lines::default();
    let guard = tracing::subscriber::set_default(lines.clone());
    let ours = sockeye::Networks::new(["127.0.0.1"]).unwrap();
    let forwarded = |server: sockeye::Server| server.forwarded(sockeye::ForwardedBy::XForwardedFor, ours);
    let server =
        serve(forwarded, |incoming: Incoming| async move { incoming.accept().await.map(drop) }).await;
    let client =
        |address| Client::new().header("x-forwarded-for".parse().unwrap(), HeaderValue::from_static(address));
    drop(client("192.0.2.7").connect(&server.url()).await.unwrap());
    let foreign = client("192.0.2.8:99").origin(HeaderValue::from_static("https://evil.example"));
    assert!(foreign.connect(&server.url()).await.is_err());
    drop(connect(&server.url()).await.unwrap());
    server.stop().await;
    drop(guard);
    let told = lines.take();
    let spans: Vec<_> = told.lines().filter(|line| line.starts_with("span ")).collect();
    assert!(spans[0].contains(" client=192.0.2.7:0 ") && spans[0].contains(" peer=127.0.0.1:"), "{told}");
    assert!(!spans[2].contains("client="), "it is the peer: {told}");
    let refused = told.lines().find(|line| line.contains("refused")).unwrap();
    assert!(refused.contains(" peer=127.0.0.1:"), "{refused}");
    assert!(refused.contains(" client=192.0.2.8:99 reason=\"origin\""), "{refused}");
}

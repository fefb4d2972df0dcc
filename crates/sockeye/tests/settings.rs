//! What can be changed of a server while it runs.

mod support;

use std::time::Duration;

use sockeye::{
    Client, CloseCode, Control, Error, ForwardedBy, HeaderValue, Incoming, Message, Networks, Origins,
    Server, Settings, StatusCode, WebSocket, connect,
};
use support::{Running, echo, serve};

async fn serve_with_control<H, F>(set_up: impl FnOnce(Server) -> Server, handler: H) -> (Running, Control)
where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let mut control = None;
    let server = serve(
        |server| {
            let server = set_up(server);
            control = Some(server.control());
            server
        },
        handler,
    );
    (server.await, control.unwrap())
}

fn status(result: Result<WebSocket, Error>) -> StatusCode {
    let error = result.unwrap_err();
    error.refusal().unwrap_or_else(|| panic!("not refused: {error}")).status
}

async fn exchange(ws: &mut WebSocket, length: usize) -> Result<Option<Message>, Error> {
    ws.send(vec![0; length]).await?;
    ws.recv().await
}

#[tokio::test]
async fn limits_of_connections_hold_for_those_who_come_from_then_on() {
    let (server, control) = serve_with_control(|server| server, echo).await;
    let mut first = connect(&server.url()).await.unwrap();
    let second = connect(&server.url()).await.unwrap();

    control.change(|settings| settings.max_connections = Some(1));
    assert_eq!(status(connect(&server.url()).await), StatusCode::SERVICE_UNAVAILABLE);
    assert!(exchange(&mut first, 1).await.unwrap().is_some(), "nobody is closed");
    drop(second);
    while control.connections().open() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(connect(&server.url()).await), StatusCode::SERVICE_UNAVAILABLE);

    control
        .change(|settings| (settings.max_connections, settings.max_connections_per_addr) = (None, Some(1)));
    let third = connect(&server.url()).await.unwrap();
    assert_eq!(status(connect(&server.url()).await), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((control.connections().refused(), control.connections().refused_per_addr()), (2, 1));
    control.change(|settings| settings.max_connections_per_addr = Some(2));
    let fourth = connect(&server.url()).await.unwrap();
    drop((first, third, fourth));
    while control.connections().open() > 0 {
        tokio::task::yield_now().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_connection_keeps_the_limits_that_it_came_under() {
    let (server, control) = serve_with_control(|server| server, echo).await;
    let mut before = connect(&server.url()).await.unwrap();
    control.change(|settings| settings.config.max_message_size = 100);
    let mut after = connect(&server.url()).await.unwrap();
    assert!(exchange(&mut before, 101).await.unwrap().is_some());
    assert!(exchange(&mut after, 100).await.unwrap().is_some());
    assert_eq!(exchange(&mut after, 101).await.unwrap(), None);
    assert_eq!(after.close_info().unwrap().code, 1009);
    drop(before);
    server.stop().await;
}

#[tokio::test]
async fn origins_and_proxies_can_be_changed() {
    let tell = |incoming: Incoming| async move {
        let client = incoming.client_addr().unwrap().ip().to_string();
        incoming.accept().await?.send(client).await
    };
    let (server, control) =
        serve_with_control(|server| server.allow_origin("https://*.example.com").allow_origin("null"), tell)
            .await;
    let page = |origin| Client::new().origin(HeaderValue::from_static(origin));
    let near = || page("https://a.example.com");
    let far = || page("http://localhost:3000");
    assert!(near().connect(&server.url()).await.is_ok());
    assert!(page("null").connect(&server.url()).await.is_ok());
    assert_eq!(status(far().connect(&server.url()).await), StatusCode::FORBIDDEN);
    control.change(|settings| settings.origins = Origins::new(["http://localhost:*"]).unwrap());
    assert_eq!(status(near().connect(&server.url()).await), StatusCode::FORBIDDEN);
    assert!(far().connect(&server.url()).await.is_ok());

    let forwarded =
        Client::new().header("x-forwarded-for".parse().unwrap(), HeaderValue::from_static("192.0.2.1"));
    let told = async || {
        let mut ws = forwarded.connect(&server.url()).await.unwrap();
        ws.recv().await.unwrap().unwrap().as_text().unwrap().to_owned()
    };
    assert_eq!(told().await, "127.0.0.1");
    let ours = Networks::new(["127.0.0.0/8"]).unwrap();
    control.change(|settings| settings.forwarded = Some((ForwardedBy::XForwardedFor, ours)));
    assert_eq!(told().await, "192.0.2.1");
    server.stop().await;
}

#[tokio::test]
async fn it_goes_down_by_the_settings_in_force_then() {
    let (server, control) = serve_with_control(|server| server, echo).await;
    let mut ws = connect(&server.url()).await.unwrap();
    assert!(exchange(&mut ws, 1).await.unwrap().is_some());
    control.change(|settings| {
        settings.drain.code = 4321.into();
        // Nothing that overflows.
        settings.config.close_timeout = Some(Duration::MAX);
    });
    let stopping = tokio::spawn(server.stop());
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.close_info().unwrap().code, 4321);
    assert_eq!(stopping.await.unwrap().clean, 1);

    let (server, control) = serve_with_control(|server| server, echo).await;
    let mut ws = connect(&server.url()).await.unwrap();
    assert!(exchange(&mut ws, 1).await.unwrap().is_some());
    control.change(|settings| settings.drain.code = CloseCode::ABNORMAL_CLOSURE);
    control.shut_down();
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.close_info().unwrap().code, CloseCode::GOING_AWAY, "in place of one that may not be sent");
    assert_eq!(server.stop().await.clean, 1);
}

#[tokio::test]
async fn what_was_set_is_what_is_told() {
    let mut settings = Settings::default();
    settings.config.max_message_size = 1;
    settings.origins = Origins::new(["https://app.example"]).unwrap();
    settings.proxy_protocol = Some(Networks::new(["unix"]).unwrap());
    settings.forwarded = Some((ForwardedBy::Forwarded, Networks::new(["::1"]).unwrap()));
    (settings.max_connections, settings.max_connections_per_addr) = (Some(2), Some(3));
    settings.max_opening = Some(4);
    settings.drain.over = Duration::from_secs(4);
    let server = Server::bind("127.0.0.1:0").await.unwrap().settings(settings.clone());
    let worker = server.worker().unwrap();
    assert_eq!(format!("{:?}", worker.control().settings()), format!("{settings:?}"));
    let server = server.max_connections(5).allow_origin("null");
    settings.max_connections = Some(5);
    settings.origins = Origins::new(["https://app.example", "null"]).unwrap();
    assert_eq!(format!("{:?}", worker.control().settings()), format!("{settings:?}"), "it is the same");
    assert!(format!("{:?}", server.control()).contains("max_connections: Some(5)"));
}

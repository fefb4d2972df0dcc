//! A client's opening: what it says of itself, redirects, deadlines of the phases, and how long they took.

mod support;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use sockeye::{
    Answer, Client, Config, Error, HeaderMap, HeaderValue, OpenCause, OpenError, Phase, RedirectError,
    Server, StatusCode, connect, header,
};
use support::{Running, echo, serve};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpListener;

const SECOND: Duration = Duration::from_secs(1);

fn open_error(error: Error) -> Box<OpenError> {
    let Error::Open(error) = error else { panic!("{error}") };
    error
}

/// A server that notes the requests' header fields and accepts.
async fn noting() -> (Running, Arc<Mutex<Vec<HeaderMap>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let server = serve(Server::allow_any_origin, move |incoming| {
        noted.lock().unwrap().push(incoming.headers().clone());
        async move { incoming.accept().await.map(drop) }
    })
    .await;
    (server, seen)
}

/// A server that redirects to `location`.
async fn redirecting(status: u16, location: &str) -> Running {
    let location = HeaderValue::from_str(location).unwrap();
    serve(
        |server| server,
        move |incoming| {
            let headers = HeaderMap::from_iter([(header::LOCATION, location.clone())]);
            async move { incoming.reject_with(StatusCode::from_u16(status).unwrap(), &headers, b"").await }
        },
    )
    .await
}

#[tokio::test]
async fn who_it_is_is_said_in_authorization() {
    let (server, seen) = noting().await;
    let url = server.url();
    let with_user = url.replace("ws://", "ws://A%6caddin:open%20sesame@");
    let clients = [
        (Client::new().basic_auth("Aladdin", "open sesame"), &url, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        (Client::new().basic_auth("test", "123\u{a3}"), &url, "Basic dGVzdDoxMjPCow=="),
        (Client::new().bearer_auth("mF_9.B5f-4.1JqM").unwrap(), &url, "Bearer mF_9.B5f-4.1JqM"),
        (Client::new(), &with_user, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        (Client::new().basic_auth("not", "this"), &with_user, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
    ];
    for (client, url, expected) in clients {
        client.connect(url).await.unwrap();
        let headers = seen.lock().unwrap().pop().unwrap();
        let values: Vec<_> = headers.get_all(header::AUTHORIZATION).iter().collect();
        assert_eq!(values, [expected]);
        assert!(!headers[header::HOST].to_str().unwrap().contains('@'));
        assert!(!format!("{client:?}").contains(expected), "a secret is shown: {client:?}");
    }
    assert!(Client::new().bearer_auth("a\r\nb: c").is_err());
    server.stop().await;
}

#[tokio::test]
async fn cookies_are_one_field_and_those_set_are_shown() {
    let set = HeaderMap::from_iter([
        (header::SET_COOKIE, HeaderValue::from_static("a=1")),
        (header::SET_COOKIE, HeaderValue::from_static("b=2; Secure")),
    ]);
    let seen = Arc::new(Mutex::new(None));
    let noted = seen.clone();
    let server = serve(
        |server| server,
        move |incoming| {
            *noted.lock().unwrap() = Some(incoming.headers().clone());
            let answer = Answer { headers: set.clone(), ..Answer::default() };
            async move { incoming.accept_with(answer).await.map(drop) }
        },
    )
    .await;
    let client = Client::new().cookie("theme", "dark").unwrap().cookie("id", "7").unwrap();
    let ws = client.connect(&server.url()).await.unwrap();
    let headers = seen.lock().unwrap().take().unwrap();
    let cookies: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
    assert_eq!(cookies, ["theme=dark; id=7"]);
    let set: Vec<_> = ws.handshake().unwrap().headers.get_all(header::SET_COOKIE).iter().collect();
    assert_eq!(set, ["a=1", "b=2; Secure"]);
    assert!(!format!("{client:?}").contains("dark"), "a secret is shown: {client:?}");
    assert!(client.cookie("a", "b\n").is_err());
    server.stop().await;
}

#[tokio::test]
async fn redirects_are_followed_only_where_asked_for() {
    let end = serve(|server| server, echo).await;
    for (status, scheme) in [(301, "ws"), (302, "http"), (303, "ws"), (307, "http"), (308, "ws")] {
        let location = end.url().replace("ws:", &format!("{scheme}:")) + "there?a=b#c";
        let first = redirecting(status, &location).await;
        let error = connect(&first.url()).await.unwrap_err();
        assert_eq!(error.refusal().unwrap().status, status, "{error}");

        let ws = Client::new().redirects(1).connect(&first.url()).await.unwrap();
        assert_eq!(ws.handshake().unwrap().resource_name, "/there?a=b");
        drop(ws);
        first.stop().await;
    }
    end.stop().await;
}

#[tokio::test]
async fn redirects_that_are_not_followed_say_why() {
    let error_of = async |status, location: &str| {
        let server = redirecting(status, location).await;
        let error = Client::new().redirects(3).connect(&server.url()).await.unwrap_err();
        server.stop().await;
        assert_eq!(error.refusal().unwrap().status, status);
        assert!(!error.is_temporary());
        match open_error(error).cause {
            OpenCause::Redirect { why, .. } => why,
            other => panic!("{other}"),
        }
    };
    assert_eq!(error_of(302, "/again").await, RedirectError::TooMany(3));
    assert!(matches!(error_of(301, "ftp://b.example/").await, RedirectError::Url { .. }));
    assert!(matches!(error_of(308, "ws://").await, RedirectError::Url { .. }));

    let server = serve(|server| server, |incoming| incoming.reject(StatusCode::FOUND, "")).await;
    let error = Client::new().redirects(3).connect(&server.url()).await.unwrap_err();
    let cause = open_error(error).cause;
    assert!(matches!(cause, OpenCause::Redirect { why: RedirectError::NoLocation, .. }), "{cause}");
    server.stop().await;
}

#[tokio::test]
async fn credentials_stay_behind_when_another_origin_is_redirected_to() {
    let (end, seen) = noting().await;
    let client = Client::new()
        .redirects(1)
        .basic_auth("a", "b")
        .cookie("c", "d")
        .unwrap()
        .header(header::HOST, HeaderValue::from_static("front.example"))
        .header(header::ACCEPT_LANGUAGE, HeaderValue::from_static("la"));
    let first = redirecting(302, &end.url()).await;
    client.connect(&first.url()).await.unwrap();
    let headers = seen.lock().unwrap().pop().unwrap();
    assert!(!headers.contains_key(header::AUTHORIZATION) && !headers.contains_key(header::COOKIE));
    assert_ne!(headers[header::HOST], "front.example");
    assert_eq!(headers[header::ACCEPT_LANGUAGE], "la");
    first.stop().await;

    // The same origin gets them: here a server that redirects within itself.
    let seen = Arc::new(Mutex::new(None));
    let noted = seen.clone();
    let server = serve(
        |server| server,
        move |incoming| {
            *noted.lock().unwrap() = Some(incoming.headers().clone());
            async move {
                if incoming.path() == "/there" {
                    return incoming.accept().await.map(drop);
                }
                let headers = HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static("there"))]);
                incoming.reject_with(StatusCode::FOUND, &headers, b"").await
            }
        },
    )
    .await;
    client.connect(&server.url()).await.unwrap();
    let headers = seen.lock().unwrap().take().unwrap();
    assert!(headers.contains_key(header::AUTHORIZATION) && headers.contains_key(header::COOKIE));
    server.stop().await;
    end.stop().await;
}

#[tokio::test]
async fn how_long_the_phases_took_is_told() {
    let server = serve(|server| server, echo).await;
    let by_name = server.url().replace("127.0.0.1", "localhost");
    let ws = connect(&by_name).await.unwrap();
    let handshake = ws.handshake().unwrap();
    let timings = handshake.timings;
    assert!(timings.resolve.is_some() && timings.connect.is_some() && timings.upgrade.is_some());
    assert!(timings.proxy.is_none() && timings.tls.is_none());
    let phases = [timings.resolve, timings.connect, timings.upgrade];
    assert!(phases.into_iter().flatten().sum::<Duration>() <= timings.total, "{timings:?}");
    assert_eq!(handshake.peer_addr, Some(server.address));
    drop(ws);

    let ws = connect(&server.url()).await.unwrap();
    assert_eq!(ws.handshake().unwrap().timings.resolve, None, "an address needs none");
    drop(ws);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_opening_handshake_has_a_deadline_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let mut config = Config::default();
    config.upgrade_timeout = Some(3 * SECOND);
    let error = open_error(Client::new().config(config).connect(&url).await.unwrap_err());
    assert!(matches!(error.cause, OpenCause::Timeout), "{error}");
    assert_eq!((error.phase, error.elapsed.as_secs()), (Phase::Upgrade, 3));
    assert_eq!(error.timings.upgrade, Some(error.elapsed));
    assert!(error.timings.connect.is_some());
    assert!(error.to_string().ends_with("[the opening handshake, 3.0s]"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_whose_body_does_not_end_is_told_at_the_deadline() {
    for fields in ["Content-Length: 10\r\n", ""] {
        let (client, mut server) = tokio::io::duplex(1000);
        server.write_all(format!("HTTP/1.1 503 Busy\r\n{fields}\r\nbusy").as_bytes()).await.unwrap();
        let error = Client::new().connect_over(client, "ws://test/").await.unwrap_err();
        let refusal = error.refusal().unwrap_or_else(|| panic!("{error}"));
        assert_eq!((refusal.status.as_u16(), &refusal.body[..]), (503, &b"busy"[..]));
        assert!(refusal.truncated, "{fields}");
        let mut request = String::new();
        server.read_to_string(&mut request).await.unwrap();
        assert!(request.starts_with("GET / HTTP/1.1\r\n"));
    }
}

/// Gives these bytes and then a reset; takes any.
struct Reset(&'static [u8]);

impl AsyncRead for Reset {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        buffer.put_slice(std::mem::take(&mut self.0));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Reset {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_refusal_is_told_even_if_the_connection_is_reset_behind_it() {
    let stream = Reset(b"HTTP/1.1 403 No\r\nContent-Length: 10\r\n\r\nno");
    let error = Client::new().connect_over(stream, "ws://test/").await.unwrap_err();
    let refusal = error.refusal().unwrap_or_else(|| panic!("{error}"));
    assert_eq!((refusal.status.as_u16(), &refusal.body[..], refusal.truncated), (403, &b"no"[..], true));

    let error = Client::new().connect_over(Reset(b"HTTP/1.1 403"), "ws://test/").await.unwrap_err();
    let cause = open_error(error).cause;
    assert!(
        matches!(&cause, OpenCause::Io(error) if error.kind() == io::ErrorKind::ConnectionReset),
        "{cause}"
    );
}

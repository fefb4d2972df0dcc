//! What several test files need: servers that follow a script, byte by byte, and a log of a socket's events.
#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockeye_proto::handshake::accept_key;
use sockeye_web::{DomException, Event, EventType, Options, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The types of events, as their places in the standard.
pub(crate) const EVENTS: [EventType; 4] =
    [EventType::Open, EventType::Message, EventType::Error, EventType::Close];

/// Fails the test if something takes longer than it ever should.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it hangs")
}

/// What happened, line by line.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Lines>);

#[derive(Default)]
struct Lines {
    lines: Mutex<Vec<String>>,
    added: Notify,
}

impl Log {
    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.lines.lock().unwrap().push(line.into());
        self.0.added.notify_waiters();
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lines.lock().unwrap().clone()
    }

    /// Logs all events of a socket, with its ready state.
    pub(crate) fn listen(&self, socket: &WebSocket) {
        for event_type in EVENTS {
            let log = self.clone();
            socket.set_handler(event_type, move |socket, event| {
                log.add(format!("{} {}", describe(event), socket.ready_state()));
            });
        }
    }

    /// Waits for a line that begins so, and gives all lines.
    pub(crate) async fn until(&self, start: &str) -> Vec<String> {
        soon(async {
            loop {
                let added = self.0.added.notified();
                let lines = self.lines();
                if lines.iter().any(|line| line.starts_with(start)) {
                    return lines;
                }
                added.await;
            }
        })
        .await
    }
}

/// An event as a line of the log.
pub(crate) fn describe(event: &Event) -> String {
    let name = event.event_type().as_str();
    match event {
        Event::Message(event) => match event.data.as_text() {
            Some(text) => format!("{name} {text:?}"),
            None => format!("{name} {} bytes", event.data.len()),
        },
        Event::Close(event) => format!("{name} {} {} {:?}", event.was_clean, event.code, event.reason),
        _ => name.to_owned(),
    }
}

/// A socket whose events are logged from the first on.
pub(crate) fn open(url: &str, log: &Log) -> WebSocket {
    open_with(url, &[], Options::default(), log).unwrap()
}

pub(crate) fn open_with(
    url: &str,
    protocols: &[&str],
    options: Options,
    log: &Log,
) -> Result<WebSocket, DomException> {
    WebSocket::with_options(url, protocols, options, |socket| log.listen(socket))
}

/// A server for one connection, on a port of its own, that follows a script.
pub(crate) struct Scripted<T> {
    pub(crate) url: String,
    script: JoinHandle<T>,
}

impl<T> Scripted<T> {
    /// What the script has brought.
    pub(crate) async fn end(self) -> T {
        soon(self.script).await.unwrap()
    }
}

/// One that gets the connection before anything is read.
pub(crate) async fn tcp<T, F>(script: impl FnOnce(TcpStream) -> F + Send + 'static) -> Scripted<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let script = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        script(stream).await
    });
    Scripted { url, script }
}

/// One that gets the connection after the opening handshake.
pub(crate) async fn opened<T, F>(script: impl FnOnce(TcpStream) -> F + Send + 'static) -> Scripted<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send,
{
    tcp(async move |mut stream| {
        let request = read_head(&mut stream).await;
        answer(&mut stream, &request, "").await;
        script(stream).await
    })
    .await
}

/// Reads a request's head.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// The value of a header field of a request, if it is there.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Accepts the opening handshake, with further header fields.
pub(crate) async fn answer(stream: &mut TcpStream, request: &str, fields: &str) {
    let accept = accept_key(field(request, "Sec-WebSocket-Key").unwrap());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
}

/// An unmasked frame.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ ..=125 => frame.push(length.try_into().unwrap()),
        length @ ..=65535 => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// A Close frame's payload.
pub(crate) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// Reads a masked frame: opcode and payload.
pub(crate) async fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    try_read_frame(stream).await.unwrap()
}

pub(crate) async fn try_read_frame(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    assert_eq!(head[1] & 0x80, 0x80, "a client masks");
    let length = match head[1] & 0x7f {
        126 => stream.read_u16().await?.into(),
        127 => stream.read_u64().await?,
        length => length.into(),
    };
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await?;
    let mut payload = vec![0; length.try_into().unwrap()];
    stream.read_exact(&mut payload).await?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok((head[0] & 0x0f, payload))
}

/// Reads to the end of the bytes, however they end.
pub(crate) async fn read_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    rest
}

/// Echoes messages, answers the client's Close, and ends; as well if the client goes.
pub(crate) async fn echo(mut stream: TcpStream) {
    while let Ok((opcode, payload)) = try_read_frame(&mut stream).await {
        stream.write_all(&frame(opcode, &payload)).await.unwrap();
        if opcode == CLOSE {
            return;
        }
    }
}

/// Reads up to the Close frame and answers it: the frames.
pub(crate) async fn until_close(mut stream: TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    loop {
        let (opcode, payload) = read_frame(&mut stream).await;
        frames.push((opcode, payload.clone()));
        if opcode == CLOSE {
            stream.write_all(&frame(CLOSE, &payload)).await.unwrap();
            return frames;
        }
    }
}

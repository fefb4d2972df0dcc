//! `WebSocketStream`: a task takes what JavaScript's streams ask for, and calls back with what has come of it.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};

use futures_util::{SinkExt, StreamExt};
use napi::bindgen_prelude::{Function, Result, Status};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use sockeye::Message;
use sockeye_web::{
    AbortController, DomException, Exception, Readable, WebSocketCloseInfo, WebSocketError, WebSocketStream,
    WebSocketStreamOptions, Writable,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{Page, RUNTIME, Received, options, thrown};

/// Calls back on JavaScript's thread. It keeps the process alive, until it is dropped.
type Deliver = ThreadsafeFunction<Happened, (), Happened, Status, false>;

/// What has happened to a stream.
#[napi(object)]
#[derive(Default)]
pub struct Happened {
    /// `opened`, `chunk`, `written`, or at last `closed` or `failed`.
    pub r#type: String,
    /// Of `opened`.
    pub extensions: Option<String>,
    /// Of `opened`.
    pub protocol: Option<String>,
    /// Of a `chunk`.
    pub data: Option<Received>,
    /// Of `closed` and `failed`.
    pub code: Option<u16>,
    /// Of `closed` and `failed`.
    pub reason: Option<String>,
}

impl Happened {
    fn new(r#type: &str) -> Self {
        Self { r#type: r#type.to_owned(), ..Self::default() }
    }

    fn ended(closed: std::result::Result<WebSocketCloseInfo, Exception>) -> Self {
        let (r#type, code, reason) = match closed {
            Ok(info) => ("closed", info.close_code, info.reason),
            Err(Exception::WebSocket(error)) => ("failed", error.close_code(), error.reason().to_owned()),
            Err(_) => ("failed", None, String::new()),
        };
        Self { code, reason: Some(reason), ..Self::new(r#type) }
    }
}

/// What JavaScript asks for.
enum Wish {
    /// The next chunk.
    Pull,
    Write(Message),
    Close(WebSocketCloseInfo),
}

/// What is behind a `WebSocketStream` of JavaScript.
#[napi]
pub struct Stream {
    url: String,
    wishes: UnboundedSender<Wish>,
    opening: AbortController,
}

#[napi]
impl Stream {
    /// Connects. `deliver` is called with what happens.
    #[napi(constructor)]
    pub fn new(
        url: String,
        protocols: Vec<String>,
        page: Page,
        deliver: Function<'_, Happened, ()>,
    ) -> Result<Self, String> {
        let opening = AbortController::new();
        let mut all = WebSocketStreamOptions::default();
        all.protocols = protocols;
        all.signal = Some(opening.signal());
        all.options = options(page);
        let stream = WebSocketStream::with_options(&url, all).map_err(|exception| thrown(&exception))?;
        let url = stream.url();
        let builder = deliver.build_threadsafe_function::<Happened>().callee_handled::<false>();
        let deliver = builder
            .build_callback(|context| Ok(context.value))
            .map_err(|error| napi::Error::new(error.status.to_string(), error.reason.clone()))?;
        let (wishes, wished) = unbounded_channel();
        RUNTIME.spawn(drive(stream, wished, deliver));
        Ok(Self { url, wishes, opening })
    }

    /// The attribute `url`.
    #[napi(getter)]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Asks for the next chunk.
    #[napi]
    pub fn pull(&self) {
        self.wish(Wish::Pull);
    }

    /// Writes a string.
    #[napi]
    pub fn write_text(&self, data: String) {
        self.wish(Wish::Write(data.into()));
    }

    /// Writes a buffer.
    #[napi]
    pub fn write_binary(&self, data: &[u8]) {
        self.wish(Wish::Write(Message::from(data.to_vec())));
    }

    /// Closes the connection.
    #[napi]
    pub fn close(&self, code: Option<u16>, reason: String) -> Result<(), String> {
        let close_code = check_close(code, reason.clone())?;
        self.wish(Wish::Close(WebSocketCloseInfo { close_code, reason }));
        Ok(())
    }

    /// Gives up the opening.
    #[napi]
    pub fn abort(&self) {
        self.opening.abort();
    }

    fn wish(&self, wish: Wish) {
        // Once the connection is over nobody takes it.
        let _ = self.wishes.send(wish);
    }
}

/// "Validate close code and reason": the code that goes with the reason, or what is thrown.
#[napi]
pub(crate) fn check_close(code: Option<u16>, reason: String) -> Result<Option<u16>, String> {
    let checked: std::result::Result<_, DomException> = WebSocketError::new("", code, reason);
    checked.map(|error| error.close_code()).map_err(|exception| thrown(&exception))
}

/// Drives a stream until it is closed. JavaScript's object is held by `deliver` so long: if it goes before, its worker does, and the
/// connection is closed by dropping it.
async fn drive(mut stream: WebSocketStream, mut wished: UnboundedReceiver<Wish>, deliver: Deliver) {
    let tell = |happened| {
        deliver.call(happened, ThreadsafeFunctionCallMode::NonBlocking);
    };
    let opened = loop {
        tokio::select! {
            opened = stream.opened() => break opened,
            wish = wished.recv() => match wish {
                Some(Wish::Close(info)) => close(&stream, info),
                Some(_) => {}
                None => return,
            },
        }
    };
    if let Ok(info) = opened {
        let (extensions, protocol) = (Some(info.extensions), Some(info.protocol));
        tell(Happened { extensions, protocol, ..Happened::new("opened") });
        if !serve(&stream, info.readable, info.writable, wished, tell).await {
            return;
        }
    }
    tell(Happened::ended(stream.closed().await));
}

/// Serves what the two halves are asked for, until the connection is closed, or nobody is there any more who could ask.
async fn serve(
    stream: &WebSocketStream,
    mut readable: Readable,
    mut writable: Writable,
    mut wished: UnboundedReceiver<Wish>,
    tell: impl Fn(Happened),
) -> bool {
    let mut is_pulling = false;
    let mut unwritten = VecDeque::new();
    loop {
        tokio::select! {
            wish = wished.recv() => match wish {
                Some(Wish::Pull) => is_pulling = true,
                Some(Wish::Write(message)) => unwritten.push_back(message),
                Some(Wish::Close(info)) => close(stream, info),
                None => return false,
            },
            next = async { if is_pulling { readable.next().await } else { pending().await } } => {
                is_pulling = false;
                if let Some(Ok(message)) = next {
                    tell(Happened { data: Some(Received::new(message)), ..Happened::new("chunk") });
                }
            }
            ready = poll_fn(|cx| writable.poll_ready_unpin(cx)), if !unwritten.is_empty() => {
                let Some(message) = unwritten.pop_front() else { continue };
                // If not, it is closed: the stream's end tells.
                if ready.is_ok() && writable.start_send_unpin(message).is_ok() {
                    tell(Happened::new("written"));
                }
            }
            _ = stream.closed() => return true,
        }
    }
}

fn close(stream: &WebSocketStream, info: WebSocketCloseInfo) {
    // Its arguments were checked.
    let _ = stream.close(info);
}

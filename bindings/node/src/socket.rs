//! `WebSocket`: every task of the standard runs on JavaScript's thread, so that what a script reads changes with the events and not
//! between them.

use std::sync::{Arc, Mutex};

use napi::bindgen_prelude::{Function, Result, Status};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use sockeye::Message;
use sockeye_web::{DeferredMessage, Event, EventLoop, EventType, Task, WebSocket};

use crate::{Page, Received, lock, options, thrown};

/// Queues tasks on JavaScript's thread. It keeps the process alive, until it is dropped.
type Queue = ThreadsafeFunction<Task, (), Vec<Fired>, Status, false>;

/// An event that a task has fired.
#[napi(object)]
#[derive(Default)]
pub struct Fired {
    /// `open`, `message`, `error` or `close`.
    pub r#type: String,
    /// Of a `message`.
    pub data: Option<Received>,
    /// Of a `message`.
    pub origin: Option<String>,
    /// Of a `close`.
    pub was_clean: Option<bool>,
    /// Of a `close`.
    pub code: Option<u16>,
    /// Of a `close`.
    pub reason: Option<String>,
}

impl Fired {
    fn new(event: &Event) -> Self {
        let mut fired = Self { r#type: event.event_type().as_str().to_owned(), ..Self::default() };
        match event {
            Event::Open | Event::Error => {}
            Event::Message(event) => {
                fired.data = Some(Received::new(event.data.clone()));
                fired.origin = Some(event.origin.to_string());
            }
            Event::Close(event) => {
                fired.was_clean = Some(event.was_clean);
                fired.code = Some(event.code);
                fired.reason = Some(event.reason.clone());
            }
        }
        fired
    }
}

/// What is behind a `WebSocket` of JavaScript.
#[napi]
pub struct Socket(WebSocket);

impl Drop for Socket {
    /// Until it is closed it is held by its queue: if it goes before, its worker does, or the process.
    fn drop(&mut self) {
        self.0.clone().make_disappear();
    }
}

/// The place of a message whose data is still being read.
#[napi]
pub struct Deferred(Option<DeferredMessage>);

#[napi]
impl Socket {
    /// Connects. After each task `deliver` is called with the events that it has fired.
    #[napi(constructor)]
    pub fn new(
        url: String,
        protocols: Vec<String>,
        page: Page,
        deliver: Function<'_, Vec<Fired>, ()>,
    ) -> Result<Self, String> {
        let protocols: Vec<&str> = protocols.iter().map(String::as_str).collect();
        let fired = Arc::new(Mutex::new(Vec::new()));
        let queue = Arc::new(Mutex::new(None));
        let made = queue_of(&deliver, Arc::clone(&fired), Arc::clone(&queue));
        *lock(&queue) =
            Some(made.map_err(|error| napi::Error::new(error.status.to_string(), error.reason.clone()))?);
        let mut options = options(page);
        let tasks = Arc::clone(&queue);
        options.event_loop = Some(EventLoop::new(move |task| {
            if let Some(queue) = &*lock(&tasks) {
                queue.call(task, ThreadsafeFunctionCallMode::NonBlocking);
            }
        }));
        let opened = WebSocket::with_options(&url, &protocols, options, |socket| {
            for event_type in [EventType::Open, EventType::Message, EventType::Error, EventType::Close] {
                let fired = Arc::clone(&fired);
                socket.set_handler(event_type, move |_, event| lock(&fired).push(Fired::new(event)));
            }
        });
        match opened {
            Ok(socket) => Ok(Self(socket)),
            Err(exception) => {
                lock(&queue).take();
                Err(thrown(&exception))
            }
        }
    }

    /// The attribute `url`.
    #[napi(getter)]
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// The attribute `readyState`.
    #[napi(getter)]
    pub fn ready_state(&self) -> u16 {
        self.0.ready_state()
    }

    /// The attribute `bufferedAmount`.
    #[napi(getter)]
    #[allow(clippy::cast_precision_loss, reason = "it is a double in JavaScript, exact up to 8 PiB")]
    pub fn buffered_amount(&self) -> f64 {
        self.0.buffered_amount() as f64
    }

    /// The attribute `extensions`.
    #[napi(getter)]
    pub fn extensions(&self) -> String {
        self.0.extensions()
    }

    /// The attribute `protocol`.
    #[napi(getter)]
    pub fn protocol(&self) -> String {
        self.0.protocol()
    }

    /// `send()` of a string.
    #[napi]
    pub fn send_text(&self, data: String) -> Result<(), String> {
        self.0.send(data).map_err(|exception| thrown(&exception))
    }

    /// `send()` of a buffer.
    #[napi]
    pub fn send_binary(&self, data: &[u8]) -> Result<(), String> {
        self.0.send(Message::from(data.to_vec())).map_err(|exception| thrown(&exception))
    }

    /// `send()` of a `Blob`, which is read while others wait behind it.
    #[napi]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the size of a Blob")]
    pub fn send_deferred(&self, size: f64) -> Result<Option<Deferred>, String> {
        let deferred = self.0.send_deferred(size as usize).map_err(|exception| thrown(&exception))?;
        Ok(deferred.map(|deferred| Deferred(Some(deferred))))
    }

    /// `close()`.
    #[napi]
    pub fn close(&self, code: Option<u16>, reason: Option<String>) -> Result<(), String> {
        self.0.close(code, reason.as_deref()).map_err(|exception| thrown(&exception))
    }
}

#[napi]
impl Deferred {
    /// The data has been read.
    #[napi]
    pub fn resolve(&mut self, data: &[u8]) {
        if let Some(deferred) = self.0.take() {
            deferred.resolve(data.to_vec());
        }
    }

    /// The data cannot be read: fails the connection.
    #[napi]
    pub fn reject(&mut self) {
        self.0 = None;
    }
}

fn queue_of(
    deliver: &Function<'_, Vec<Fired>, ()>,
    fired: Arc<Mutex<Vec<Fired>>>,
    queue: Arc<Mutex<Option<Queue>>>,
) -> Result<Queue> {
    let builder = deliver.build_threadsafe_function::<Task>().callee_handled::<false>();
    builder.build_callback(move |context| {
        (context.value)();
        let fired = std::mem::take(&mut *lock(&fired));
        if fired.last().is_some_and(|event| event.r#type == "close") {
            let over = lock(&queue).take();
            drop(over);
        }
        Ok(fired)
    })
}

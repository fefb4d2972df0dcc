//! The Rust side of the addon: `sockeye_web`'s objects, and their events carried to JavaScript's thread.
//!
//! What the standard says a socket does is done there; converting arguments and dispatching events is done in the JavaScript beside this.

mod socket;
mod stream;

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use napi::bindgen_prelude::{Buffer, Error};
use napi_derive::napi;
use sockeye::{HeaderValue, Message};
use sockeye_web::{DomException, Options};
use tokio::runtime::{Builder, Runtime};

/// Drives all connections of the process.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).thread_name("sockeye").enable_all();
    builder.build().expect("the system gives us threads")
});

/// What a page is to a browser's socket.
#[napi(object)]
#[derive(Default)]
pub struct Page {
    /// What relative URLs are relative to.
    pub base: Option<String>,
    /// Sent as `Origin`.
    pub origin: Option<String>,
}

/// A message that was received: one of the two is there.
#[napi(object)]
#[derive(Default)]
pub struct Received {
    /// Of a text message.
    pub text: Option<String>,
    /// Of a binary message.
    pub bytes: Option<Buffer>,
}

impl Received {
    fn new(message: Message) -> Self {
        match message.as_text() {
            Some(text) => Self { text: Some(text.to_owned()), bytes: None },
            None => Self { text: None, bytes: Some(message.into_bytes().to_vec().into()) },
        }
    }
}

fn options(page: Page) -> Options {
    let mut options = Options::default();
    options.base_url = page.base;
    options.origin = page.origin.and_then(|origin| HeaderValue::try_from(origin).ok());
    options.block_bad_ports = true;
    options.runtime = Some(RUNTIME.handle().clone());
    options
}

/// For JavaScript to make a `DOMException` of: its `code` is the exception's name.
fn thrown(exception: &DomException) -> Error<String> {
    Error::new(exception.name().to_owned(), exception.message())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What every public type can do, as far as a type can say it. This compiles or it does not.

use std::error::Error;
use std::fmt::Debug;

use sockeye_web::{
    AbortController, AbortSignal, BinaryType, CloseEvent, DeferredMessage, DomException, ErrorName, Event,
    EventLoop, EventType, Exception, ListenerId, ListenerOptions, MessageEvent, Options, Readable, WebSocket,
    WebSocketCloseInfo, WebSocketError, WebSocketOpenInfo, WebSocketStream, WebSocketStreamOptions, Writable,
};

fn plain<T: Debug + Send + Unpin + 'static>() {}

fn value<T: Clone + Debug + Send + Sync + Unpin + 'static>() {}

fn error<T: Error + Clone + Eq + Send + Sync + Unpin + 'static>() {}

#[test]
fn what_does_something_goes_to_another_thread() {
    plain::<DeferredMessage>();
    plain::<Readable>();
    plain::<WebSocketOpenInfo>();
    plain::<WebSocketStream>();
    plain::<Writable>();
}

#[test]
fn values_and_handles_can_be_cloned_shared_and_printed() {
    value::<(AbortController, AbortSignal, BinaryType, CloseEvent, ErrorName, Event, EventLoop)>();
    value::<(EventType, ListenerId, ListenerOptions, MessageEvent, Options, WebSocket)>();
    value::<(WebSocketCloseInfo, WebSocketStreamOptions)>();
}

#[test]
fn errors_are_errors() {
    error::<DomException>();
    error::<Exception>();
    error::<WebSocketError>();
}

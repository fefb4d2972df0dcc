//! What every public type can do, as far as a type can say it. This compiles or it does not.

use std::error::Error;
use std::fmt::Debug;

use sockeye_proto::frame::{FrameHeader, Opcode};
use sockeye_proto::handshake::{
    Answer, ClientHandshake, Extension, Head, Offer, Parameter, Request, Response, ServerHandshake,
    TunnelHandshake,
};
use sockeye_proto::{
    ApiMisuse, CloseCode, CloseFrame, CloseInfo, Config, Connection, Deflate, Event, HandshakeError,
    HandshakeMisuse, Message, MessageKind, Output, Part, PerMessageDeflate, PongTimeout, Prepared,
    ProtocolError, Refusal, Role, SendError, Side, UrlError, UserInfo, Utf8Bytes, WebSocketUrl,
};

/// A thread may hand it to another, and both may look at it; a future may hold it; an error may be printed with it.
fn plain<T: Send + Sync + Unpin + Debug + 'static>() {}

fn value<T: Clone + Send + Sync + Unpin + Debug + 'static>() {}

fn error<T: Error + Clone + Eq + Send + Sync + Unpin + 'static>() {}

#[test]
fn types_go_between_threads_and_can_be_printed() {
    plain::<ClientHandshake>();
    plain::<Connection>();
    plain::<Output>();
    plain::<ServerHandshake>();
    plain::<TunnelHandshake>();
}

#[test]
fn values_can_be_cloned() {
    value::<(Answer, Extension, Head, Offer, Parameter, Request, Response)>();
    value::<(CloseCode, CloseFrame, CloseInfo, Config, Deflate, Event, FrameHeader, Message)>();
    value::<(MessageKind, Opcode, Part, PerMessageDeflate, Prepared, Refusal, Role, Side)>();
    value::<(UserInfo, Utf8Bytes, WebSocketUrl)>();
}

#[test]
fn errors_are_errors() {
    error::<ApiMisuse>();
    error::<HandshakeError>();
    error::<HandshakeMisuse>();
    error::<PongTimeout>();
    error::<ProtocolError>();
    error::<SendError>();
    error::<UrlError>();
}

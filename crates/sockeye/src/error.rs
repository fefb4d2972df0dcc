//! What can go wrong, by blame.

use std::io;

use sockeye_proto::{
    ApiMisuse, HandshakeError, Message, PongTimeout, ProtocolError, Refusal, SendError, UrlError,
};

use crate::opening::{OpenCause, OpenError};

/// Why a connection was not opened, or has ended otherwise than by a closing handshake.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing can be sent: the closing handshake has begun, or the connection has ended.
    #[error("the connection is closing or closed")]
    Closed,
    /// The byte stream failed, or ended without a closing handshake ([`io::ErrorKind::UnexpectedEof`]).
    #[error("the connection was lost: {0}")]
    Io(#[from] io::Error),
    /// The caller asked for something that the protocol does not allow; nothing was sent.
    #[error(transparent)]
    Misuse(#[from] ApiMisuse),
    /// The connection was not opened: in which phase that failed, after how long, and why.
    #[error(transparent)]
    Open(Box<OpenError>),
    /// The peer was silent, and did not answer a keepalive ping ([`Config::ping_timeout`](crate::Config::ping_timeout)).
    #[error(transparent)]
    PongTimeout(#[from] PongTimeout),
    /// The peer broke the protocol, or a limit that we set it.
    #[error("the peer broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The reader or stream of the caller's that was to be sent has failed: the connection goes on, the message is unfinished.
    #[error("cannot read what is to be sent: {0}")]
    Source(io::Error),
    /// The URL is not one of a WebSocket (RFC 6455 section 3).
    #[error(transparent)]
    Url(#[from] UrlError),
}

impl Error {
    /// The server's answer, if it was one that refuses the opening handshake: its status, headers and body.
    pub fn refusal(&self) -> Option<&Refusal> {
        let Self::Open(error) = self else { return None };
        match &error.cause {
            OpenCause::Handshake(HandshakeError::Refused(refusal)) | OpenCause::Redirect { refusal, .. } => {
                Some(refusal)
            }
            _ => None,
        }
    }

    /// To close what is closing already is no error.
    pub(crate) fn unless_closed(result: Result<(), Self>) -> Result<(), Self> {
        match result {
            Err(Self::Closed) => Ok(()),
            other => other,
        }
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Misuse(misuse) => Self::Misuse(misuse),
            _ => Self::Closed,
        }
    }
}

/// Why [`Sender::try_send`](crate::Sender::try_send) did not take a message, which is given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// The closing handshake has begun, or the connection has ended.
    #[error("the connection is closing or closed")]
    Closed(Message),
    /// There is no room: [`Config::max_buffered`](crate::Config::max_buffered) bytes wait to be written, or a
    /// [`MessageWriter`](crate::MessageWriter) is at work.
    #[error("the peer reads slower than it is sent to")]
    Full(Message),
}

//! The response of a server or proxy that refuses.

use bytes::BytesMut;
use http::{HeaderMap, StatusCode};

use super::http1::{BodyReader, BodyState, MessageHead, StatusLine};
use crate::error::{HandshakeError, Refusal};

/// Reads the body behind the head of a response that refuses.
#[derive(Debug)]
pub(super) struct RefusalReader {
    status: StatusCode,
    headers: HeaderMap,
    body: BodyReader,
}

impl RefusalReader {
    pub(super) fn new(head: MessageHead<StatusLine>, max_body: usize) -> Self {
        let (status, headers) = (head.line.status, head.headers);
        let body = BodyReader::new(status, &headers, max_body);
        Self { status, headers, body }
    }

    /// The refusal once its body is whole or over its limit.
    pub(super) fn read(&mut self, input: &mut BytesMut) -> Result<(), HandshakeError> {
        match self.body.read(input) {
            BodyState::Partial => Ok(()),
            state => Err(self.finish(state)),
        }
    }

    /// The same when no more bytes will come.
    pub(super) fn read_end(&mut self, input: &mut BytesMut) -> HandshakeError {
        let state = self.body.read_end(input);
        self.finish(state)
    }

    /// The refusal with what there is of its body.
    pub(super) fn cut(&mut self) -> HandshakeError {
        self.finish(BodyState::Cut)
    }

    fn finish(&mut self, state: BodyState) -> HandshakeError {
        HandshakeError::Refused(Box::new(Refusal {
            status: self.status,
            headers: std::mem::take(&mut self.headers),
            body: self.body.take(),
            truncated: state != BodyState::Whole,
        }))
    }
}

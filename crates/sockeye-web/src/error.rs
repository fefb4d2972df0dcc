//! What the standard throws.

use std::fmt;

/// The names of the exceptions that are thrown here (Web IDL section 2.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorName {
    /// `AbortError`: an [`AbortSignal`](crate::AbortSignal) says stop.
    Abort,
    /// `InvalidAccessError`: a close code that may not be used.
    InvalidAccess,
    /// `InvalidStateError`: too early, or too late.
    InvalidState,
    /// `SyntaxError`: a URL, a subprotocol or a close reason that cannot be.
    Syntax,
}

/// An exception as the web has it (Web IDL section 2.8): a name, a legacy code, and a message for people who debug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomException {
    name: ErrorName,
    message: String,
}

impl DomException {
    pub(crate) fn new(name: ErrorName, message: impl Into<String>) -> Self {
        Self { name, message: message.into() }
    }

    /// Which exception it is, to be matched on.
    pub fn kind(&self) -> ErrorName {
        self.name
    }

    /// The name as scripts see it, such as `SyntaxError`.
    pub fn name(&self) -> &'static str {
        match self.name {
            ErrorName::Abort => "AbortError",
            ErrorName::InvalidAccess => "InvalidAccessError",
            ErrorName::InvalidState => "InvalidStateError",
            ErrorName::Syntax => "SyntaxError",
        }
    }

    /// The message: for people, and not the same as any browser's.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The legacy code as scripts see it, such as 12 for `SyntaxError` (Web IDL section 2.8.1).
    pub fn code(&self) -> u16 {
        match self.name {
            ErrorName::Abort => 20,
            ErrorName::InvalidAccess => 15,
            ErrorName::InvalidState => 11,
            ErrorName::Syntax => 12,
        }
    }
}

impl fmt::Display for DomException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.message)
    }
}

impl std::error::Error for DomException {}

/// A [`WebSocketStream`](crate::WebSocketStream) that was never opened, or that ended otherwise than by a closing handshake; or why a
/// half of it is given up. It is an exception whose name is `WebSocketError` and whose legacy code is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketError {
    message: String,
    close_code: Option<u16>,
    reason: String,
}

impl WebSocketError {
    /// The name as scripts see it.
    pub const NAME: &str = "WebSocketError";

    /// An error to [cancel](crate::Readable::cancel) or [abort](crate::Writable::abort) with: the code and the reason go into the Close
    /// frame. A reason without a code goes with 1000.
    ///
    /// # Errors
    ///
    /// `InvalidAccessError` for a code other than 1000 and 3000 to 4999, `SyntaxError` for a reason of more than 123 bytes.
    pub fn new(
        message: impl Into<String>,
        close_code: Option<u16>,
        reason: impl Into<String>,
    ) -> Result<Self, DomException> {
        let reason = reason.into();
        check_close(close_code, &reason)?;
        let close_code = code_for(close_code, &reason);
        Ok(Self { message: message.into(), close_code, reason })
    }

    /// One that the network has brought.
    pub(crate) fn unvalidated(message: &str, close_code: Option<u16>, reason: &str) -> Self {
        Self { message: message.to_owned(), close_code, reason: reason.to_owned() }
    }

    /// What happened, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The close code, if there is one: 1006 if the connection was lost.
    pub fn close_code(&self) -> Option<u16> {
        self.close_code
    }

    /// The close reason, or nothing.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Self::NAME, self.message)?;
        if let Some(code) = self.close_code {
            write!(f, " ({code})")?;
        }
        Ok(())
    }
}

impl std::error::Error for WebSocketError {}

/// What [`WebSocketStream`](crate::WebSocketStream)'s futures and streams fail with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Exception {
    /// `AbortError` or `InvalidStateError`.
    #[error(transparent)]
    Dom(#[from] DomException),
    /// The connection was not opened, or did not end cleanly.
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
}

/// "Validate close code and reason".
pub(crate) fn check_close(code: Option<u16>, reason: &str) -> Result<(), DomException> {
    // WHATWG WebSockets section 3.1, "close()" step 1: "If code is present, but is neither an integer equal to 1000 nor an integer in
    // the range 3000 to 4999, inclusive, throw an "InvalidAccessError" DOMException."
    if let Some(code) = code.filter(|code| !matches!(code, 1000 | 3000..=4999)) {
        let message = format!("the close code {code} is neither 1000 nor in the range 3000 to 4999");
        return Err(DomException::new(ErrorName::InvalidAccess, message));
    }
    // Step 2: "If reasonBytes is longer than 123 bytes, then throw a "SyntaxError" DOMException."
    if reason.len() > 123 {
        let message = format!("a close reason of {} bytes, more than 123", reason.len());
        return Err(DomException::new(ErrorName::Syntax, message));
    }
    Ok(())
}

/// The code that goes with a reason in a Close frame, which has no room for a reason alone (RFC 6455 section 5.5.1).
pub(crate) fn code_for(code: Option<u16>, reason: &str) -> Option<u16> {
    // WHATWG WebSockets pull request 48, "new WebSocketError()": "If reason is non-empty, but code is not set, then set code to 1000
    // ("Normal Closure")."
    code.or_else(|| (!reason.is_empty()).then_some(1000))
}

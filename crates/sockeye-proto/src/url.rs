//! WebSocket URLs (RFC 6455 section 3).

use std::fmt;
use std::str::FromStr;

use ::url::{ParseError, Position, Url};
use percent_encoding::percent_decode_str;

/// A `ws` or `wss` URL (RFC 6455 section 3), read as the [URL standard] has it: the host is IDNA-encoded, what needs
/// percent-encoding is percent-encoded, a default port is left out, `.` and `..` in the path are resolved.
///
/// So no part of it holds a space or a control character, and none can add a line to a request.
///
/// ```
/// use sockeye_proto::WebSocketUrl;
///
/// let url: WebSocketUrl = "ws://Example.com:8080/chat room?as=me".parse()?;
/// assert!(!url.is_secure());
/// assert_eq!((url.host(), url.port()), ("example.com", 8080));
/// assert_eq!(url.authority(), "example.com:8080");
/// assert_eq!(url.resource_name(), "/chat%20room?as=me");
/// # Ok::<(), sockeye_proto::UrlError>(())
/// ```
///
/// [URL standard]: https://url.spec.whatwg.org/
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WebSocketUrl(Url);

impl WebSocketUrl {
    /// Whether the scheme is `wss`, so that the connection is to be made over TLS.
    pub fn is_secure(&self) -> bool {
        // RFC 6455 section 3: "The URI is called "secure" (and it is said that "the secure flag is set") if the scheme
        // component matches "wss" case-insensitively."
        self.0.scheme() == "wss"
    }

    /// The host to connect to: a domain, IDNA-encoded; or an IPv4 address; or an IPv6 address, without brackets.
    pub fn host(&self) -> &str {
        let host = &self.0[Position::BeforeHost..Position::AfterHost];
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port to connect to: the one named, or else the scheme's own.
    pub fn port(&self) -> u16 {
        // RFC 6455 section 3: "the default for "ws" is port 80, while the default for "wss" is port 443"
        self.0.port().unwrap_or(if self.is_secure() { 443 } else { 80 })
    }

    /// The value of the `Host` header field: the host, an IPv6 address in brackets, and the port if it is not the
    /// scheme's default.
    pub fn authority(&self) -> &str {
        // RFC 6455 section 4.1: "a |Host| header field whose value contains /host/ plus optionally ":" followed by
        // /port/ (when not using the default port)"
        &self.0[Position::BeforeHost..Position::AfterPort]
    }

    /// What is asked for of the server: the path, at least `/`, and the query if it is not empty, percent-encoded.
    pub fn resource_name(&self) -> &str {
        // RFC 6455 section 3: ""?" if the query component is non-empty"
        match self.0.query() {
            None | Some("") => self.0.path(),
            Some(_) => &self.0[Position::BeforePath..Position::AfterQuery],
        }
    }

    /// Reads a URL that may hold a user name and a password, and gives these apart, percent-decoded. They are no part of a WebSocket
    /// URL (RFC 6455 section 3), but people write them, for Basic authentication (RFC 7617).
    ///
    /// # Errors
    ///
    /// As from [`str::parse`], but for [`UrlError::UserInfo`].
    pub fn with_user_info(text: &str) -> Result<(Self, Option<UserInfo>), UrlError> {
        let mut url = read(text)?;
        let decoded = |text| percent_decode_str(text).collect::<Vec<u8>>();
        let has_any = !url.username().is_empty() || url.password().is_some();
        let user_info = has_any.then(|| UserInfo {
            user: decoded(url.username()),
            password: decoded(url.password().unwrap_or_default()),
        });
        // They cannot fail on a URL with a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Ok((url.try_into()?, user_info))
    }

    /// Whether scheme, host and port are the same (RFC 6454 section 5).
    pub fn is_same_origin(&self, other: &Self) -> bool {
        (self.is_secure(), self.host(), self.port()) == (other.is_secure(), other.host(), other.port())
    }

    /// The URL that a reference in a server's `Location` leads to (RFC 9110 section 10.2.2): relative to this one or absolute; `http` and
    /// `https` stand for `ws` and `wss`, and user information and fragment are left out.
    ///
    /// # Errors
    ///
    /// [`UrlError`] if there is no WebSocket URL behind it.
    pub fn join(&self, reference: &str) -> Result<Self, UrlError> {
        let mut url = self.0.join(reference).map_err(|error| UrlError::Syntax(error.to_string()))?;
        let text = match url.scheme() {
            "http" => format!("ws{}", &url[Position::AfterScheme..]),
            "https" => format!("wss{}", &url[Position::AfterScheme..]),
            _ => url.to_string(),
        };
        url = read(&text)?;
        url.set_fragment(None);
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.try_into()
    }

    /// The whole URL in its normal form.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for WebSocketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WebSocketUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        read(text)?.try_into()
    }
}

/// A user name and a password out of a URL, percent-decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct UserInfo {
    /// The user name.
    pub user: Vec<u8>,
    /// The password, empty if there is none.
    pub password: Vec<u8>,
}

impl fmt::Debug for UserInfo {
    /// Shows no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserInfo({:?})", String::from_utf8_lossy(&self.user))
    }
}

fn read(text: &str) -> Result<Url, UrlError> {
    Url::parse(text).map_err(|error| match error {
        ParseError::EmptyHost => UrlError::EmptyHost,
        error => UrlError::Syntax(error.to_string()),
    })
}

impl TryFrom<Url> for WebSocketUrl {
    type Error = UrlError;

    fn try_from(url: Url) -> Result<Self, UrlError> {
        if !matches!(url.scheme(), "ws" | "wss") {
            return Err(UrlError::Scheme(url.scheme().to_owned()));
        }
        // RFC 6455 section 3: "ws-URI = "ws:" "//" host [ ":" port ] path [ "?" query ]"
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::UserInfo);
        }
        // RFC 6455 section 3: "Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT be used on
        // these URIs."
        if url.fragment().is_some() {
            return Err(UrlError::Fragment);
        }
        Ok(Self(url))
    }
}

/// Why a text is not a WebSocket URL (RFC 6455 section 3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// There is no host (RFC 6455 section 3).
    #[error("the URL has no host")]
    EmptyHost,
    /// There is a fragment, be it an empty one (RFC 6455 section 3).
    #[error(
        "the URL has a fragment (#...), which a WebSocket URL must not have; a # in the path is written %23"
    )]
    Fragment,
    /// The scheme is neither `ws` nor `wss` (RFC 6455 section 3).
    #[error("the URL's scheme is {0:?}; it must be ws (plain) or wss (over TLS)")]
    Scheme(String),
    /// It is not a URL at all; the text says what is wrong with it (RFC 3986).
    #[error("not a URL: {0}")]
    Syntax(String),
    /// There is a user name or a password, for which a WebSocket URL has no place (RFC 6455 section 3).
    #[error("the URL holds a user name or a password, which a WebSocket URL has no place for")]
    UserInfo,
}

//! Lists in header fields: tokens, subprotocols, extensions.

use std::collections::HashSet;
use std::fmt;

use http::HeaderMap;

use super::{EXTENSIONS, PROTOCOL, found};
use crate::error::{HandshakeError, HandshakeMisuse};

/// An extension, as offered by a client or chosen by a server (RFC 6455 section 9.1).
///
/// ```
/// use sockeye_proto::handshake::{Extension, Parameter};
/// let extension = Extension {
///     name: "permessage-deflate".into(),
///     parameters: vec![Parameter { name: "client_max_window_bits".into(), value: Some("12".into()) }],
/// };
/// assert_eq!(extension.to_string(), "permessage-deflate; client_max_window_bits=12");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Extension {
    /// The name, a token.
    pub name: String,
    /// The parameters in their order.
    pub parameters: Vec<Parameter>,
}

/// A parameter of an [`Extension`] (RFC 6455 section 9.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parameter {
    /// The name, a token.
    pub name: String,
    /// The value, a token too, its quotes taken off.
    pub value: Option<String>,
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for parameter in &self.parameters {
            write!(f, "; {}", parameter.name)?;
            if let Some(value) = &parameter.value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

impl Extension {
    /// Whether it may be written into a header field.
    pub(super) fn check(&self) -> Result<(), HandshakeMisuse> {
        // RFC 6455 section 9.1: "extension-param = token [ "=" (token | quoted-string) ]", "the value after quoted-string
        // unescaping MUST conform to the 'token' ABNF"
        let parameters = self.parameters.iter();
        let fits = is_token(self.name.as_bytes())
            && parameters
                .flat_map(|p| [Some(&p.name), p.value.as_ref()])
                .flatten()
                .all(|s| is_token(s.as_bytes()));
        if fits { Ok(()) } else { Err(HandshakeMisuse::ExtensionSyntax(found(self.to_string().as_bytes()))) }
    }
}

/// The extensions in the `Sec-WebSocket-Extensions` header fields, in their order (RFC 6455 section 9.1).
///
/// # Errors
///
/// [`HandshakeError::HeaderSyntax`], if they break the grammar.
pub fn parse_extensions(headers: &HeaderMap) -> Result<Vec<Extension>, HandshakeError> {
    let mut extensions = Vec::new();
    // RFC 6455 section 9.1: "Note that like other HTTP header fields, this header field MAY be split or combined across
    // multiple lines."
    for value in headers.get_all(EXTENSIONS) {
        let before = extensions.len();
        let parsed = Scanner(value.as_bytes()).extension_list(&mut extensions);
        // RFC 6455 section 9.1: "If a value is received by either the client or the server during negotiation that does not
        // conform to the ABNF below, the recipient of such malformed data MUST immediately _Fail the WebSocket Connection_."
        if parsed.is_none() || extensions.len() == before {
            return Err(HandshakeError::HeaderSyntax {
                name: EXTENSIONS,
                expected: "a list of extensions with parameters",
                found: found(value.as_bytes()),
            });
        }
    }
    Ok(extensions)
}

/// The subprotocols in the `Sec-WebSocket-Protocol` header fields of a request, in their order (RFC 6455 section 4.1).
///
/// # Errors
///
/// [`HandshakeError::HeaderSyntax`], if one is not a token, or is there twice, or a field holds none.
pub fn parse_subprotocols(headers: &HeaderMap) -> Result<Vec<String>, HandshakeError> {
    let mut subprotocols = Vec::new();
    let mut seen = HashSet::new();
    for value in headers.get_all(PROTOCOL) {
        let error = |expected| HandshakeError::HeaderSyntax {
            name: PROTOCOL,
            expected,
            found: found(value.as_bytes()),
        };
        let before = subprotocols.len();
        for element in elements(value.as_bytes()) {
            // RFC 6455 section 4.1: "The elements that comprise this value MUST be non-empty strings with characters in the range
            // U+0021 to U+007E not including separator characters as defined in [RFC2616] and MUST all be unique strings."
            let subprotocol = token(element).ok_or_else(|| error("a list of tokens"))?;
            if !seen.insert(element) {
                return Err(error("a list of tokens, each of them once"));
            }
            subprotocols.push(subprotocol);
        }
        // RFC 6455 section 4.3: "Sec-WebSocket-Protocol-Client = 1#token"
        if subprotocols.len() == before {
            return Err(error("a list of at least one token"));
        }
    }
    Ok(subprotocols)
}

/// Whether the header fields of that name, as comma-separated lists, hold the token; ASCII case does not matter.
///
/// ```
/// use sockeye_proto::handshake::has_token;
/// use sockeye_proto::{HeaderMap, HeaderValue, header::CONNECTION};
/// let mut headers = HeaderMap::new();
/// headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
/// assert!(has_token(&headers, "Connection", "upgrade"));
/// ```
pub fn has_token(headers: &HeaderMap, name: &str, token: &str) -> bool {
    let values = headers.get_all(name).iter();
    values
        .flat_map(|value| elements(value.as_bytes()))
        .any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// The elements of a comma-separated list in which no quoted string can be.
fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    // RFC 2616 section 2.1: "Wherever this construct is used, null elements are allowed, but do not contribute to the count of
    // elements present." RFC 9110 section 5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list
    // elements"; the limit on the header block keeps it reasonable.
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Whether it is a token (RFC 9110 section 5.6.2, which allows the same characters as RFC 2616 section 2.2).
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_char)
}

fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The text as a string, if it is a token.
pub(super) fn token(text: &[u8]) -> Option<String> {
    is_token(text).then(|| text.iter().copied().map(char::from).collect())
}

/// What of a header field's value is still to be parsed; `None` from any of these is a violation of the grammar.
struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    /// `extension-list = 1#extension`; empty elements are skipped, as in [`elements`].
    fn extension_list(&mut self, extensions: &mut Vec<Extension>) -> Option<()> {
        loop {
            while self.eat(b',') {}
            if self.0.is_empty() {
                return Some(());
            }
            extensions.push(self.extension()?);
            if !self.0.is_empty() && !self.eat(b',') {
                return None;
            }
        }
    }

    /// `extension = extension-token *( ";" extension-param )`
    fn extension(&mut self) -> Option<Extension> {
        let mut extension = Extension { name: self.token()?, parameters: Vec::new() };
        while self.eat(b';') {
            let name = self.token()?;
            let value = if self.eat(b'=') { Some(self.token_or_quoted()?) } else { None };
            extension.parameters.push(Parameter { name, value });
        }
        Some(extension)
    }

    fn token(&mut self) -> Option<String> {
        self.skip_space();
        let end = self.0.iter().position(|byte| !is_token_char(*byte)).unwrap_or(self.0.len());
        let (text, rest) = self.0.split_at(end);
        self.0 = rest;
        self.skip_space();
        token(text)
    }

    fn token_or_quoted(&mut self) -> Option<String> {
        if !self.eat(b'"') {
            return self.token();
        }
        let mut text = Vec::new();
        loop {
            let (byte, rest) = match self.0 {
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    self.skip_space();
                    // RFC 6455 section 9.1: "When using the quoted-string syntax variant, the value after quoted-string unescaping
                    // MUST conform to the 'token' ABNF."
                    return token(&text);
                }
                // RFC 2616 section 2.2: "quoted-pair = "\" CHAR"
                [b'\\', byte, rest @ ..] | [byte, rest @ ..] => (*byte, rest),
                [] => return None,
            };
            text.push(byte);
            self.0 = rest;
        }
    }

    /// Takes that byte, if it is the next one behind any space.
    fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    /// RFC 6455 section 9.1: "this section is using ABNF syntax/rules from [RFC2616], including the "implied *LWS rule""
    fn skip_space(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let name: HeaderName = name.parse().unwrap();
        values
            .iter()
            .map(|value| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap()))
            .collect()
    }

    #[test]
    fn tokens_in_lists() {
        for (values, found) in [
            (&["Upgrade"][..], true),
            (&["upgrade"], true),
            (&["keep-alive, Upgrade"], true),
            (&["keep-alive,UPGRADE,x"], true),
            (&["keep-alive", "Upgrade"], true),
            (&[",, Upgrade\t ,"], true),
            (&["x, \tupgrade"], true),
            (&[], false),
            (&[""], false),
            (&["upgraded"], false),
            (&["not-upgrade"], false),
            (&["keep-alive Upgrade"], false),
            (&["\"Upgrade\""], false),
            (&["Upgrade; x"], false),
            (&["upgr\u{e4}de"], false),
        ] {
            assert_eq!(
                has_token(&headers("connection", values), "Connection", "upgrade"),
                found,
                "{values:?}"
            );
        }
    }

    #[test]
    fn subprotocols_in_lists() {
        for (values, expected) in [
            (&[][..], &[][..]),
            (&["chat"], &["chat"]),
            (&["chat, superchat"], &["chat", "superchat"]),
            (&["chat,superchat"], &["chat", "superchat"]),
            (&["chat", "superchat, v1.x+y"], &["chat", "superchat", "v1.x+y"]),
            (&["chat, Chat"], &["chat", "Chat"]),
            // RFC 2616 section 2.1: "null elements are allowed"
            (&[",a ,, b,"], &["a", "b"]),
        ] {
            assert_eq!(parse_subprotocols(&headers("sec-websocket-protocol", values)).unwrap(), expected);
        }
        for values in [
            &[""][..],
            &[" , "],
            &["chat", ""],
            &["chat, chat"],
            &["chat", "chat"],
            &["a b"],
            &["a/b"],
            &["\"a\""],
            &["a;b"],
            &["caf\u{e9}"],
        ] {
            let error = parse_subprotocols(&headers("sec-websocket-protocol", values)).unwrap_err();
            assert!(
                matches!(error, HandshakeError::HeaderSyntax { name: PROTOCOL, .. }),
                "{values:?}: {error}"
            );
        }
    }

    #[test]
    fn extensions_in_lists() {
        for (values, expected) in [
            (&[][..], ""),
            (&["foo"], "foo"),
            // RFC 6455 section 9.1: its own examples
            (&["foo", "bar; baz=2"], "foo, bar; baz=2"),
            (&["foo, bar; baz=2"], "foo, bar; baz=2"),
            (&["deflate-stream"], "deflate-stream"),
            (
                &["mux; max-channels=4; flow-control, deflate-stream"],
                "mux; max-channels=4; flow-control, deflate-stream",
            ),
            (&["private-extension"], "private-extension"),
            // RFC 7692 section 7.1: its own example
            (
                &[
                    "permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate; client_max_window_bits",
                ],
                "permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate; client_max_window_bits",
            ),
            (&["a;b=\"10\""], "a; b=10"),
            (&["a; b=\"1\\0\" ; c"], "a; b=10; c"),
            (&["\ta ;\tb\t= 1 ,c"], "a; b=1, c"),
            (&["a;b;b=1"], "a; b; b=1"),
            (&[", a ,, b ,"], "a, b"),
        ] {
            let found = parse_extensions(&headers("sec-websocket-extensions", values)).unwrap();
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found.join(", "), expected);
        }
        for values in [
            &[""][..],
            &[","],
            &["a", ""],
            &[";a"],
            &["a;"],
            &["a;;b"],
            &["a b"],
            &["a;b="],
            &["a;=b"],
            &["a;b=c=d"],
            &["a=b"],
            &["a;b=\"\""],
            &["a;b=\"c d\""],
            &["a;b=\"c,d\""],
            &["a;b=\"c"],
            &["a;b=\"c\\"],
            &["a;b=\"c\\\""],
            &["a;b=\"c\"d"],
            &["\"a\""],
            &["a;\"b\""],
            &["a/b"],
            &["a;b=c\u{e9}"],
        ] {
            let error = parse_extensions(&headers("sec-websocket-extensions", values)).unwrap_err();
            assert!(
                matches!(error, HandshakeError::HeaderSyntax { name: EXTENSIONS, .. }),
                "{values:?}: {error}"
            );
        }
    }

    #[test]
    fn an_extension_that_cannot_be_written_is_refused() {
        let parameter =
            |name: &str, value: Option<&str>| Parameter { name: name.into(), value: value.map(Into::into) };
        for (name, parameters, fits) in [
            ("a", vec![], true),
            ("a", vec![parameter("b", None), parameter("c", Some("1"))], true),
            ("", vec![], false),
            ("a\r\nX: y", vec![], false),
            ("a, b", vec![], false),
            ("a", vec![parameter("", None)], false),
            ("a", vec![parameter("b\r\n", None)], false),
            ("a", vec![parameter("b", Some(""))], false),
            ("a", vec![parameter("b", Some("c; d"))], false),
            ("a", vec![parameter("b", Some("c\r\nX: y"))], false),
        ] {
            let extension = Extension { name: name.into(), parameters };
            assert_eq!(extension.check().is_ok(), fits, "{extension:?}");
        }
    }
}

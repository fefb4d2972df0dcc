//! WebSocket URLs (RFC 6455 section 3), through the public API.

use std::collections::HashSet;

use sockeye_proto::{UrlError, WebSocketUrl};

fn parse(text: &str) -> Result<WebSocketUrl, UrlError> {
    text.parse()
}

#[test]
fn a_url_has_these_parts() {
    for (text, secure, host, port, authority, resource_name) in [
        ("ws://example.com", false, "example.com", 80, "example.com", "/"),
        ("wss://example.com", true, "example.com", 443, "example.com", "/"),
        ("WSS://Example.COM/Chat", true, "example.com", 443, "example.com", "/Chat"),
        ("ws://example.com:80/", false, "example.com", 80, "example.com", "/"),
        ("wss://example.com:443/", true, "example.com", 443, "example.com", "/"),
        ("ws://example.com:443/", false, "example.com", 443, "example.com:443", "/"),
        ("wss://example.com:80/", true, "example.com", 80, "example.com:80", "/"),
        ("ws://example.com:/x", false, "example.com", 80, "example.com", "/x"),
        ("ws://example.com:65535/x", false, "example.com", 65535, "example.com:65535", "/x"),
        ("ws://127.0.0.1:9000/echo", false, "127.0.0.1", 9000, "127.0.0.1:9000", "/echo"),
        ("ws://0x7f.1/", false, "127.0.0.1", 80, "127.0.0.1", "/"),
        ("ws://[::1]/", false, "::1", 80, "[::1]", "/"),
        ("wss://[2001:DB8:0::1]:8443/a", true, "2001:db8::1", 8443, "[2001:db8::1]:8443", "/a"),
        ("ws://bücher.example/", false, "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/"),
        ("ws://ex%41mple.com/", false, "example.com", 80, "example.com", "/"),
        ("ws://h?query", false, "h", 80, "h", "/?query"),
        ("ws://h/?", false, "h", 80, "h", "/"),
        ("ws://h/a?b=c&d=%26", false, "h", 80, "h", "/a?b=c&d=%26"),
        ("ws://h/a b/é?q=ü x", false, "h", 80, "h", "/a%20b/%C3%A9?q=%C3%BC%20x"),
        ("ws://h/a/../b/./c", false, "h", 80, "h", "/b/c"),
        ("ws://h/%23?%23", false, "h", 80, "h", "/%23?%23"),
        ("ws://h//x", false, "h", 80, "h", "//x"),
        ("  ws://h/x  ", false, "h", 80, "h", "/x"),
    ] {
        let url = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(url.is_secure(), secure, "{text}");
        assert_eq!(url.host(), host, "{text}");
        assert_eq!(url.port(), port, "{text}");
        assert_eq!(url.authority(), authority, "{text}");
        assert_eq!(url.resource_name(), resource_name, "{text}");
        assert_eq!(url.to_string(), url.as_str(), "{text}");
        assert_eq!(parse(url.as_str()), Ok(url), "{text}");
    }
}

/// IDNA is a library's work, with one of several sources of Unicode data behind it: each has to come to this.
#[test]
fn hosts_that_are_not_ascii_are_mapped_and_checked() {
    for (host, ascii) in [
        // UTS 46 section 4, step 1: mapped
        ("B\u{dc}CHER.example", "xn--bcher-kva.example"),
        ("\u{ff25}\u{ff38}ample.com", "example.com"),
        ("example\u{3002}com", "example.com"),
        ("exam\u{ad}ple.com", "example.com"),
        ("\u{2460}\u{2461}.example", "12.example"),
        ("\u{1e9e}.example", "xn--zca.example"),
        // ... and not mapped: the processing is nontransitional
        ("fa\u{df}.example", "xn--fa-hia.example"),
        ("\u{3b2}\u{3cc}\u{3bb}\u{3bf}\u{3c2}.example", "xn--nxasmm1c.example"),
        // step 2: normalized
        ("bu\u{308}cher.example", "xn--bcher-kva.example"),
        ("\u{212b}.example", "xn--5ca.example"),
        // step 4: validated
        ("\u{2615}.example", "xn--53h.example"),
        ("\u{1f980}.example", "xn--zs9h.example"),
        ("\u{65e5}\u{672c}\u{8a9e}.jp", "xn--wgv71a119e.jp"),
        ("\u{5d0}\u{5d1}1.example", "xn--1-zhcd.example"),
        ("\u{646}\u{627}\u{645}\u{647}\u{200c}\u{627}\u{6cc}.example", "xn--mgba3gch31f060k.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ] {
        let url = parse(&format!("ws://{host}/")).unwrap_or_else(|error| panic!("{host:?}: {error}"));
        assert_eq!(url.host(), ascii, "{host:?}");
    }
    for (host, what) in [
        ("a\u{5d0}.example", "left to right begins, right to left follows (RFC 5893 section 2)"),
        ("\u{5d0}a.example", "right to left begins, left to right follows (RFC 5893 section 2)"),
        ("1\u{5d0}.example", "a digit begins what is right to left (RFC 5893 section 2)"),
        ("\u{5d0}1\u{661}.example", "two kinds of digits (RFC 5893 section 2)"),
        ("a\u{fffd}.example", "a disallowed code point"),
        ("a\u{e000}.example", "a code point for private use"),
        ("a\u{200d}b.example", "a joiner where it joins nothing (RFC 5892 appendix A)"),
        ("\u{301}a.example", "a mark begins it"),
        ("\u{ad}", "nothing is left"),
        ("xn--a.example", "not Punycode"),
        ("xn--ASCII-.example", "Punycode for nothing"),
        ("xn--bcher-2pa.example", "Punycode of what would be mapped"),
        ("a\u{ff0f}b.example", "a slash, mapped"),
    ] {
        assert!(parse(&format!("ws://{host}/")).is_err(), "{host:?}: {what}");
    }
}

#[test]
fn what_is_not_a_websocket_url_is_refused_with_a_reason() {
    let syntax = || UrlError::Syntax(String::new());
    for (text, error) in [
        ("ws://", UrlError::EmptyHost),
        ("wss://", UrlError::EmptyHost),
        ("ws://:80/", UrlError::EmptyHost),
        ("ws://h/#", UrlError::Fragment),
        ("ws://h/#there", UrlError::Fragment),
        ("ws://h#", UrlError::Fragment),
        ("http://h/", UrlError::Scheme("http".into())),
        ("https://h/", UrlError::Scheme("https".into())),
        ("localhost:9000", UrlError::Scheme("localhost".into())),
        ("file:///tmp/x", UrlError::Scheme("file".into())),
        ("wsx://h/", UrlError::Scheme("wsx".into())),
        ("ws://me@h/", UrlError::UserInfo),
        ("ws://me:secret@h/", UrlError::UserInfo),
        ("ws://:secret@h/", UrlError::UserInfo),
        ("", syntax()),
        ("h/x", syntax()),
        ("//h/x", syntax()),
        ("ws://h:65536/", syntax()),
        ("ws://h:x/", syntax()),
        ("ws://[::1/", syntax()),
        ("ws://[::g]/", syntax()),
        ("ws://a b/", syntax()),
        ("ws://h%00/", syntax()),
    ] {
        let found = parse(text).expect_err(text);
        match &found {
            UrlError::Syntax(_) => assert!(matches!(error, UrlError::Syntax(_)), "{text}: {found:?}"),
            found => assert_eq!(*found, error, "{text}"),
        }
    }
}

#[test]
fn the_errors_say_what_to_do() {
    let message = parse("http://h/").unwrap_err().to_string();
    assert!(message.contains("\"http\"") && message.contains("ws ") && message.contains("wss "), "{message}");
    assert!(parse("ws://h/#x").unwrap_err().to_string().contains("fragment"));
    assert!(parse("ws://u@h/").unwrap_err().to_string().contains("user name"));
    assert!(!parse("ws://u:secret@h/").unwrap_err().to_string().contains("secret"));
    assert!(parse("ws://[::g]/").unwrap_err().to_string().contains("IPv6"));
}

#[test]
fn no_url_can_add_a_line_to_a_request() {
    for text in [
        "ws://h/a\r\nX: y",
        "ws://h/\0",
        "ws://h/?a\r\n\r\nGET / HTTP/1.1",
        "ws://h/a\tb",
        "ws://h/\u{7f}\u{85}",
    ] {
        let url = parse(text).unwrap();
        assert!(url.resource_name().bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}: {url}");
        assert!(url.authority().bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}: {url}");
    }
    assert!(parse("ws://h\r\nX: y/").is_err());
}

#[test]
fn urls_that_are_the_same_are_equal() {
    let urls: HashSet<_> =
        ["ws://h", "ws://h/", "WS://H:80/", "ws://h/x/.."].iter().map(|text| parse(text).unwrap()).collect();
    assert_eq!(urls.len(), 1);
}

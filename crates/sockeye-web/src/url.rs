//! The constructor's arguments: URL and subprotocols.

use std::collections::HashSet;

use url::Url;

use crate::error::{DomException, ErrorName};

fn syntax_error<T>(message: impl Into<String>) -> Result<T, DomException> {
    Err(DomException::new(ErrorName::Syntax, message))
}

/// The URL record of a text: steps 1 to 7 of the constructor.
pub(crate) fn url_record(text: &str, base: Option<&str>) -> Result<Url, DomException> {
    // WHATWG WebSockets section 3.1, "new WebSocket()" steps 1 to 3: "Let urlRecord be the result of applying the URL parser to url with
    // baseURL. If urlRecord is failure, then throw a "SyntaxError" DOMException."
    let base = match base.map(Url::parse).transpose() {
        Ok(base) => base,
        Err(error) => return syntax_error(format!("the base is not a URL: {error}")),
    };
    let mut record = match Url::options().base_url(base.as_ref()).parse(text) {
        Ok(record) => record,
        Err(error) => return syntax_error(format!("{text:?} is not a URL: {error}")),
    };
    // Steps 4 and 5: "If urlRecord's scheme is "http", then set urlRecord's scheme to "ws". Otherwise, if urlRecord's scheme is
    // "https", set urlRecord's scheme to "wss"."
    let scheme = match record.scheme() {
        "http" => Some("ws"),
        "https" => Some("wss"),
        _ => None,
    };
    // It cannot fail between two schemes of that kind.
    let _ = scheme.map(|scheme| record.set_scheme(scheme));
    // URL section 1.3: "The path percent-encode set is the query percent-encode set and U+003F (?), U+005E (^), U+0060 (`), U+007B
    // ({), and U+007D (})." The crate does not have U+005E in it.
    if record.path().contains('^') {
        let path = record.path().replace('^', "%5E");
        record.set_path(&path);
    }
    // Step 6: "If urlRecord's scheme is not "ws" or "wss", then throw a "SyntaxError" DOMException."
    if !matches!(record.scheme(), "ws" | "wss") {
        return syntax_error(format!(
            "the URL's scheme is {:?}, not ws, wss, http or https",
            record.scheme()
        ));
    }
    // Step 7: "If urlRecord's fragment is non-null, then throw a "SyntaxError" DOMException."
    if record.fragment().is_some() {
        return syntax_error("the URL has a fragment (#...)");
    }
    Ok(record)
}

/// Step 9 of the constructor.
pub(crate) fn check_protocols(protocols: &[&str]) -> Result<(), DomException> {
    // WHATWG WebSockets section 3.1, "new WebSocket()" step 9: "If any of the values in protocols occur more than once or otherwise fail
    // to match the requirements for elements that comprise the value of `Sec-WebSocket-Protocol` fields as defined by The WebSocket
    // protocol, then throw a "SyntaxError" DOMException."
    let mut seen = HashSet::new();
    for protocol in protocols {
        // RFC 6455 section 4.1: "non-empty strings with characters in the range U+0021 to U+007E not including separator characters as
        // defined in [RFC2616]"
        let fits = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
        if protocol.is_empty() || !protocol.bytes().all(fits) {
            return syntax_error(format!("{protocol:?} is not the name of a subprotocol"));
        }
        if !seen.insert(protocol) {
            return syntax_error(format!("the subprotocol {protocol:?} is there twice"));
        }
    }
    Ok(())
}

/// Whether the port is one that browsers do not connect to, because other protocols live there.
pub(crate) fn is_bad_port(url: &Url) -> bool {
    // Fetch section 2.9, "port blocking": "A port is a bad port if it is listed in the first column of the following table."
    url.port_or_known_default().is_some_and(|port| BAD_PORTS.binary_search(&port).is_ok())
}

#[rustfmt::skip]
const BAD_PORTS: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111,
    113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554,
    556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666,
    6667, 6668, 6669, 6679, 6697, 10080,
];

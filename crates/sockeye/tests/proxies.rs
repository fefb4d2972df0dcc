//! Which proxy is used for which URL.

use sockeye::{Proxies, Proxy, ProxyError};

/// The proxy's host, `none`, or the variable that is wrong.
fn choose(proxies: &Proxies, url: &str) -> String {
    match proxies.choose(&url.parse().unwrap()) {
        Ok(None) => "none".into(),
        Ok(Some(proxy)) => {
            let shown = proxy.to_string();
            shown.trim_start_matches("http://").trim_end_matches(":80").into()
        }
        Err(ProxyError::Environment { variable, .. }) => format!("wrong {variable}"),
        Err(error) => panic!("{error}"),
    }
}

/// The proxies of an environment, written `NAME=value NAME=value`, with `_` for a space in a value.
fn environment(variables: &str) -> Proxies {
    Proxies::from_vars(|wanted| {
        let mut pairs = variables.split(' ').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(name, _)| *name == wanted)?;
        Some(value.replace('_', " "))
    })
}

#[test]
fn variables() {
    for (variables, ws, wss) in [
        ("", "none", "none"),
        ("http_proxy=a", "a", "none"),
        ("HTTP_PROXY=a", "a", "none"),
        ("https_proxy=a", "none", "a"),
        ("HTTPS_PROXY=a", "none", "a"),
        ("all_proxy=a", "a", "a"),
        ("ALL_PROXY=a", "a", "a"),
        ("ws_proxy=a WSS_PROXY=b", "a", "b"),
        ("ws_proxy=a http_proxy=b all_proxy=c", "a", "c"),
        ("WS_PROXY=a http_proxy=b wss_proxy=c https_proxy=d", "a", "c"),
        ("http_proxy=a https_proxy=b all_proxy=c", "a", "b"),
        ("HTTP_PROXY=a HTTPS_PROXY=b all_proxy=c", "a", "b"),
        ("http_proxy=a HTTP_PROXY=b https_proxy=c HTTPS_PROXY=d", "a", "c"),
        ("http_proxy= HTTP_PROXY=b https_proxy= all_proxy=c", "b", "c"),
        ("http_proxy= https_proxy=", "none", "none"),
        ("REQUEST_METHOD=GET HTTP_PROXY=a HTTPS_PROXY=b", "none", "b"),
        ("REQUEST_METHOD=GET HTTP_PROXY=a ALL_PROXY=b", "b", "b"),
        ("REQUEST_METHOD= HTTP_PROXY=a", "a", "none"),
        ("socks_proxy=a ftp_proxy=a proxy=a", "none", "none"),
        ("ALL_PROXY=socks5h://u:p@a", "socks5h://a:1080", "socks5h://a:1080"),
        ("https_proxy=https://a HTTP_PROXY=_a:1_", "a:1", "https://a:443"),
        ("HTTP_PROXY=ftp://a HTTPS_PROXY=b", "wrong HTTP_PROXY", "b"),
        ("all_proxy=http://a:99999", "wrong all_proxy", "wrong all_proxy"),
        ("http_proxy=_ ALL_PROXY=b", "wrong http_proxy", "b"),
        ("ALL_PROXY=a NO_PROXY=*", "none", "none"),
        ("ALL_PROXY=a no_proxy=*", "none", "none"),
        ("ALL_PROXY=a no_proxy=x NO_PROXY=*", "a", "a"),
        ("ALL_PROXY=a no_proxy= NO_PROXY=*", "none", "none"),
        ("ALL_PROXY=a no_proxy=example.com:80", "none", "a"),
        ("ALL_PROXY=a no_proxy=x_.example.com", "none", "none"),
        ("ALL_PROXY=ftp://a no_proxy=example.com:80", "none", "wrong ALL_PROXY"),
        ("NO_PROXY=example.com", "none", "none"),
    ] {
        #[cfg(windows)]
        if variables.contains("REQUEST_METHOD=GET") {
            continue;
        }
        let proxies = environment(variables);
        let chosen = [choose(&proxies, "ws://example.com"), choose(&proxies, "wss://www.example.com")];
        assert_eq!(chosen, [ws, wss], "{variables}");
    }
}

#[test]
fn this_machine_is_no_proxys_business_unless_it_is_said() {
    let found = environment("ALL_PROXY=a");
    let fixed = Proxies::fixed(Proxy::new("a").unwrap());
    for host in
        ["localhost", "LOCALHOST.", "x.localhost", "127.0.0.1", "127.1.2.3", "[::1]", "[::ffff:127.0.0.1]"]
    {
        assert_eq!(choose(&found, &format!("ws://{host}:9000")), "none", "{host}");
        assert_eq!(choose(&fixed, &format!("ws://{host}:9000")), "a", "{host}");
    }
    for host in ["localhost.example", "10.0.0.1", "0.0.0.0", "[::]"] {
        assert_eq!(choose(&found, &format!("ws://{host}")), "a", "{host}");
    }
}

#[test]
fn exceptions_in_code() {
    let proxies = Proxies::fixed(Proxy::new("a").unwrap()).except("localhost, 10.0.0.0/8").except("fd00::/8");
    for (url, expected) in [
        ("ws://localhost", "none"),
        ("ws://10.1.2.3", "none"),
        ("wss://[fd12::1]:8443", "none"),
        ("ws://example.com", "a"),
        ("ws://11.0.0.1", "a"),
    ] {
        assert_eq!(choose(&proxies, url), expected, "{url}");
    }
    assert_eq!(choose(&environment("ALL_PROXY=a").except("example.com"), "ws://example.com"), "none");
    assert_eq!(choose(&Proxies::none(), "ws://example.com"), "none");
    assert_eq!(choose(&Proxies::fixed(None), "ws://example.com"), "none");
}

#[test]
fn nothing_shows_a_password() {
    let proxies =
        environment("http_proxy=http://alice:hunter2@a https_proxy=ftp://alice:hunter2@a no_proxy=b");
    let proxy = proxies.choose(&"ws://example.com".parse().unwrap()).unwrap().unwrap();
    let error = proxies.choose(&"wss://example.com".parse().unwrap()).unwrap_err();
    let fixed = Proxies::fixed(proxy.clone());
    let shown = format!("{proxies:?} {proxy:?} {proxy} {error:?} {error} {fixed:?} {fixed:#?}");
    assert!(!shown.contains("alice") && !shown.contains("hunter2"), "{shown}");
    assert!(error.to_string().contains("https_proxy"), "{error}");
}

//! `sockeye serve`: what is between it and its clients: proxies in front, client certificates, permissions, compression.

#![cfg(unix)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use sockeye::{Client, HeaderName, HeaderValue, Tls};
use support::*;

/// An opening handshake for the echo.
fn request(address: &str) -> String {
    format!(
        "GET /echo HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

#[test]
fn a_proxy_says_by_the_proxy_protocol_who_its_client_is() {
    let flags = ["--proxy-protocol", "192.0.2.0/24", "--proxy-protocol", "127.0.0.1"];
    let serve = Serve::start(&[&flags[..], &["--max-connections-per-addr", "1"]].concat());
    let open = |header: &str| {
        let mut stream = TcpStream::connect(serve.address()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(format!("{header}{}", request(serve.address())).as_bytes()).unwrap();
        stream
    };
    let head = |header: &str| {
        let mut stream = open(header);
        let head = read_head(&mut stream);
        (status(&head).to_owned(), stream)
    };
    let client = |address: &str| head(&format!("PROXY TCP4 {address} 192.0.2.1 1234 80\r\n"));
    let (first, second) = (client("198.51.100.1"), client("198.51.100.2"));
    assert_eq!((&*first.0, &*second.0), ("101 Switching Protocols", "101 Switching Protocols"));
    assert_eq!(client("198.51.100.1").0, "503 Service Unavailable", "each has one connection");
    let mut answer = String::new();
    // It may be reset: what was sent is not read.
    let _ = open("").read_to_string(&mut answer);
    assert!(!answer.contains(" 101 "), "{answer}");
}

#[test]
fn a_proxy_says_in_a_header_field_who_its_client_is() {
    for (header, value) in [("x-forwarded-for", "198.51.100."), ("forwarded", "for=198.51.100.")] {
        let flags = ["--forwarded", header, "--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "127.0.0.1"];
        let serve = Serve::start(&[&flags[..], &["--max-connections-per-addr", "1"]].concat());
        within(async {
            let connect = async |last: u8| {
                let value = HeaderValue::from_str(&format!("{value}{last}")).unwrap();
                let client = Client::new().header(HeaderName::from_static(header), value);
                client.connect(&serve.url()).await
            };
            let _open = (connect(1).await.unwrap(), connect(2).await.unwrap());
            let error = connect(1).await.unwrap_err();
            assert_eq!(error.refusal().unwrap().status.as_u16(), 503, "each has one connection");
        });
    }
    for half in [["--forwarded", "forwarded"], ["--trusted-proxy", "unix"]] {
        assert_eq!(run(&["serve", half[0], half[1]], "").code, Some(2));
    }
}

#[test]
fn clients_show_certificates() {
    let directory = Directory::new();
    let (file, mine, other) = (directory.file("clients.pem"), certificate(), certificate());
    fs::write(&file, &mine.0).unwrap();
    let serve = Serve::start(&["--tls-self-signed", "--tls-client-ca", &file]);
    let any = || Tls::default().dangerously_accept_any_certificate();
    let showing = |(chain, key): &(String, String)| {
        any().client_certificate_pem(chain.as_bytes(), key.as_bytes()).unwrap()
    };
    within(async {
        let url = format!("wss://{}/echo", serve.address());
        let connect = async |tls| Client::new().tls(tls).connect(&url).await;
        echoes(&mut connect(showing(&mine)).await.unwrap()).await;
        assert!(connect(any()).await.is_err());
        assert!(connect(showing(&other)).await.is_err());
    });
    assert_eq!(run(&["serve", "--tls-client-ca", &file], "").code, Some(2), "there is no TLS");
    fs::write(&file, "").unwrap();
    let wrong = run(&["serve", "--listen", "127.0.0.1:0", "--tls-self-signed", "--tls-client-ca", &file], "");
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains(&file), "{}", wrong.stderr);
}

#[test]
fn unix_sockets_have_the_permissions_wanted() {
    let directory = Directory::new();
    let path = directory.file("socket");
    let serve = Serve::start(&["--listen", &format!("unix:{path}"), "--unix-mode", "621"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o621);
    assert_eq!(serve.stop().code, Some(0));
}

#[test]
fn it_compresses_as_hard_as_wanted() {
    let mut text = String::new();
    for number in 0..2000u32 {
        text += &number.wrapping_mul(number).wrapping_mul(2_654_435_761).to_string();
    }
    let sent = |level: &str| -> usize {
        let serve = Serve::start(&["--deflate-level", level]);
        within(async {
            let mut ws = sockeye::connect(&serve.url()).await.unwrap();
            ws.send(&*text).await.unwrap();
            assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some(&*text));
            ws.close(1000, "").await.unwrap();
        });
        let body = metrics_with(serve.address(), &["sockeye_connections_open 0"]);
        let name = "sockeye_wire_bytes_total{direction=\"sent\"} ";
        body.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    };
    let (plain, fast, small) = (sent("0"), sent("1"), sent("9"));
    assert!(plain > text.len() && fast < text.len() && small < fast, "{plain}, {fast}, {small}");
    assert_eq!(run(&["serve", "--deflate-level", "1", "--no-deflate"], "").code, Some(2));
}

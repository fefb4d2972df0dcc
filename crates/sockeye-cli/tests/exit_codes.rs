//! Every exit code, and what is said on stderr with it.

#![cfg(unix)]

mod support;

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use rustix::process::Signal;
use support::*;

/// Connects with an empty input, and gives the exit code and stderr; stdout has to be empty.
fn connect(url: &str) -> (i32, String) {
    let run = run(&["connect", "--wait", "inf", url], "");
    assert_eq!(run.out(), "");
    (run.code.expect("no signal"), run.stderr)
}

/// What comes of a server that does this after the opening handshake.
fn after_opening(serve: impl FnOnce(TcpStream) + Send + 'static) -> (i32, String) {
    let (url, server) = websocket(serve);
    let result = connect(&url);
    wait(&server);
    result
}

/// What comes of a server that answers the opening handshake like this.
fn answered(response: &str) -> (i32, String) {
    let response = response.to_owned();
    let (url, server) = server(move |mut stream| {
        read_head(&mut stream);
        stream.write_all(response.as_bytes()).unwrap();
    });
    let result = connect(&url);
    wait(&server);
    result
}

#[test]
fn clean_is_0() {
    for (code, name) in [(1000, "normal closure"), (1001, "going away")] {
        let (exit, stderr) = after_opening(move |stream| close(stream, code, ""));
        assert_eq!((exit, &stderr[..]), (0, ""), "{name}");
    }
    let (exit, _) = after_opening(|mut stream| {
        stream.write_all(&frame(CLOSE, b"")).unwrap();
        read_until_close(stream);
    });
    assert_eq!(exit, 0, "no code");
}

#[test]
fn text_that_is_not_utf8_is_1() {
    let (url, server) = websocket(read_until_close);
    let run = run(&["connect", "--wait", "0", &url], b"good\n\xff\nmore\n");
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.starts_with("sockeye: line 2 of the input is not UTF-8"), "{}", run.stderr);
    assert_eq!(wait(&server), (vec![(TEXT, b"good".to_vec())], Some(1000)));
}

#[test]
fn usage_is_2() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage: sockeye <COMMAND>"),
        (&["dance"], "unrecognized subcommand 'dance'"),
        (&["connect"], "<URL>"),
        (&["connect", "127.0.0.1:9000/echo"], "Perhaps: sockeye connect ws://127.0.0.1:9000/echo"),
        (&["connect", "localhost:9000"], "Perhaps: sockeye connect ws://localhost:9000"),
        (&["connect", "http://a.example/b"], "Perhaps: sockeye connect ws://a.example/b"),
        (&["connect", "ws://a.example/#b"], "fragment"),
        (&["connect", "ws://"], "no host"),
        (&["connect", "-H", "Name", "ws://a.example"], "it must be 'Name: value'"),
        (&["connect", "-H", "Sec-WebSocket-Protocol: a", "ws://a.example"], "offered with -s"),
        (&["connect", "-s", "", "ws://a.example"], "a name is empty"),
        (&["connect", "--wait", "soon", "ws://a.example"], "a number of seconds"),
        (&["connect", "--chunk", "9", "ws://a.example"], "--binary"),
        (&["connect", "--cacert", "/nowhere", "wss://a.example"], "/nowhere"),
        (&["connect", "--cacert", "Cargo.toml", "wss://a.example"], "--cacert Cargo.toml: "),
        (&["connect", "--cert", "Cargo.toml", "wss://a.example"], "--cert Cargo.toml: "),
        (
            &["connect", "-x", "https://a.example", "--proxy-cacert", "Cargo.toml", "ws://a.example"],
            "--proxy-cacert Cargo.toml: ",
        ),
        (&["serve", "--listen", "9000"], "an address and a port"),
        (&["serve", "--allow-origin", "https://a.example/"], "is no origin such as"),
        (&["serve", "--allow-host", "a.example:80"], "without a port"),
    ];
    for (args, said) in cases {
        let run = run(args, "");
        assert_eq!((run.code, run.out()), (Some(2), ""), "{args:?}");
        assert!(run.stderr.contains(said), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn what_the_library_would_not_send_is_2() {
    for option in [["-H", "Upgrade: h2c"], ["-s", "not a token"], ["-s", "twice,twice"]] {
        let (url, _server) = server(drop);
        let run = run(&["connect", option[0], option[1], &url], "");
        assert_eq!(run.code, Some(2), "{option:?}: {}", run.stderr);
    }
}

#[test]
fn not_to_be_able_to_listen_is_3() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = run(&["serve", "--listen", "127.0.0.1:0", "--listen", &address], "");
    // Nothing is said to be listening when something is not.
    assert_eq!((run.code, run.out()), (Some(3), ""));
    assert!(run.stderr.starts_with(&format!("sockeye: cannot listen on {address}: ")), "{}", run.stderr);
}

#[test]
fn an_unknown_host_is_10() {
    // No resolver has to be asked: a label has at most 63 characters.
    let (exit, stderr) = connect(&format!("ws://{}.invalid/", "a".repeat(64)));
    assert_eq!(exit, 10, "{stderr}");
    assert!(stderr.starts_with("sockeye: cannot resolve aaaa"), "{stderr}");
}

#[test]
fn a_closed_port_is_11() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (exit, stderr) = connect(&format!("ws://{address}/"));
    assert_eq!(exit, 11, "{stderr}");
    assert!(stderr.starts_with(&format!("sockeye: cannot connect to {address}: ")), "{stderr}");
}

#[test]
fn another_http_status_is_14() {
    let body = "No \x1b[31mroom\x1b[m here.\nTry /b\n";
    let length = body.len();
    let (exit, stderr) =
        answered(&format!("HTTP/1.1 404 Not Found\r\nContent-Length: {length}\r\n\r\n{body}"));
    assert_eq!(exit, 14);
    assert_eq!(
        stderr,
        "sockeye: the server refused the handshake with HTTP status 404 Not Found\n  \
         No \\x1b[31mroom\\x1b[m here.\n  Try /b\n"
    );

    let (exit, stderr) = answered("HTTP/1.1 302 Found\r\nLocation: ws://b.example/\r\n\r\n");
    assert_eq!(exit, 14);
    assert!(stderr.ends_with("302 Found\n  location: ws://b.example/\n"), "{stderr}");

    let body = "line\n".repeat(1000);
    let (exit, stderr) = answered(&format!("HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n{body}"));
    assert_eq!(exit, 14);
    assert!(stderr.lines().count() < 20 && stderr.ends_with("  line\n  …\n"), "{stderr}");
}

#[test]
fn a_bad_handshake_is_15() {
    let (exit, stderr) = answered(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
    );
    assert_eq!(exit, 15);
    assert!(stderr.contains("Sec-WebSocket-Accept"), "{stderr}");

    let (exit, stderr) = answered("SSH-2.0-OpenSSH_9.9\r\n\r\n");
    assert_eq!(exit, 15, "{stderr}");

    let (url, _server) = server(|mut stream| {
        let head = read_head(&mut stream);
        accept(&mut stream, &head, "Sec-WebSocket-Protocol: chat\r\n");
    });
    assert_eq!(connect(&url).0, 15, "a subprotocol that was not offered");
}

#[test]
fn a_protocol_violation_is_16() {
    let violations: [(&str, &[u8], u16); 3] = [
        ("a masked frame", b"\x81\x81\0\0\0\0a", 1002),
        ("a reserved opcode", b"\x83\x00", 1002),
        ("text that is not UTF-8", b"\x81\x01\xff", 1007),
    ];
    for (name, bytes, code) in violations {
        let (exit, stderr) = after_opening(move |mut stream| {
            stream.write_all(bytes).unwrap();
            assert_eq!(read_until_close(stream), (vec![], Some(code)), "{name}");
        });
        assert_eq!(exit, 16, "{name}: {stderr}");
        assert!(stderr.starts_with("sockeye: the peer broke the protocol: "), "{name}: {stderr}");
    }
}

#[test]
fn a_close_with_another_code_is_17() {
    let (exit, stderr) = after_opening(|stream| close(stream, 1011, ""));
    assert_eq!((exit, &stderr[..]), (17, "closed by the server: code 1011\n"));
    let (exit, stderr) = after_opening(|stream| close(stream, 4000, "no \x1b[31mroom"));
    assert_eq!((exit, &stderr[..]), (17, "closed by the server: code 4000, no \\x1b[31mroom\n"));
}

#[test]
fn a_silent_server_is_18() {
    let (done, is_done) = std::sync::mpsc::channel();
    let (url, server) = server(move |mut stream| {
        read_head(&mut stream);
        wait(&is_done);
    });
    let run = run(&["connect", "--connect-timeout", "0.1", &url], "");
    assert_eq!(run.code, Some(18));
    let said = "sockeye: the connection was not opened in time [the opening handshake, ";
    assert!(run.stderr.starts_with(said), "{}", run.stderr);
    done.send(()).unwrap();
    wait(&server);
}

#[test]
fn a_lost_connection_is_19() {
    let (exit, stderr) = after_opening(drop);
    assert_eq!(exit, 19, "after the handshake: {stderr}");
    assert!(stderr.starts_with("sockeye: the connection was lost: "), "{stderr}");
    let (exit, stderr) = answered("");
    assert_eq!(exit, 19, "before its answer: {stderr}");
    let (exit, stderr) = answered("HTTP/1.1 101 Switching");
    assert_eq!(exit, 19, "within its answer: {stderr}");

    let (url, server) = websocket(|mut stream| assert_eq!(read_frame(&mut stream).0, CLOSE));
    let run = run(&["connect", "--wait", "0", &url], "");
    assert_eq!(run.code, Some(19), "no answer to our Close");
    assert_eq!(
        run.stderr,
        "closed by us, not cleanly (1006): the server ended the connection without a Close\n"
    );
    wait(&server);
}

#[test]
fn an_interrupt_is_130_and_closes_with_1000() {
    for signal in [Signal::INT, Signal::TERM] {
        let (url, server) = websocket(|mut stream| {
            stream.write_all(&frame(TEXT, b"open")).unwrap();
            read_until_close(stream)
        });
        let mut program = Program::start(&["connect", "-v", &url]);
        let stdin = program.stdin();
        assert_eq!(program.line(), "open\n");
        program.signal(signal);
        assert_eq!(wait(&server), (vec![], Some(1000)));
        let run = program.finish();
        assert_eq!(run.code, Some(130));
        assert!(run.stderr.ends_with("closed by us: code 1000\n"), "{}", run.stderr);
        drop(stdin);
    }
}

#[test]
fn an_interrupt_ends_the_opening() {
    let (asked, is_asked) = std::sync::mpsc::channel();
    let (url, server) = server(move |mut stream| {
        read_head(&mut stream);
        asked.send(()).unwrap();
        // Until the client gives up.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let program = Program::start(&["connect", &url]);
    wait(&is_asked);
    program.signal(Signal::INT);
    assert_eq!(program.exit_status().code(), Some(130));
    wait(&server);
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let (closing, is_closing) = std::sync::mpsc::channel();
    let (url, server) = websocket(move |mut stream| {
        stream.write_all(&frame(TEXT, b"open")).unwrap();
        assert_eq!(read_frame(&mut stream).0, CLOSE);
        closing.send(std::time::Instant::now()).unwrap();
        // The Close is never answered.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut program = Program::start(&["connect", &url]);
    let stdin = program.stdin();
    assert_eq!(program.line(), "open\n");
    program.signal(Signal::INT);
    let since = wait(&is_closing);
    program.signal(Signal::INT);
    assert_eq!(program.exit_status().code(), Some(130));
    assert!(since.elapsed().as_secs() < 4, "the closing deadline is 5 s");
    wait(&server);
    drop(stdin);
}

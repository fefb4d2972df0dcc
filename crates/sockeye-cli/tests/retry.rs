//! `sockeye connect --retry`: connecting again.

#![cfg(unix)]

mod support;

use std::io::Write;
use std::net::TcpListener;

use support::*;

#[test]
fn a_lost_connection_is_made_again_and_input_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = spawn(move || {
        let (mut refused, _) = listener.accept().unwrap();
        read_head(&mut refused);
        refused.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").unwrap();
        let (mut lost, _) = listener.accept().unwrap();
        open(&mut lost);
        lost.write_all(&frame(TEXT, b"before")).unwrap();
        drop(lost);
        let (mut closed, _) = listener.accept().unwrap();
        open(&mut closed);
        close(closed, 1012, "restart");
        let (mut last, _) = listener.accept().unwrap();
        open(&mut last);
        last.write_all(&frame(TEXT, b"after")).unwrap();
        read_until_close(last)
    });
    let mut program =
        Program::start(&["connect", "--wait", "0.2", "--retry", "3", "--retry-delay", "0.01", &url]);
    let mut stdin = program.stdin();
    assert_eq!(program.line(), "before\n");
    assert_eq!(program.line(), "after\n");
    stdin.write_all(b"hello\n").unwrap();
    drop(stdin);
    let run = program.finish();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(wait(&server), (vec![(TEXT, b"hello".to_vec())], Some(1000)));
    for said in [
        "503 Service Unavailable; trying again",
        "the connection was lost",
        "1012, restart",
        "trying again in",
        "connected again",
    ] {
        assert!(run.stderr.contains(said), "{said}: {}", run.stderr);
    }
}

#[test]
fn it_is_given_up_after_so_many_failures_and_at_once_where_nothing_would_change() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let once = run(&["connect", "--retry", "1", "--retry-delay", "0", &format!("ws://{address}/")], "");
    assert_eq!(once.code, Some(11), "{}", once.stderr);
    assert_eq!(once.stderr.matches("trying again").count(), 1, "{}", once.stderr);

    let (url, _server) = server(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let refused = run(&["connect", "--retry", "inf", &url], "");
    assert_eq!((refused.code, refused.stderr.contains("trying again")), (Some(14), false));
}

#[test]
fn a_close_with_1000_is_the_end() {
    let (url, server) = websocket(|stream| close(stream, 1000, ""));
    assert_eq!(run(&["connect", "--wait", "inf", "--retry", "inf", &url], "").code, Some(0));
    wait(&server);
}

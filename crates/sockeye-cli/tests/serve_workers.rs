//! `sockeye serve --workers`: several threads that are one server.

#![cfg(unix)]

mod support;

use std::fs;
use std::io::BufReader;

use rustix::process::Signal;
use sockeye::{Client, Tls};
use support::*;

/// How many sockets listen on a port of 127.0.0.1.
#[cfg(target_os = "linux")]
fn listening(address: &str) -> usize {
    let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let local = format!(" 0100007F:{port:04X} 00000000:0000 0A ");
    fs::read_to_string("/proc/net/tcp").unwrap().lines().filter(|line| line.contains(&local)).count()
}

#[test]
fn workers_share_limits_metrics_and_the_end() {
    let flags = ["--workers", "3", "--max-connections", "20", "--metrics-listen", "127.0.0.1:0"];
    let serve = Serve::start(&flags);
    let metrics = serve.metrics.clone().unwrap();
    #[cfg(target_os = "linux")]
    assert_eq!(listening(serve.address()), 3);
    within(async {
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut ws = sockeye::connect(&serve.url()).await.unwrap();
            echoes(&mut ws).await;
            clients.push(ws);
        }
        // Whichever of them is asked: all of them together have enough.
        for _ in 0..10 {
            let error = sockeye::connect(&serve.url()).await.unwrap_err();
            assert_eq!(error.refusal().unwrap().status.as_u16(), 503);
        }
        metrics_with(&metrics, &["sockeye_connections_open 20", "sockeye_connections_total 20"]);
        serve.program.signal(Signal::TERM);
        for mut ws in clients {
            assert_eq!(ws.recv().await.unwrap(), None);
            let info = ws.close_info().unwrap();
            assert!(info.clean && info.code == 1001, "{info:?}");
        }
    });
    let run = serve.finish();
    assert_eq!((run.code, &*run.stderr), (Some(0), "closing all connections; Ctrl-C again to end at once\n"));
}

#[test]
fn those_that_do_not_close_are_counted_together() {
    let serve = Serve::start(&["--workers", "2", "--close-timeout", "0.1"]);
    within(async {
        let mut clients = Vec::new();
        for _ in 0..10 {
            let mut ws = sockeye::connect(&serve.url()).await.unwrap();
            echoes(&mut ws).await;
            clients.push(ws);
        }
        serve.program.signal(Signal::TERM);
        let run = serve.finish();
        assert_eq!(run.code, Some(0));
        assert!(run.stderr.ends_with("\n0 closed cleanly, 10 did not\n"), "{}", run.stderr);
    });
}

#[test]
fn a_second_interrupt_ends_workers_too() {
    let serve = Serve::start(&["--workers", "2", "--close-timeout", "0"]);
    within(async {
        let mut ws = sockeye::connect(&serve.url()).await.unwrap();
        echoes(&mut ws).await;
        serve.program.signal(Signal::INT);
        while std::net::TcpStream::connect(serve.address()).is_ok() {}
        serve.program.signal(Signal::INT);
        assert_eq!(serve.finish().code, Some(130));
        drop(ws);
    });
}

#[test]
fn workers_listen_on_unix_sockets_and_by_tls_and_are_reloaded() {
    let directory = Directory::new();
    let (file, path) = (directory.file("serve.toml"), directory.file("socket"));
    let text = "listen = ['unix:socket', '127.0.0.1:0']\ntls-self-signed = true\nworkers = 2\n";
    fs::write(&file, text).unwrap();
    let mut serve = Serve::run(Program::start(&["serve", "--config", &file]), 2);
    let mut stderr = BufReader::new(serve.program.stderr());
    assert!(line(&mut stderr).starts_with("certificate made"));
    let any = || Client::new().proxy(None).tls(Tls::default().dangerously_accept_any_certificate());
    within(async {
        let mut clients = Vec::new();
        for _ in 0..10 {
            let mut ws = any().unix_socket(&path).connect("wss://localhost/echo").await.unwrap();
            echoes(&mut ws).await;
            clients.push(ws);
        }
        fs::write(&file, format!("{text}max-connections = 10\n")).unwrap();
        serve.program.signal(Signal::HUP);
        assert_eq!(line(&mut stderr), "read again: configuration; changed: max-connections\n");
        let url = format!("wss://{}/echo", serve.addresses[1]);
        for _ in 0..10 {
            assert!(any().connect(&url).await.is_err());
        }
    });
    assert_eq!(serve.stop().code, Some(0));
    assert!(!std::path::Path::new(&path).exists());
}

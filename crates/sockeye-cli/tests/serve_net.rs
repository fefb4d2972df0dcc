//! `sockeye serve`: TLS, sockets of all kinds, limits, and its end.

#![cfg(unix)]

mod support;

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sockeye::{Client, Error, Tls, WebSocket};
use support::*;

async fn secure(tls: Tls, serve: &Serve) -> Result<WebSocket, Error> {
    Client::new().proxy(None).tls(tls).connect(&format!("wss://{}/echo", serve.address())).await
}

#[test]
fn a_certificate_is_made_and_its_fingerprint_told() {
    let mut serve = Serve::start(&["--tls-self-signed"]);
    let told = line(&mut BufReader::new(serve.program.stderr()));
    within(async {
        let error = secure(Tls::default(), &serve).await.unwrap_err();
        assert!(error.to_string().contains("is signed by itself"), "{error}");
        let any = Tls::default().dangerously_accept_any_certificate();
        let mut ws = secure(any, &serve).await.unwrap();
        echoes(&mut ws).await;
        let shown = &ws.handshake().unwrap().tls.as_ref().unwrap().certificates[0];
        let hash = hmac_sha256::Hash::hash(shown).map(|byte| format!("{byte:02X}")).join(":");
        assert_eq!(told, format!("certificate made for this run, SHA-256 {hash}\n"));
        ws.close(1000, "").await.unwrap();
    });
    assert_eq!(serve.stop().code, Some(0));
}

#[test]
fn files_that_cannot_be_used_are_told() {
    let directory = Directory::new();
    let (chain, key) = (directory.file("chain.pem"), directory.file("key.pem"));
    let (chain_pem, key_pem) = certificate();
    fs::write(&chain, chain_pem).unwrap();
    fs::write(&key, key_pem).unwrap();
    let none = directory.file("none");
    let wrong = run(&["serve", "--listen", "127.0.0.1:0", "--tls-cert", &chain, "--tls-key", &none], "");
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("cannot read") && wrong.stderr.contains("none"), "{}", wrong.stderr);
    for half in [["--tls-cert", &chain], ["--tls-key", &key]] {
        assert_eq!(run(&["serve", half[0], half[1]], "").code, Some(2));
    }
}

#[test]
fn a_unix_socket_is_listened_on_and_removed() {
    let directory = Directory::new();
    let path = directory.file("socket");
    let serve = Serve::start(&["--listen", &format!("unix:{path}"), "--listen", "127.0.0.1:0"]);
    assert_eq!(serve.addresses[0], format!("unix:{path}"));
    within(async {
        let client = Client::new().unix_socket(&path);
        let mut ws = client.connect("ws://any.example/echo").await.unwrap();
        echoes(&mut ws).await;
        ws.close(1000, "").await.unwrap();
        // The other one answers to its own names, as if it were alone.
        let host = sockeye::HeaderValue::from_static("any.example");
        let client = Client::new().proxy(None).header(sockeye::header::HOST, host);
        let error = client.connect(&format!("ws://{}/echo", serve.addresses[1])).await.unwrap_err();
        assert_eq!(error.refusal().unwrap().status.as_u16(), 421);
    });
    let second = run(&["serve", "--listen", &format!("unix:{path}")], "");
    assert_eq!(second.code, Some(3), "{second:?}");
    assert_eq!(serve.stop().code, Some(0));
    assert!(!PathBuf::from(path).exists());
}

#[test]
fn sockets_are_inherited() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // As systemd does it: the socket is descriptor 3, and the environment says so, in the process that will be the program.
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve --listen inherited";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_sockeye")]);
    command.stdin(listener.as_fd().try_clone_to_owned().unwrap());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let serve = Serve::run(child.into(), 1);
    assert_eq!(serve.address(), address);
    within(async { echoes(&mut sockeye::connect(&serve.url()).await.unwrap()).await });
    assert_eq!(serve.stop().code, Some(0));

    let none = run(&["serve", "--listen", "inherited"], "");
    assert_eq!(none.code, Some(3));
    assert!(none.stderr.contains("LISTEN_FDS"), "{}", none.stderr);
}

#[test]
fn connections_beyond_the_limit_are_refused() {
    let serve = Serve::start(&["--max-connections", "1"]);
    within(async {
        let mut first = sockeye::connect(&serve.url()).await.unwrap();
        let error = sockeye::connect(&serve.url()).await.unwrap_err();
        assert_eq!(error.refusal().unwrap().status.as_u16(), 503);
        echoes(&mut first).await;
    });
    serve.stop();
}

#[test]
fn connections_are_closed_over_a_time() {
    let serve = Serve::start(&["--drain", "0.3"]);
    within(async {
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut ws = sockeye::connect(&serve.url()).await.unwrap();
            echoes(&mut ws).await;
            clients.push(tokio::spawn(async move {
                assert_eq!(ws.recv().await.unwrap(), None);
                Instant::now()
            }));
        }
        let start = Instant::now();
        serve.program.signal(Signal::TERM);
        let mut last = start;
        for client in clients {
            last = last.max(client.await.unwrap());
        }
        assert!(last - start >= Duration::from_millis(200), "the last third is closed in the last third");
    });
    let run = serve.finish();
    assert_eq!((run.code, &*run.stderr), (Some(0), "closing all connections; Ctrl-C again to end at once\n"));
}

/// How much of the processor's time a process has used, in ticks of a hundredth of a second.
#[cfg(target_os = "linux")]
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn the_want_of_file_descriptors_is_survived() {
    let script = "ulimit -n 40; exec \"$0\" serve --listen 127.0.0.1:0";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_sockeye")]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let mut serve = Serve::run(child.into(), 1);
    let mut stderr = BufReader::new(serve.program.stderr());
    let mut taken: Vec<_> = (0..60).map(|_| TcpStream::connect(serve.address()).unwrap()).collect();
    let told = line(&mut stderr);
    assert!(told.starts_with("sockeye: cannot accept connections: "), "{told}");

    // While it waits it does next to nothing: it would use all of this second.
    let before = ticks(pid);
    std::thread::sleep(Duration::from_secs(1));
    let used = ticks(pid) - before;
    assert!(used <= 25, "{used} hundredths of a second");
    // Those that are there are served meanwhile.
    let first = &mut taken[0];
    first.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");

    drop(taken);
    within(async { echoes(&mut sockeye::connect(&serve.url()).await.unwrap()).await });
    serve.program.signal(Signal::INT);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "closing all connections; Ctrl-C again to end at once\n", "it is told once");
    assert_eq!(serve.finish().code, Some(0));
}

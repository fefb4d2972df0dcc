//! `sockeye serve --config`: options from a file.

#![cfg(unix)]

mod support;

use std::fs;
use std::path::Path;

use sockeye::{Client, HeaderValue, WebSocket};
use support::*;

/// Starts the server with a file of this text, listening on so many sockets, and with these arguments.
fn start(directory: &Directory, text: &str, listeners: usize, arguments: &[&str]) -> Serve {
    let file = directory.file("serve.toml");
    fs::write(&file, text).unwrap();
    Serve::run(Program::start(&[&["serve", "--config", &file], arguments].concat()), listeners)
}

/// Starts it with a file that is wrong, or does not go with these arguments; what is told of it.
fn wrong(directory: &Directory, text: &str, arguments: &[&str]) -> String {
    let file = directory.file("serve.toml");
    fs::write(&file, text).unwrap();
    let run = run(&[&["serve", "--config", &file], arguments].concat(), "");
    assert_eq!((run.code, run.out()), (Some(2), ""), "{text} {arguments:?}: {}", run.stderr);
    let told = run.stderr.lines().next().unwrap();
    told.strip_prefix("error: ").unwrap().replace(&file, "FILE")
}

async fn connect(serve: &Serve) -> Result<WebSocket, sockeye::Error> {
    sockeye::connect(&serve.url()).await
}

#[test]
fn options_come_from_the_file() {
    let directory = Directory::new();
    let text = "\
        listen = ['127.0.0.1:0', 'unix:socket'] # beside this file\n\
        unix-mode = 0o600\n\
        allow-origin = 'https://app.example'\n\
        no-deflate = true\n";
    let serve = start(&directory, text, 2, &[]);
    assert!(Path::new(&directory.file("socket")).exists());
    within(async {
        let client = Client::new().origin(HeaderValue::from_static("https://app.example"));
        let mut ws = client.connect(&serve.url()).await.unwrap();
        assert!(ws.handshake().unwrap().extensions.is_empty());
        echoes(&mut ws).await;
        ws.close(1000, "").await.unwrap();
    });
    assert_eq!(serve.stop().code, Some(0));
}

#[test]
fn the_command_line_wins_option_by_option() {
    let directory = Directory::new();
    let text = "listen = ['192.0.2.1:1', '192.0.2.2:1']\nmax-connections = 1\ndrain-code = 1012\n";
    let serve = start(&directory, text, 1, &["--max-connections", "2", "--listen", "127.0.0.1:0"]);
    within(async {
        let (mut first, _second) = (connect(&serve).await.unwrap(), connect(&serve).await.unwrap());
        assert!(connect(&serve).await.is_err());
        echoes(&mut first).await;
        serve.program.signal(rustix::process::Signal::TERM);
        assert_eq!(first.recv().await.unwrap(), None);
        assert_eq!(first.close_info().unwrap().code, 1012, "that is the file's");
    });
}

#[test]
fn what_is_wrong_with_it_is_told() {
    let directory = Directory::new();
    assert_eq!(
        wrong(&directory, "drain-code = 1000", &[]),
        "FILE, line 1: drain-code: it must be 1001 or 1012"
    );
    assert_eq!(
        wrong(&directory, "\nforwarded = 'forwarded'", &[]),
        "the following required arguments were not provided: --trusted-proxy <NETWORK> (FILE, line 2: forwarded)"
    );
    assert_eq!(
        wrong(&directory, "no-deflate = true", &["--deflate-level", "3"]),
        "the argument '--no-deflate' cannot be used with '--deflate-level <N>' (FILE, line 1: no-deflate)"
    );
    // It is not the file's fault.
    assert_eq!(wrong(&directory, "drain = 1", &["--unknown"]), "unexpected argument '--unknown' found");
    let run = run(&["serve", "--config", &directory.file("none")], "");
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.starts_with("error: cannot read "), "{}", run.stderr);
}

#[test]
fn what_one_has_begun_the_other_may_complete() {
    let directory = Directory::new();
    let serve = start(
        &directory,
        "listen = '127.0.0.1:0'\nforwarded = 'forwarded'\n",
        1,
        &["--trusted-proxy", "127.0.0.1"],
    );
    assert_eq!(serve.stop().code, Some(0));
}

/// All of it but where to listen.
#[test]
fn the_documented_file_is_right() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/serve.md");
    let document = fs::read_to_string(document).unwrap();
    let text = document.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
    let directory = Directory::new();
    let (chain, key) = certificate();
    for (name, content) in [("chain.pem", &*chain), ("key.pem", &*key), ("metrics.token", "T0ken\n")] {
        fs::write(directory.file(name), content).unwrap();
    }
    let here = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let serve = start(&directory, text, 1, &here);
    assert_eq!(serve.stop().code, Some(0));
}

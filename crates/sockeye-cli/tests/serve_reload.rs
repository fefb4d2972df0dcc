//! `sockeye serve`: what is changed while it runs, and what systemd is told.

#![cfg(unix)]

mod support;

use std::fs;
use std::io::BufReader;
use std::process::ChildStderr;

use rustix::process::Signal;
use sockeye::{Client, Error, HeaderValue, Tls, WebSocket};
use support::*;

/// The server, and the file that it was started with.
struct Reloaded {
    directory: Directory,
    serve: Serve,
    stderr: BufReader<ChildStderr>,
}

impl Reloaded {
    /// Starts it with a file of this text, and `listen`.
    fn start(text: &str, arguments: &[&str]) -> Self {
        Self::start_in(Directory::new(), text, arguments)
    }

    fn start_in(directory: Directory, text: &str, arguments: &[&str]) -> Self {
        let file = directory.file("serve.toml");
        fs::write(&file, format!("listen = '127.0.0.1:0'\n{text}")).unwrap();
        let program = Program::start(&[&["serve", "--config", &file], arguments].concat());
        let mut serve = Serve::run(program, 1);
        let stderr = BufReader::new(serve.program.stderr());
        Self { directory, serve, stderr }
    }

    /// Sends SIGHUP; what is told of that.
    fn hang_up(&mut self) -> String {
        self.serve.program.signal(Signal::HUP);
        line(&mut self.stderr).trim_end().replace(&self.directory.file(""), "")
    }

    /// The same with another text in the file.
    fn change(&mut self, text: &str) -> String {
        fs::write(self.directory.file("serve.toml"), format!("listen = '127.0.0.1:0'\n{text}")).unwrap();
        self.hang_up()
    }

    async fn connect(&self) -> Result<WebSocket, Error> {
        sockeye::connect(&self.serve.url()).await
    }

    /// Whether a page of that origin comes in.
    fn lets_in(&self, origin: &'static str) -> bool {
        let client = Client::new().origin(HeaderValue::from_static(origin));
        within(client.connect(&self.serve.url())).is_ok()
    }
}

#[test]
fn what_can_be_changed_is_and_the_rest_is_told() {
    let mut server = Reloaded::start("max-connections = 1\nallow-origin = 'https://a.example'\n", &[]);
    within(async {
        let mut first = server.connect().await.unwrap();
        assert!(server.connect().await.is_err());
        let text = "max-connections = 30\nallow-host = 'b.example'\nallow-origin = 'https://*.b.example'\n";
        assert_eq!(
            server.change(text),
            "read again: configuration; changed: allow-host, allow-origin, max-connections"
        );
        echoes(&mut first).await;
        let second = server.connect().await.unwrap();
        drop(second);
    });
    assert!(server.lets_in("https://a.b.example") && !server.lets_in("https://a.example"));
    let asked = "GET /healthz HTTP/1.1\r\nHost: b.example\r\n\r\n";
    assert_eq!(status(&http(server.serve.address(), asked).0), "200 OK");
    assert_eq!(server.hang_up(), "read again: configuration");

    // All that there was in the file before is as if it had not been there.
    let told = server.change("workers = 2\nlog = 'text'\ntls-self-signed = true\n");
    assert_eq!(
        told,
        "read again: configuration; changed: allow-host, allow-origin, max-connections; \
         after a restart: log, tls-self-signed, workers"
    );
    assert_eq!(status(&http(server.serve.address(), asked).0), "421 Misdirected Request");
    assert!(within(server.connect()).is_ok(), "TLS is still off");
    assert_eq!(server.change("drain-code = 1012"), "read again: configuration; changed: drain-code");
    within(async {
        let mut ws = server.connect().await.unwrap();
        echoes(&mut ws).await;
        server.serve.program.signal(Signal::TERM);
        assert_eq!(ws.recv().await.unwrap(), None);
        assert_eq!(ws.close_info().unwrap().code, 1012);
    });
}

#[test]
fn limits_and_deadlines_hold_for_whoever_comes_then() {
    let mut server = Reloaded::start("", &["--ping-timeout", "5"]);
    within(async {
        let mut before = server.connect().await.unwrap();
        let told = server.change("max-message-size = 10\nping-timeout = 1\nmax-header-size = 1000\n");
        let expected = "read again: configuration; changed: max-header-size, max-message-size";
        assert_eq!(told, expected, "the command line has the word on --ping-timeout");
        before.send("0123456789a").await.unwrap();
        assert!(before.recv().await.unwrap().is_some());
        let mut after = server.connect().await.unwrap();
        after.send("0123456789a").await.unwrap();
        assert_eq!(after.recv().await.unwrap(), None);
        assert_eq!(after.close_info().unwrap().code, 1009);
    });
}

#[test]
fn a_file_that_is_wrong_changes_nothing() {
    let mut server = Reloaded::start("max-connections = 1\n", &[]);
    within(async {
        let mut first = server.connect().await.unwrap();
        for (text, told) in [
            (
                "max-connections = 2\ndrain = 'x'",
                "serve.toml, line 3: drain: it must be a number of seconds, such as 2.5",
            ),
            (
                "max-connections = 2\nmetrics-token-file = 'none'",
                "--metrics-token-file: No such file or directory (os error 2)",
            ),
            ("max-connections = ", "serve.toml, line 2: "),
        ] {
            let expected = format!("sockeye: all stays as it was: {told}");
            let told = server.change(text);
            assert!(told.starts_with(&expected), "{text}: {told}");
            echoes(&mut first).await;
            assert!(server.connect().await.is_err(), "there is still one connection at most");
        }
    });
    fs::remove_file(server.directory.file("serve.toml")).unwrap();
    assert!(server.hang_up().starts_with("sockeye: all stays as it was: cannot read serve.toml: "));
}

async fn secure(tls: Tls, serve: &Serve) -> Result<WebSocket, Error> {
    Client::new().proxy(None).tls(tls).connect(&format!("wss://{}/echo", serve.address())).await
}

#[test]
fn the_certificate_and_the_cas_of_clients_are_read_again() {
    let directory = Directory::new();
    let write = |(chain, key): (&str, &str), clients: &str| {
        for (name, text) in [("chain.pem", chain), ("key.pem", key), ("clients.pem", clients)] {
            fs::write(directory.file(name), text).unwrap();
        }
    };
    let (old, new, mine, other) = (certificate(), certificate(), certificate(), certificate());
    write((&old.0, &old.1), &mine.0);
    let files = ["chain.pem", "key.pem", "clients.pem"].map(|name| directory.file(name));
    let mut serve =
        Serve::start(&["--tls-cert", &files[0], "--tls-key", &files[1], "--tls-client-ca", &files[2]]);
    let mut stderr = BufReader::new(serve.program.stderr());
    let showing = |(trusted, _): &(String, String), (chain, key): &(String, String)| {
        let tls = Tls::default().only_ca_pem(trusted.as_bytes()).unwrap();
        tls.client_certificate_pem(chain.as_bytes(), key.as_bytes()).unwrap()
    };
    within(async {
        // It would resume its session.
        let resuming = showing(&old, &mine);
        let mut before = secure(resuming.clone(), &serve).await.unwrap();
        echoes(&mut before).await;
        for (pair, clients, why) in [
            ((&*new.0, &*old.1), &mine.0, "the private key is not the certificate's"),
            ((&new.0, &new.1), &String::new(), "clients.pem: there is no certificate in the PEM text"),
        ] {
            write(pair, clients);
            serve.program.signal(Signal::HUP);
            let told = line(&mut stderr);
            assert!(told.starts_with("sockeye: all stays as it was: "), "{told}");
            assert!(told.trim_end().ends_with(why), "{told}");
            echoes(&mut secure(showing(&old, &mine), &serve).await.unwrap()).await;
        }

        write((&new.0, &new.1), &other.0);
        serve.program.signal(Signal::HUP);
        assert_eq!(line(&mut stderr), "read again: certificate, CAs of clients\n");
        assert!(secure(showing(&old, &other), &serve).await.is_err(), "that certificate is gone");
        assert!(secure(showing(&new, &mine), &serve).await.is_err(), "that client is let in no more");
        assert!(secure(resuming, &serve).await.is_err(), "not by its session either");
        echoes(&mut secure(showing(&new, &other), &serve).await.unwrap()).await;
        echoes(&mut before).await;
        assert!(before.close(1000, "").await.unwrap().clean);
    });
}

#[test]
fn the_token_is_read_again() {
    let directory = Directory::new();
    let file = directory.file("token");
    fs::write(&file, "old").unwrap();
    let flags = ["--metrics-listen", "127.0.0.1:0", "--metrics-token-file", &file];
    let mut serve = Serve::start(&flags);
    let mut stderr = BufReader::new(serve.program.stderr());
    let metrics = serve.metrics.clone().unwrap();
    let ask = |token: &str| {
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: {metrics}\r\nAuthorization: Bearer {token}\r\n\r\n");
        status(&http(&metrics, &request).0).to_owned()
    };
    assert_eq!((&*ask("old"), &*ask("new")), ("200 OK", "401 Unauthorized"));
    fs::write(&file, "new").unwrap();
    serve.program.signal(Signal::HUP);
    assert_eq!(line(&mut stderr), "read again: token\n");
    assert_eq!((&*ask("old"), &*ask("new")), ("401 Unauthorized", "200 OK"));
}

#[test]
fn without_files_a_hangup_ends_it() {
    let serve = Serve::start(&[]);
    serve.program.signal(Signal::HUP);
    assert_eq!(serve.finish().code, None);
}

#[cfg(target_os = "linux")]
#[test]
fn systemd_is_told_what_it_waits_for() {
    use std::os::unix::net::UnixDatagram;

    let directory = Directory::new();
    let path = directory.file("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let told = || {
        let mut buffer = [0; 200];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut command = command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &path).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let serve = Serve::run(command.spawn().unwrap().into(), 1);
    assert_eq!(told(), "READY=1");
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec;
    serve.program.signal(Signal::HUP);
    let reloading = told();
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    let since: i64 = since.parse().unwrap();
    assert!((now..now + 60).contains(&(since / 1_000_000)), "{since}, at {now}");
    assert_eq!(told(), "READY=1");
    serve.program.signal(Signal::TERM);
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(serve.finish().code, Some(0));
}

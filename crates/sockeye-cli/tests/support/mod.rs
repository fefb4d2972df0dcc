//! The program under test, and servers made by hand to test it against.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sockeye::WebSocket;
use sockeye_proto::handshake::accept_key;

/// No wait is longer than this, or the test has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;

/// Runs something in a thread; what it gives comes through the channel.
pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    receiver
}

/// What it gives, within the limit.
pub(crate) fn wait<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(LIMIT).expect("it ends in time, and without a panic")
}

// ---- The program

/// How a run has ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn out(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("UTF-8 on stdout")
    }
}

/// Runs the program to its end.
pub(crate) fn run(args: &[&str], input: impl Into<Vec<u8>>) -> Run {
    let mut program = Program::start(args);
    let (mut stdin, input) = (program.stdin(), input.into());
    // It may end before it has read everything.
    thread::spawn(move || stdin.write_all(&input));
    program.finish()
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
    // The proxies of whoever runs the tests have no part in them.
    command.args(args).env("no_proxy", "*");
    command
}

/// The program, running; killed when dropped.
pub(crate) struct Program {
    child: Child,
}

impl Program {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().unwrap() }
    }

    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    pub(crate) fn stderr(&mut self) -> ChildStderr {
        self.child.stderr.take().unwrap()
    }

    /// The next line on stdout.
    pub(crate) fn line(&mut self) -> String {
        let mut stdout = self.stdout();
        let (stdout, line) = wait(&spawn(move || {
            let (mut line, mut byte) = (Vec::new(), [0]);
            // A byte at a time, so that the rest stays for others to read.
            while !line.ends_with(b"\n") && stdout.read(&mut byte).unwrap() > 0 {
                line.push(byte[0]);
            }
            (stdout, String::from_utf8(line).unwrap())
        }));
        self.child.stdout = Some(stdout);
        line
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for the end, reading what is left on stdout and stderr. Stdin stays open if the caller has taken it.
    pub(crate) fn finish(mut self) -> Run {
        let stdout = self.child.stdout.take().map(|stdout| spawn(move || read_all(stdout)));
        let stderr = self.child.stderr.take().map(|stderr| spawn(move || read_all(stderr)));
        let stdout = stdout.map(|stdout| wait(&stdout)).unwrap_or_default();
        let stderr = stderr.map(|stderr| wait(&stderr)).unwrap_or_default();
        Run {
            code: self.exit_status().code(),
            stdout,
            stderr: String::from_utf8(stderr).expect("UTF-8 on stderr"),
        }
    }

    /// Waits for the end.
    pub(crate) fn exit_status(mut self) -> ExitStatus {
        let (pid, (sender, receiver)) = (self.pid(), mpsc::channel());
        thread::scope(|scope| {
            scope.spawn(|| sender.send(self.child.wait().unwrap()));
            let status = receiver.recv_timeout(LIMIT);
            if status.is_err() {
                // Or the scope would wait with it for ever.
                let _ = kill_process(pid, Signal::KILL);
            }
            status.expect("the program ends in time")
        })
    }
}

impl From<Child> for Program {
    fn from(child: Child) -> Self {
        Self { child }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_all(mut source: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes).unwrap();
    bytes
}

/// `sockeye serve`, listening on as many addresses as it was told to.
pub(crate) struct Serve {
    pub(crate) program: Program,
    /// Such as `127.0.0.1:12345`.
    pub(crate) addresses: Vec<String>,
    /// Where its metrics are, with `--metrics-listen`.
    pub(crate) metrics: Option<String>,
    stdout: Receiver<BufReader<ChildStdout>>,
}

impl Serve {
    pub(crate) fn start(args: &[&str]) -> Self {
        let listeners = args.iter().filter(|arg| **arg == "--listen").count();
        let mut all = vec!["serve"];
        if listeners == 0 {
            all.extend(["--listen", "127.0.0.1:0"]);
        }
        all.extend(args);
        let metrics = args.contains(&"--metrics-listen");
        Self::announced(Program::start(&all), listeners.max(1), metrics)
    }

    /// Takes over a program that listens on so many sockets.
    pub(crate) fn run(program: Program, listeners: usize) -> Self {
        Self::announced(program, listeners, false)
    }

    fn announced(mut program: Program, listeners: usize, metrics: bool) -> Self {
        let mut stdout = BufReader::new(program.stdout());
        let (sender, lines) = mpsc::channel();
        let stdout = spawn(move || {
            for _ in 0..listeners + usize::from(metrics) {
                let mut line = String::new();
                stdout.read_line(&mut line).unwrap();
                sender.send(line).unwrap();
            }
            stdout
        });
        let address = |line: String| {
            let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).trim_end();
            let http = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
            http.map_or(url, |address| address.trim_end_matches('/')).to_owned()
        };
        let addresses = (0..listeners).map(|_| address(wait(&lines))).collect();
        let metrics = metrics.then(|| {
            let line = wait(&lines);
            let address =
                line.strip_prefix("metrics on http://").and_then(|line| line.strip_suffix("/metrics\n"));
            address.unwrap_or_else(|| panic!("{line:?}")).to_owned()
        });
        Self { program, addresses, metrics, stdout }
    }

    pub(crate) fn address(&self) -> &str {
        &self.addresses[0]
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/echo", self.address())
    }

    /// Interrupts it and waits for its end.
    pub(crate) fn stop(self) -> Run {
        self.program.signal(Signal::INT);
        self.finish()
    }

    /// Waits for its end; stdout is what came after the addresses.
    pub(crate) fn finish(self) -> Run {
        let stdout = self.stdout;
        let stdout = spawn(move || read_all(wait(&stdout)));
        Run { stdout: wait(&stdout), ..self.program.finish() }
    }
}

// ---- Servers made by hand

/// A server for one connection; what it gives in the end comes through the channel.
pub(crate) fn server<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (String, Receiver<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let result = spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        serve(stream)
    });
    (url, result)
}

/// Like [`server`], after the opening handshake.
pub(crate) fn websocket<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (String, Receiver<T>) {
    server(|mut stream| {
        open(&mut stream);
        serve(stream)
    })
}

/// Reads a request's head.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// The value of a header field.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Accepts the opening handshake and gives the request's head.
pub(crate) fn open(stream: &mut TcpStream) -> String {
    let head = read_head(stream);
    accept(stream, &head, "");
    head
}

/// Accepts an opening handshake; `fields` are further header fields.
pub(crate) fn accept(stream: &mut TcpStream, head: &str, fields: &str) {
    let key = accept_key(field(head, "Sec-WebSocket-Key").unwrap());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {key}\r\n{fields}\r\n"
    );
    stream.write_all(response.as_bytes()).unwrap();
}

/// A server's frame, of a message or a control frame.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(u8::try_from(length).unwrap()),
        length @ 126..65536 => {
            frame.push(126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// A server's Close frame.
pub(crate) fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// Reads a client's frame: its opcode, and its payload unmasked.
pub(crate) fn read_frame(stream: &mut impl Read) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    assert_eq!((head[0] & 0xf0, head[1] & 0x80), (0x80, 0x80), "one masked frame");
    let mut extended = [0; 8];
    let length = match head[1] & 0x7f {
        126 => {
            stream.read_exact(&mut extended[6..]).unwrap();
            u64::from_be_bytes(extended)
        }
        127 => {
            stream.read_exact(&mut extended).unwrap();
            u64::from_be_bytes(extended)
        }
        length => u64::from(length),
    };
    let (mut key, mut payload) = ([0; 4], vec![0; usize::try_from(length).unwrap()]);
    stream.read_exact(&mut key).unwrap();
    stream.read_exact(&mut payload).unwrap();
    payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    (head[0] & 0xf, payload)
}

/// What a client has sent: its messages with their opcodes, and its close code.
pub(crate) type Session = (Vec<(u8, Vec<u8>)>, Option<u16>);

/// Reads messages until the client's Close, answers that, and gives the messages and the code.
pub(crate) fn read_until_close(mut stream: TcpStream) -> Session {
    let mut messages = Vec::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (opcode, payload) = read_frame(&mut reader);
        if opcode == CLOSE {
            stream.write_all(&frame(CLOSE, &payload)).unwrap();
            let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            return (messages, code);
        }
        messages.push((opcode, payload));
    }
}

/// Sends a Close and waits for the answer.
pub(crate) fn close(mut stream: TcpStream, code: u16, reason: &str) {
    stream.write_all(&close_frame(code, reason)).unwrap();
    while read_frame(&mut stream).0 != CLOSE {}
}

/// Sends a request and gives the answer's head and body.
pub(crate) fn http(address: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    (head.to_owned(), body.to_owned())
}

// ---- What tests of `serve` have in common

/// Runs what is asynchronous, within the limit.
pub(crate) fn within<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, work).await.expect("it ends in time") })
}

/// A directory of a test's own, removed in the end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sockeye-cli-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn get(address: &str, path: &str) -> (String, String) {
    http(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

pub(crate) fn status(head: &str) -> &str {
    head.lines().next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).unwrap_or_else(|| panic!("{head}"))
}

/// The metrics, once there are those lines among them.
pub(crate) fn metrics_with(address: &str, lines: &[&str]) -> String {
    let mut body = String::new();
    for _ in 0..2000 {
        body = get(address, "/metrics").1;
        if lines.iter().all(|line| body.lines().any(|found| found == *line)) {
            return body;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("{lines:?} are not in {body}");
}

pub(crate) async fn echoes(ws: &mut WebSocket) {
    ws.send("there?").await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("there?"));
}

/// Takes the next line on stderr; the rest is read by whoever comes next.
pub(crate) fn line(stderr: &mut BufReader<impl Read>) -> String {
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    line
}

/// A certificate signed by itself, and its key, in PEM.
pub(crate) fn certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    (rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem(), key.serialize_pem())
}

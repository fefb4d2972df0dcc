//! `sockeye connect` on a terminal: a pseudo-terminal on which the program runs, and a terminal emulator in memory that
//! shows what a user would see.

#![cfg(unix)]

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use support::*;

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const UP: &str = "\x1b[A";

/// The program on a terminal.
struct Terminal {
    program: Program,
    keyboard: File,
    /// The other end, kept so that the settings can be looked at.
    line: File,
    output: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// All that was written to the terminal.
    written: Vec<u8>,
}

impl Terminal {
    fn start(command: &mut Command) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&keyboard, size).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
        let no_controlling = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
        let line = OpenOptions::new().read(true).write(true).custom_flags(no_controlling).open(name).unwrap();
        let end = || Stdio::from(line.try_clone().unwrap());
        let command = command.env("TERM", "xterm-256color").stdin(end()).stdout(end()).stderr(end());
        let program = Program::from(command.spawn().unwrap());
        let keyboard = File::from(keyboard);
        let (sender, output) = mpsc::channel();
        let mut reader = keyboard.try_clone().unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let screen = vt100::Parser::new(ROWS.try_into().unwrap(), COLUMNS.try_into().unwrap(), 0);
        Self { program, keyboard, line, output, screen, written: Vec::new() }
    }

    /// Connects to a server, with a history of its own.
    fn connect(url: &str) -> Self {
        let mut terminal = Self::start(command(&["connect", url]).env("XDG_STATE_HOME", state("none")));
        terminal.until("the prompt", |lines| lines.last().is_some_and(|line| line == ">"));
        terminal
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// What is on the screen, without the empty lines below and the blanks at the lines' ends.
    fn lines(&self) -> Vec<String> {
        let lines = self.screen.screen().rows(0, COLUMNS).map(|line| line.trim_end().to_owned());
        let mut lines: Vec<_> = lines.collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    /// Waits until the screen is as it should be.
    fn until(&mut self, what: &str, holds: impl Fn(&[String]) -> bool) -> Vec<String> {
        let begin = Instant::now();
        while !holds(&self.lines()) {
            let left = LIMIT.saturating_sub(begin.elapsed());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.take(&bytes),
                Err(error) => panic!("{what}: {error}; the screen:\n{}", self.lines().join("\n")),
            }
        }
        self.lines()
    }

    fn until_last(&mut self, last: &str) -> Vec<String> {
        self.until(last, |lines| lines.last().is_some_and(|line| line == last))
    }

    fn take(&mut self, bytes: &[u8]) {
        self.written.extend_from_slice(bytes);
        self.screen.process(bytes);
    }

    /// Waits for the program's end: the exit code, the last of the screen, and what was written in all.
    fn finish(mut self) -> (Option<i32>, Vec<String>, Vec<u8>) {
        let modes = tcgetattr(&self.line).unwrap().local_modes;
        let code = std::mem::replace(&mut self.program, Program::from(idle())).exit_status().code();
        let modes_after = tcgetattr(&self.line).unwrap().local_modes;
        let cooked = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        assert!(modes_after.contains(cooked), "the terminal is left as it was: {modes:?}, {modes_after:?}");
        // What was written before the end is there by now.
        self.line.write_all(b"\x1b[9999;1HEND").unwrap();
        while !self.written.ends_with(b"END") {
            let bytes = wait(&self.output);
            self.take(&bytes);
        }
        let mut lines = self.lines();
        lines.pop();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        (code, lines, self.written)
    }
}

/// A program that does nothing.
fn idle() -> std::process::Child {
    Command::new("true").spawn().unwrap()
}

/// A directory for the history of one test, empty at first.
fn state(test: &str) -> PathBuf {
    let directory =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("state-{}-{test}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    directory
}

/// A server that sends what it is told to, and gives what it has got until the Close, its code included.
fn server() -> (String, mpsc::Sender<Vec<u8>>, Receiver<Session>) {
    let (send, to_send) = mpsc::channel::<Vec<u8>>();
    let (url, got) = websocket(move |stream: TcpStream| {
        let mut writer = stream.try_clone().unwrap();
        thread::spawn(move || {
            for bytes in to_send {
                // The program may have ended.
                let _ = writer.write_all(&bytes);
            }
        });
        let got = read_until_close(stream.try_clone().unwrap());
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        got
    });
    (url, send, got)
}

#[test]
fn lines_are_sent_and_replies_shown() {
    let (url, send, got) = server();
    let mut terminal = Terminal::connect(&url);
    terminal.type_in("hello\r");
    terminal.until("the next prompt", |lines| lines.ends_with(&["> hello".into(), ">".into()]));
    send.send(frame(TEXT, b"hi")).unwrap();
    send.send(frame(TEXT, b"one\ntwo")).unwrap();
    send.send(frame(BINARY, b"\x00\xff")).unwrap();
    let expected = ["> hello", "< hi", "< one", "  two", "< binary, 2 bytes: 00 ff", ">"];
    let lines = terminal.until("the replies", |lines| lines.len() == expected.len() + 1);
    assert_eq!(lines[0], format!("connected to {url}"));
    assert_eq!(lines[1..], expected);
    // An empty line is nothing to send.
    terminal.type_in("\r");
    terminal.until("one more prompt", |lines| lines.ends_with(&[">".into(), ">".into()]));
    terminal.type_in(CTRL_D);
    let (code, lines, _) = terminal.finish();
    assert_eq!((code, &lines.last().unwrap()[..]), (Some(0), "closed by us: code 1000"));
    assert_eq!(wait(&got), (vec![(TEXT, b"hello".to_vec())], Some(1000)));
}

#[test]
fn replies_do_not_tear_the_line_being_edited() {
    let (url, send, got) = server();
    let mut terminal = Terminal::connect(&url);
    terminal.type_in("half ty");
    terminal.until_last("> half ty");
    send.send(frame(TEXT, b"a reply")).unwrap();
    let lines = terminal.until("the reply", |lines| lines.len() == 3 && lines[2] == "> half ty");
    assert_eq!(lines[1..], ["< a reply", "> half ty"]);
    assert_eq!(terminal.screen.screen().cursor_position(), (2, 9));
    // More of them than the screen has lines, at once.
    let replies: Vec<_> =
        (0..200).flat_map(|number| frame(TEXT, format!("reply {number}").as_bytes())).collect();
    send.send(replies).unwrap();
    let lines = terminal.until("the last reply", |lines| {
        lines.iter().rev().take(2).map(String::as_str).eq(["> half ty", "< reply 199"])
    });
    let expected: Vec<_> =
        (200 - usize::from(ROWS) + 1..200).map(|number| format!("< reply {number}")).collect();
    assert_eq!(lines[..lines.len() - 1], expected);
    // The line goes on where it was, and is what is sent.
    terminal.type_in("ped\r");
    terminal.until("the sent line", |lines| lines.ends_with(&["> half typed".into(), ">".into()]));
    terminal.type_in(CTRL_D);
    assert_eq!(terminal.finish().0, Some(0));
    assert_eq!(wait(&got), (vec![(TEXT, b"half typed".to_vec())], Some(1000)));
}

#[test]
fn what_a_server_sends_does_not_drive_the_terminal() {
    let (url, send, _got) = server();
    let mut terminal = Terminal::connect(&url);
    let evil = "\x1b]0;owned\x07\x1b[2Jgone\rover\u{202e}txt.exe\n> rm";
    send.send(frame(TEXT, evil.as_bytes())).unwrap();
    terminal.until("the reply", |lines| lines.len() == 4 && lines[3] == ">");
    send.send(close_frame(1000, "\x1b[31mred")).unwrap();
    let (code, lines, written) = terminal.finish();
    assert_eq!(code, Some(0));
    assert_eq!(lines[1], r"< \x1b]0;owned\x07\x1b[2Jgone\x0dover\u{202e}txt.exe");
    assert_eq!(lines[2], "  > rm");
    assert_eq!(lines.last().unwrap(), r"closed by the server: code 1000, \x1b[31mred");
    let written = String::from_utf8(written).unwrap();
    for raw in ["\x1b]0;", "\x1b[2J", "\x1b[31m", "\u{202e}", "\x07"] {
        assert!(!written.contains(raw), "{raw:?}");
    }
}

#[test]
fn the_last_words_of_a_server_are_shown_and_the_terminal_is_given_back() {
    // Several times, since it is a matter of who is first.
    for _ in 0..10 {
        let (url, send, _got) = server();
        let mut terminal = Terminal::connect(&url);
        terminal.type_in("half ty");
        terminal.until_last("> half ty");
        let words = [frame(TEXT, b"one"), frame(TEXT, b"bye"), close_frame(4000, "that is all")].concat();
        send.send(words).unwrap();
        let (code, lines, _) = terminal.finish();
        assert_eq!(code, Some(17));
        assert_eq!(
            lines[1..],
            ["< one", "< bye", "> half ty", "closed by the server: code 4000, that is all"]
        );
    }
}

#[test]
fn ctrl_c_closes_and_is_130() {
    for typed in ["", "half ty"] {
        let (url, _send, got) = server();
        let mut terminal = Terminal::connect(&url);
        terminal.type_in(typed);
        terminal.until_last(format!("> {typed}").trim_end());
        terminal.type_in(CTRL_C);
        let (code, lines, _) = terminal.finish();
        assert_eq!((code, &lines.last().unwrap()[..]), (Some(130), "closed by us: code 1000"));
        assert_eq!(wait(&got), (vec![], Some(1000)));
    }
}

#[test]
fn lines_are_remembered() {
    let state = state("history");
    for run in 0..2 {
        let (url, _send, got) = server();
        let mut terminal = Terminal::start(command(&["connect", &url]).env("XDG_STATE_HOME", &state));
        terminal.until_last(">");
        let mut send = |keys: &str, line: &str| {
            terminal.type_in(keys);
            terminal.until_last(line);
            terminal.type_in("\r");
            terminal.until("the next prompt", |lines| lines.ends_with(&[line.into(), ">".into()]));
        };
        if run == 0 {
            send("remember me", "> remember me");
            send(" but not me", ">  but not me");
        } else {
            send(UP, "> remember me");
        }
        terminal.type_in(CTRL_D);
        assert_eq!(terminal.finish().0, Some(0));
        assert!(wait(&got).0.contains(&(TEXT, b"remember me".to_vec())));
    }
    let mode = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    let file = state.join("sockeye/history");
    assert_eq!((mode(file.parent().unwrap()), mode(&file)), (0o700, 0o600), "it is nobody else's");
    assert!(!fs::read_to_string(&file).unwrap().contains("but not me"), "a blank before a line keeps it out");
    let _ = fs::remove_dir_all(state);
}

#[test]
fn piped_input_is_shown_on_a_terminal_without_driving_it() {
    let (url, send, _got) = server();
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"exec "$0" connect --binary "$1" </dev/null"#, env!("CARGO_BIN_EXE_sockeye"), &url]);
    let mut terminal = Terminal::start(&mut shell);
    send.send([frame(TEXT, b"\x1b[2Jtext"), frame(BINARY, b"\x1b[2J")].concat()).unwrap();
    let lines = terminal.until("both messages", |lines| lines.len() == 2);
    assert_eq!(lines, [r"\x1b[2Jtext", "binary, 4 bytes: 1b 5b 32 4a"]);
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn with_the_output_elsewhere_there_is_no_editor_to_get_into_it() {
    let (url, send, got) = server();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("output-{}", std::process::id()));
    let mut shell = Command::new("sh");
    let script = r#"exec "$0" connect -v --wait 0 "$1" >"$2""#;
    shell.args(["-c", script, env!("CARGO_BIN_EXE_sockeye"), &url]).arg(&file);
    let mut terminal = Terminal::start(&mut shell);
    terminal.until("open", |lines| lines.first().is_some_and(|line| line.starts_with("connected")));
    send.send(frame(TEXT, b"data")).unwrap();
    let start = Instant::now();
    while fs::read_to_string(&file).unwrap() != "data\n" {
        assert!(start.elapsed() < LIMIT, "the message does not come");
        thread::yield_now();
    }
    terminal.type_in("typed\n");
    terminal.type_in(CTRL_D);
    let (code, ..) = terminal.finish();
    assert_eq!(code, Some(0));
    assert_eq!(wait(&got), (vec![(TEXT, b"typed".to_vec())], Some(1000)));
    let _ = fs::remove_file(file);
}

#[test]
fn an_echo_does_not_get_into_the_next_prompt() {
    let serve = Serve::start(&[]);
    let mut terminal = Terminal::connect(&serve.url());
    for number in 0..100 {
        terminal.type_in(&format!("{number}\r"));
        let (sent, echo) = (format!("> {number}"), format!("< {number}"));
        // A reply is faster than the editor is back at its prompt, or slower: either is above it.
        terminal.until(&echo, |lines| {
            let end = lines.len().saturating_sub(3);
            lines[end..] == [&sent[..], &echo, ">"]
        });
    }
    terminal.type_in(CTRL_D);
    assert_eq!(terminal.finish().0, Some(0));
}

//! `sockeye connect` in a pipe.

#![cfg(unix)]

mod support;

use std::io::{BufReader, Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::*;

/// Some megabytes of anything, line ends and what is not UTF-8 included.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn a_line_is_a_message_and_a_message_is_a_line() {
    let serve = Serve::start(&[]);
    let run = run(&["connect", "--wait", "0", &serve.url()], "one\r\n\nünï\tcode 🐟\nlast");
    assert_eq!((run.code, &run.stderr[..]), (Some(0), ""));
    assert_eq!(run.out(), "one\n\nünï\tcode 🐟\nlast\n");
}

#[test]
fn lines_are_sent_as_text_and_closed_with_1000() {
    let (url, server) = websocket(read_until_close);
    let run = run(&["connect", "--wait", "0", &url], "a\r\nb\n\n c ");
    assert_eq!((run.code, run.out(), &run.stderr[..]), (Some(0), "", ""));
    let (messages, code) = wait(&server);
    assert_eq!(messages, [&b"a"[..], b"b", b"", b" c "].map(|line| (TEXT, line.to_vec())));
    assert_eq!(code, Some(1000));
}

#[test]
fn no_input_is_no_message() {
    for args in [&["connect", "--wait", "0"][..], &["connect", "--wait", "0", "--binary"]] {
        let (url, server) = websocket(read_until_close);
        assert_eq!(run(&[args, &[&url]].concat(), "").code, Some(0));
        assert_eq!(wait(&server), (vec![], Some(1000)));
    }
}

#[test]
fn input_waits_for_the_connection_to_open() {
    let (written, is_written) = mpsc::channel();
    let (url, server) = server(move |mut stream| {
        let head = read_head(&mut stream);
        wait(&is_written);
        accept(&mut stream, &head, "");
        read_until_close(stream)
    });
    let mut program = Program::start(&["connect", "--wait", "0", &url]);
    // Written, and ended, before the connection is open.
    program.stdin().write_all(b"early\nbird\n").unwrap();
    written.send(()).unwrap();
    assert_eq!(program.finish().code, Some(0));
    assert_eq!(wait(&server).0, [(TEXT, b"early".to_vec()), (TEXT, b"bird".to_vec())]);
}

#[test]
fn replies_come_out_at_once() {
    let serve = Serve::start(&[]);
    let mut program = Program::start(&["connect", &serve.url()]);
    let mut stdin = program.stdin();
    for line in ["one\n", "two\n", "three\n"] {
        stdin.write_all(line.as_bytes()).unwrap();
        assert_eq!(program.line(), line);
    }
}

#[test]
fn it_waits_until_replies_have_been_silent() {
    const WAIT: Duration = Duration::from_millis(700);
    let (url, server) = websocket(|mut stream| {
        assert_eq!(read_frame(&mut stream), (TEXT, b"question".to_vec()));
        // A server takes its time; much less than the silence that ends the connection, though together it is more.
        for _ in 0..4 {
            thread::sleep(WAIT / 3);
            stream.write_all(&frame(TEXT, b"answer")).unwrap();
        }
        let last = Instant::now();
        assert_eq!(read_until_close(stream).1, Some(1000));
        last.elapsed()
    });
    let run = run(&["connect", "--wait", "0.7", &url], "question\n");
    assert_eq!((run.code, run.out()), (Some(0), "answer\nanswer\nanswer\nanswer\n"));
    assert!(wait(&server) >= WAIT.mul_f32(0.9), "the last answer begins a new silence");
}

#[test]
fn it_waits_for_ever_if_told_to() {
    let (url, server) = websocket(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(stream.read(&mut [0]).is_err(), "it sends something");
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(&frame(TEXT, b"at last")).unwrap();
        close(stream, 1000, "");
    });
    let run = run(&["connect", "--wait", "inf", &url], "");
    assert_eq!((run.code, run.out(), &run.stderr[..]), (Some(0), "at last\n", ""));
    wait(&server);
}

#[test]
fn messages_between_our_close_and_the_answer_come_out() {
    let (url, server) = websocket(|mut stream| {
        assert_eq!(read_frame(&mut stream).0, CLOSE);
        stream.write_all(&[frame(TEXT, b"late"), close_frame(1000, "")].concat()).unwrap();
    });
    let run = run(&["connect", "--wait", "0", &url], "");
    assert_eq!((run.code, run.out()), (Some(0), "late\n"));
    wait(&server);
}

#[test]
fn input_that_was_not_sent_is_a_failure() {
    let (url, server) = websocket(|stream| close(stream, 1000, "enough"));
    // More than the buffers on the way take before the Close comes.
    let run = run(&["connect", &url], format!("{}\n", "x".repeat(1000)).repeat(30_000));
    assert_eq!(run.code, Some(1));
    let told = "closed by the server: code 1000, enough\nsockeye: not all of the input was sent\n";
    assert_eq!(run.stderr, told);
    wait(&server);
}

#[test]
fn binary_goes_and_comes_as_it_is() {
    let noise = noise(100_000);
    let (url, server) = websocket(|mut stream| {
        let (opcode, payload) = read_frame(&mut stream);
        stream.write_all(&frame(opcode, &payload)).unwrap();
        (opcode, payload, read_until_close(stream))
    });
    let run = run(&["connect", "--binary", "--wait", "0", &url], &noise[..]);
    assert_eq!((run.code, &run.stderr[..]), (Some(0), ""));
    assert!(run.stdout == noise, "what came back, {} bytes", run.stdout.len());
    let (opcode, payload, rest) = wait(&server);
    assert!(opcode == BINARY && payload == noise, "one message, {} bytes", payload.len());
    assert_eq!(rest, (vec![], Some(1000)));
}

#[test]
fn binary_of_any_length_goes_and_comes_as_one_message() {
    let (address_sender, address) = mpsc::channel();
    let _server = spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = sockeye::Server::bind("127.0.0.1:0").await.unwrap();
            address_sender.send(server.local_addr().unwrap()).unwrap();
            let echo = |incoming: sockeye::Incoming| async {
                let mut ws = incoming.accept().await?;
                let mut messages = 0;
                while let Some(part) = ws.recv_part().await? {
                    messages += u8::from(part.last);
                    ws.send_part(part.data, part.last).await?;
                }
                assert_eq!(messages, 1);
                Ok(())
            };
            server.run(echo).await
        })
    });
    let url = format!("ws://{}/", wait(&address));
    // More than a message may be long that is kept as a whole.
    let noise = noise(20 << 20);
    let run = run(&["connect", "--binary", "--no-deflate", "--wait", "0.5", &url], &noise[..]);
    assert_eq!((run.code, &run.stderr[..]), (Some(0), ""));
    assert!(run.stdout == noise, "what came back, {} bytes", run.stdout.len());
}

#[test]
fn binary_may_go_in_chunks_as_it_comes() {
    let (url, server) = websocket(read_until_close);
    let mut program = Program::start(&["connect", "--binary", "--chunk", "1000", "--wait", "0", &url]);
    let noise = noise(10_500);
    program.stdin().write_all(&noise).unwrap();
    assert_eq!(program.finish().code, Some(0));
    let (messages, _) = wait(&server);
    assert!(messages.len() > 10 && messages.iter().all(|(opcode, _)| *opcode == BINARY));
    assert!(messages.iter().all(|(_, chunk)| (1..=1000).contains(&chunk.len())));
    let whole: Vec<u8> = messages.into_iter().flat_map(|(_, chunk)| chunk).collect();
    assert!(whole == noise);
}

#[test]
fn a_chunk_is_not_held_back() {
    let serve = Serve::start(&[]);
    let mut program = Program::start(&["connect", "--binary", "--chunk", "65536", &serve.url()]);
    let mut stdin = program.stdin();
    stdin.write_all(b"no more than this\n").unwrap();
    assert_eq!(program.line(), "no more than this\n");
}

#[test]
fn among_lines_binary_comes_as_hex() {
    let (url, server) = websocket(|mut stream| {
        let messages = [frame(BINARY, b"\x00\xff\n"), frame(TEXT, b"text"), frame(BINARY, b"")];
        stream.write_all(&messages.concat()).unwrap();
        close(stream, 1000, "");
    });
    let run = run(&["connect", &url], "");
    assert_eq!((run.code, run.out()), (Some(0), "00ff0a\ntext\n\n"));
    assert_eq!(run.stderr, "sockeye: binary messages come as lines of hex; --binary gives the bytes\n");
    wait(&server);
}

#[test]
fn with_binary_text_still_comes_as_lines() {
    let (url, server) = websocket(|mut stream| {
        let messages = [frame(TEXT, b"{}"), frame(BINARY, b"\x00\n\xff"), frame(TEXT, b"end")];
        stream.write_all(&messages.concat()).unwrap();
        close(stream, 1000, "");
    });
    let run = run(&["connect", "--binary", &url], "");
    assert_eq!((run.code, &run.stdout[..]), (Some(0), &b"{}\n\x00\n\xffend\n"[..]));
    wait(&server);
}

#[test]
fn megabytes_pass_in_order() {
    let serve = Serve::start(&[]);
    let input: String = (0..300_000).fold(String::new(), |input, number| input + &format!("line {number}\n"));
    assert!(input.len() > 3 << 20);
    let run = run(&["connect", "--wait", "0", &serve.url()], &input[..]);
    assert_eq!((run.code, &run.stderr[..]), (Some(0), ""));
    assert!(run.out() == input, "{} bytes of {}", run.stdout.len(), input.len());
}

#[test]
fn a_server_that_sends_all_before_it_reads_does_not_hang_it() {
    const COUNT: usize = 500;
    let big = "x".repeat(10_000);
    let payload = big.clone();
    let (url, server) = websocket(move |mut stream| {
        for _ in 0..COUNT {
            stream.write_all(&frame(TEXT, payload.as_bytes())).unwrap();
        }
        read_until_close(stream).0.len()
    });
    let run = run(&["connect", "--wait", "0.2", &url], format!("{big}\n").repeat(COUNT));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.out().lines().filter(|line| *line == big).count(), COUNT);
    assert_eq!(wait(&server), COUNT);
}

#[test]
fn an_output_that_is_closed_ends_it_cleanly() {
    let (url, server) = websocket(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let close = spawn(move || read_frame(&mut reader));
        loop {
            stream.write_all(&frame(TEXT, b"more")).unwrap();
            if let Ok(frame) = close.recv_timeout(Duration::from_millis(1)) {
                stream.write_all(&close_frame(1000, "")).unwrap();
                return frame;
            }
        }
    });
    let mut program = Program::start(&["connect", &url]);
    let stdin = program.stdin();
    assert_eq!(program.line(), "more\n");
    drop(program.stdout());
    let run = program.finish();
    assert_eq!((run.code, &run.stderr[..]), (Some(0), ""));
    assert_eq!(wait(&server), (CLOSE, 1000u16.to_be_bytes().to_vec()));
    drop(stdin);
}

#[test]
fn an_output_that_cannot_be_written_is_an_error() {
    let (url, server) = websocket(|mut stream| {
        stream.write_all(&frame(TEXT, b"no room")).unwrap();
        read_until_close(stream)
    });
    let mut command = command(&["connect", "--wait", "inf", &url]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let Ok(full) = full else { return };
    let child = command.stdin(std::process::Stdio::null()).stdout(full).stderr(std::process::Stdio::piped());
    let run = Program::from(child.spawn().unwrap()).finish();
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.starts_with("sockeye: cannot write the output: "), "{}", run.stderr);
    assert_eq!(wait(&server).1, Some(1000));
}

#[test]
fn an_output_that_nobody_reads_does_not_keep_it_from_being_interrupted() {
    let (stalled, is_stalled) = mpsc::channel();
    let (url, server) = websocket(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let close = spawn(move || read_frame(&mut reader));
        stream.write_all(&frame(TEXT, b"begin")).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        // Until nothing moves any more: the pipe is full, and so is the connection.
        let flood = frame(TEXT, &vec![b'x'; 60_000]);
        while stream.write_all(&flood).is_ok() {}
        stalled.send(()).unwrap();
        wait(&close).0
    });
    let mut program = Program::start(&["connect", &url]);
    let stdin = program.stdin();
    assert_eq!(program.line(), "begin\n");
    wait(&is_stalled);
    program.signal(Signal::INT);
    assert_eq!(wait(&server), CLOSE);
    program.signal(Signal::INT);
    let stdout = program.stdout();
    assert_eq!(program.exit_status().code(), Some(130));
    drop((stdin, stdout));
}

#[test]
fn compression_is_offered_unless_it_is_turned_off() {
    for (flag, offered) in [("--verbose", true), ("--no-deflate", false)] {
        let (url, server) = server(|mut stream| {
            let head = read_head(&mut stream);
            accept(&mut stream, &head, "");
            close(stream, 1000, "");
            head
        });
        assert_eq!(run(&["connect", flag, &url], "").code, Some(0));
        let head = wait(&server);
        assert_eq!(field(&head, "sec-websocket-extensions").is_some(), offered, "{flag}: {head}");
    }
}

#[test]
fn the_request_is_as_the_flags_say() {
    let (url, server) = server(|mut stream| {
        let head = read_head(&mut stream);
        accept(&mut stream, &head, "Sec-WebSocket-Protocol: b\r\nX-Answer: 42\r\n");
        close(stream, 1000, "");
        head
    });
    let args = [
        "connect",
        "-v",
        "-H",
        "X-One: 1",
        "--header",
        "x-two:  2 ",
        "-H",
        "X-None;",
        "-s",
        "a, b",
        "-s",
        "c",
        "--origin",
        "https://app.example",
        &url,
    ];
    let run = run(&args, "");
    assert_eq!((run.code, run.out()), (Some(0), ""), "{}", run.stderr);
    let head = wait(&server);
    let fields = [
        ("X-One", "1"),
        ("X-Two", "2"),
        ("X-None", ""),
        ("Sec-WebSocket-Protocol", "a, b, c"),
        ("Origin", "https://app.example"),
    ];
    for (name, value) in fields {
        assert_eq!(field(&head, name), Some(value), "{name}: {head}");
    }
    // What it tells about is on stderr.
    let told =
        [&*format!("connected to {url}\n"), "  x-answer: 42\n", "  sec-websocket-protocol: b\n", "code 1000"];
    for part in told {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
}

//! The input of a pipe, cut into messages, by a thread of its own: reading it blocks, and may do so for ever.

use std::io::{self, BufRead, Read};
use std::thread;

use bytes::Bytes;
use sockeye::{Message, Utf8Bytes};
use tokio::sync::mpsc;

use crate::args::Sending;

/// How many messages may wait to be sent before no more is read.
const WAITING: usize = 16;

/// What is longer than this is sent in parts.
const PART: u64 = 1 << 20;

/// What the user has to say; after the last comes the end.
pub(super) enum Input {
    Message(Message),
    /// A part of a message too long to be kept, and whether it is the last.
    Part(Message, bool),
    /// Nothing more can be read, for this reason.
    Failed(String),
    /// Ctrl-C, in the line editor.
    Interrupted,
}

/// Starts to read stdin.
pub(super) fn read(sending: Sending) -> mpsc::Receiver<Input> {
    let (sender, receiver) = mpsc::channel(WAITING);
    thread::spawn(move || {
        // If sending fails, nobody needs it any more.
        let send = |input| sender.blocking_send(input).is_ok();
        if let Err(failure) = cut(io::stdin().lock(), sending, send) {
            let _ = sender.blocking_send(Input::Failed(failure));
        }
    });
    receiver
}

/// Cuts the input into messages and gives them to `send`, for as long as it wants more.
fn cut(mut input: impl BufRead, sending: Sending, mut send: impl FnMut(Input) -> bool) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot read the input: {error}");
    match sending {
        Sending::Lines => {
            let (mut line, mut number) = (Vec::new(), 0u64);
            while input.read_until(b'\n', &mut line).map_err(failed)? > 0 {
                number += 1;
                let length = without_line_end(&line).len();
                line.truncate(length);
                let text = Utf8Bytes::try_from(Bytes::from(std::mem::take(&mut line)));
                let not_utf8 =
                    |_| format!("line {number} of the input is not UTF-8; --binary sends any bytes");
                if !send(Input::Message(Message::Text(text.map_err(not_utf8)?))) {
                    break;
                }
            }
        }
        Sending::Whole => {
            let mut first = true;
            loop {
                let mut part = Vec::new();
                input.by_ref().take(PART).read_to_end(&mut part).map_err(failed)?;
                let is_last = (part.len() as u64) < PART;
                let part = Message::Binary(part.into());
                let is_wanted = match (first, is_last) {
                    // No input is no message, as it is with lines.
                    (true, true) if part.is_empty() => true,
                    (true, true) => send(Input::Message(part)),
                    _ => send(Input::Part(part, is_last)),
                };
                if is_last || !is_wanted {
                    break;
                }
                first = false;
            }
        }
        Sending::Chunks(most) => loop {
            let available = input.fill_buf().map_err(failed)?;
            let chunk = Bytes::copy_from_slice(&available[..available.len().min(most)]);
            input.consume(chunk.len());
            if chunk.is_empty() || !send(Input::Message(Message::Binary(chunk))) {
                break;
            }
        },
    }
    Ok(())
}

fn without_line_end(line: &[u8]) -> &[u8] {
    match line.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(input: &[u8], sending: Sending) -> (Vec<Vec<u8>>, Result<(), String>) {
        let mut messages = Vec::new();
        let result = cut(input, sending, |input| {
            let Input::Message(message) = input else { panic!("it is short") };
            assert_eq!(message.is_text(), sending == Sending::Lines);
            messages.push(message.as_bytes().to_vec());
            true
        });
        (messages, result)
    }

    #[test]
    fn input_is_cut_into_messages() {
        use Sending::{Chunks, Lines, Whole};
        let cases: [(&str, Sending, &[&str]); 11] = [
            ("", Lines, &[]),
            ("\n", Lines, &[""]),
            ("a", Lines, &["a"]),
            ("a\n", Lines, &["a"]),
            ("a\r\nb\n\nc", Lines, &["a", "b", "", "c"]),
            ("a\r\r\nb\rc\r", Lines, &["a\r", "b\rc\r"]),
            (" ü \n", Lines, &[" ü "]),
            ("", Whole, &[]),
            ("a\r\nb\n", Whole, &["a\r\nb\n"]),
            ("", Chunks(3), &[]),
            ("a\nbcd", Chunks(3), &["a\nb", "cd"]),
        ];
        for (input, sending, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|text| text.as_bytes().to_vec()).collect();
            assert_eq!(messages(input.as_bytes(), sending), (expected, Ok(())), "{input:?} {sending:?}");
        }
    }

    #[test]
    fn a_long_input_is_one_message_in_parts() {
        for (length, lengths) in [(PART - 1, &[][..]), (PART, &[PART, 0]), (2 * PART + 5, &[PART, PART, 5])] {
            let (mut parts, mut ends, mut whole) = (Vec::new(), Vec::new(), 0);
            let result = cut(io::BufReader::new(io::repeat(7).take(length)), Sending::Whole, |input| {
                match input {
                    Input::Message(message) => whole += message.len() as u64,
                    Input::Part(part, is_last) => {
                        parts.push(part.len() as u64);
                        ends.push(is_last);
                    }
                    Input::Failed(_) | Input::Interrupted => panic!("it can be read"),
                }
                true
            });
            assert_eq!(result, Ok(()));
            assert_eq!(parts, lengths);
            assert_eq!(ends.iter().position(|last| *last), ends.len().checked_sub(1));
            assert_eq!(whole, if parts.is_empty() { length } else { 0 });
        }
    }

    #[test]
    fn lines_must_be_utf8_and_bytes_need_not() {
        let (sent, result) = messages(b"good\nbad \xff\nnever\n", Sending::Lines);
        assert_eq!(sent, [b"good"]);
        assert!(result.unwrap_err().starts_with("line 2 of the input is not UTF-8"));
        assert_eq!(messages(b"\xff\n", Sending::Whole), (vec![b"\xff\n".to_vec()], Ok(())));
    }
}

//! The pipe: stdin becomes messages, messages become stdout, and nothing else.

use std::future::poll_fn;
use std::io::{self, IsTerminal};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use sockeye::Message;
use tokio::io::{AsyncWrite, Stdout};
use tokio::time::{Sleep, sleep};

use super::pump::{Pump, Step};
use super::{Ending, input, show};
use crate::args::{Connect, Sending};
use crate::complain;
use crate::exit::Exit;

/// How much may wait to be written to stdout before no more is received.
const ROOM: usize = 64 << 10;

pub(super) async fn run(mut pump: Pump, plan: &Connect) -> Ending {
    // Not before the connection is open: what cannot be sent stays with whoever has it.
    let mut input = input::read(plan.sending);
    let mut output = Output::new(plan.sending);
    if matches!(output.form, Form::Binary) {
        pump.receive_parts();
    }
    let mut silence: Option<Pin<Box<Sleep>>> = None;
    loop {
        let step = poll_fn(|cx| {
            let is_drained = output.poll_write(cx)?.is_ready();
            if let Poll::Ready(step) = pump.poll(cx, output.has_room(), |cx| input.poll_recv(cx)) {
                return Poll::Ready(Ok(step));
            }
            // The replies' silence counts from when nothing is on its way any more, on either side.
            if !pump.has_input() && !pump.is_closing() && pump.is_written() && is_drained {
                if let Some(wait) = plan.wait {
                    let silence = silence.get_or_insert_with(|| Box::pin(sleep(wait)));
                    ready!(silence.as_mut().poll(cx));
                    pump.close();
                    // Receiving writes the Close, and has had its turn.
                    cx.waker().wake_by_ref();
                }
            } else {
                silence = None;
            }
            Poll::Pending
        });
        match step.await {
            Ok(Step::Received(message, is_last)) => {
                silence = None;
                if !pump.is_interrupted() {
                    output.put(&message, is_last);
                }
            }
            Ok(Step::InputEnded) => {}
            Ok(Step::Ended) => break,
            Err(error) => {
                let exit = output.fail(&error);
                pump.close_for(exit);
            }
        }
    }
    // What came is written even if it takes long; a further Ctrl-C ends that.
    let drained =
        poll_fn(|cx| if pump.poll_interrupt(cx) { Poll::Ready(Ok(())) } else { output.poll_write(cx) });
    if let Err(error) = drained.await {
        let exit = output.fail(&error);
        pump.close_for(exit);
    }
    pump.finish(input.recv()).await
}

/// Stdout, and what waits to be written to it.
struct Output {
    /// `None` once writing has failed: nothing is written any more.
    stdout: Option<Stdout>,
    buffer: BytesMut,
    /// Whether something was written that may not have arrived yet.
    is_unflushed: bool,
    form: Form,
}

/// The form in which messages are written.
enum Form {
    /// Text as lines, binary as it is.
    Binary,
    /// Text as lines, binary as lines of hex, of which the user is told once.
    Lines { has_told: bool },
    /// For somebody to look at.
    Terminal,
}

impl Output {
    fn new(sending: Sending) -> Self {
        let form = match sending {
            _ if io::stdout().is_terminal() => Form::Terminal,
            Sending::Lines => Form::Lines { has_told: false },
            Sending::Whole | Sending::Chunks(_) => Form::Binary,
        };
        Self { stdout: Some(tokio::io::stdout()), buffer: BytesMut::new(), is_unflushed: false, form }
    }

    fn has_room(&self) -> bool {
        self.buffer.len() < ROOM
    }

    /// Takes a message, or a part of one if that is what the form is for.
    fn put(&mut self, message: &Message, is_last: bool) {
        if self.stdout.is_none() {
            return;
        }
        match (message, &mut self.form) {
            (message, Form::Terminal) => {
                self.buffer.extend_from_slice(show::rendered(message, "").as_bytes());
            }
            (Message::Text(text), Form::Binary) if !is_last => self.buffer.extend_from_slice(text.as_bytes()),
            (Message::Text(text), _) => self.put_line(text),
            (Message::Binary(bytes), Form::Binary) => self.buffer.extend_from_slice(bytes),
            (Message::Binary(bytes), Form::Lines { has_told }) => {
                if !std::mem::replace(has_told, true) {
                    complain("binary messages come as lines of hex; --binary gives the bytes");
                }
                self.put_line(&show::hex(bytes));
            }
        }
    }

    fn put_line(&mut self, line: &str) {
        self.buffer.reserve(line.len() + 1);
        self.buffer.extend_from_slice(line.as_bytes());
        self.buffer.extend_from_slice(b"\n");
    }

    /// Writes what waits: ready when all of it has arrived.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stdout) = &mut self.stdout else { return Poll::Ready(Ok(())) };
        while !self.buffer.is_empty() {
            let count = ready!(Pin::new(&mut *stdout).poll_write(cx, &self.buffer))?;
            self.buffer.advance(count);
            self.is_unflushed = true;
        }
        if self.is_unflushed {
            ready!(Pin::new(stdout).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writing has failed: says what that means for the program.
    fn fail(&mut self, error: &io::Error) -> Exit {
        self.stdout = None;
        self.buffer.clear();
        // Whoever reads has read enough, as `head` does.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Exit::Clean;
        }
        complain(format_args!("cannot write the output: {error}"));
        Exit::Other
    }
}

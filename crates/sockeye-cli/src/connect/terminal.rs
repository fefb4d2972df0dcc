//! The terminal: a line editor with a history, replies above the line that is being edited.

use std::env;
use std::fs::DirBuilder;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Config, ExternalPrinter};
use sockeye::{Message, Utf8Bytes};
use tokio::sync::mpsc;

use super::input::Input;
use super::pump::{Pump, Step};
use super::{Ending, escaped, show};
use crate::args::{Connect, Sending};
use crate::tell;

const PROMPT: &str = "> ";

/// Changes nothing on the screen, where a line stands above the prompt: one row up, and down again.
const NOTHING: &str = "\x1b[A\n";

/// How often the editor is called back, every 2 ms: it may wait for a key only, as for that to be quoted by Ctrl-V.
#[cfg(unix)]
const CALLS: u32 = 500;

/// A line editor on a terminal that can print above the line.
pub(super) struct Editor {
    reader: rustyline::Editor<(), DefaultHistory>,
    printer: Box<dyn ExternalPrinter + Send>,
}

impl Editor {
    /// `None` if the terminal is too simple for it.
    pub(super) fn new() -> Option<Self> {
        let config = Config::builder().history_ignore_space(true).build();
        let mut reader = rustyline::Editor::with_config(config).ok()?;
        let printer = Box::new(reader.create_external_printer().ok()?);
        Some(Self { reader, printer })
    }
}

pub(super) async fn run(editor: Editor, mut pump: Pump, plan: &Connect) -> Ending {
    let Editor { reader, mut printer } = editor;
    if !plan.verbose {
        tell(format_args!("connected to {}", escaped(&plan.url)));
    }
    // Without a bound: the editor must not wait for whoever may be waiting for it to print.
    let (sender, mut lines) = mpsc::unbounded_channel();
    let sending = plan.sending;
    let editor = thread::spawn(move || edit(reader, sending, &sender));
    let mut print = |text: &str| {
        // If the terminal is gone, the end of the input comes too.
        let _ = printer.print(text.to_owned());
    };
    let mut is_at_prompt = true;
    loop {
        let step = poll_fn(|cx| {
            pump.poll(cx, true, |cx| {
                let input = lines.poll_recv(cx);
                is_at_prompt &= matches!(input, Poll::Pending | Poll::Ready(Some(Input::Message(_))));
                input
            })
        });
        match step.await {
            Step::Received(message, _) => print(&show::rendered(&message, "< ")),
            Step::InputEnded => pump.close(),
            Step::Ended => break,
        }
    }
    if is_at_prompt {
        // It has room for one thing to print: when there is room for this one, the last message was taken.
        print(NOTHING);
    }
    call_back(&editor).await;
    pump.finish(async { lines.try_recv().ok() }).await
}

/// Reads lines until Ctrl-D, Ctrl-C, or nobody wants them any more.
fn edit(
    mut reader: rustyline::Editor<(), DefaultHistory>,
    sending: Sending,
    sender: &mpsc::UnboundedSender<Input>,
) {
    // A history that cannot be kept is not worth a word: the session works without.
    let history = history_file();
    if let Some(file) = &history {
        let _ = reader.load_history(file);
    }
    loop {
        let input = match reader.readline(PROMPT) {
            Ok(line) if line.is_empty() => continue,
            Ok(line) => {
                if reader.add_history_entry(&line).unwrap_or(false)
                    && let Some(file) = &history
                {
                    let _ = reader.append_history(file);
                }
                Input::Message(if sending == Sending::Lines {
                    Message::Text(Utf8Bytes::from(line))
                } else {
                    Message::Binary(line.into())
                })
            }
            Err(ReadlineError::Eof) => break,
            Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => Input::Interrupted,
            Err(error) => Input::Failed(format!("cannot read from the terminal: {error}")),
        };
        let is_last = !matches!(input, Input::Message(_));
        if sender.send(input).is_err() || is_last {
            break;
        }
    }
}

/// Where the history is kept, in a directory for what programs remember (XDG Base Directory Specification).
fn history_file() -> Option<PathBuf> {
    // "All paths set in these environment variables must be absolute. If an implementation encounters a relative path [..] it
    // should consider the path invalid and ignore it."
    let directory = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")))?;
    let directory = state.join("sockeye");
    create_private(&directory).then(|| directory.join("history"))
}

fn create_private(directory: &Path) -> bool {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).is_ok()
}

/// Calls the editor back from its prompt, so that it shows all that it was given and leaves the terminal as it was.
#[cfg(unix)]
async fn call_back(editor: &thread::JoinHandle<()>) {
    use rustix::process::{Signal, getpid, kill_process};
    for _ in 0..CALLS {
        if editor.is_finished() {
            break;
        }
        // At the prompt it takes this for an interrupt. Just before, the signal comes to nothing, and is sent again.
        let _ = kill_process(getpid(), Signal::INT);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// There is nothing to call it with: it ends with the program.
#[cfg(not(unix))]
async fn call_back(_: &thread::JoinHandle<()>) {}

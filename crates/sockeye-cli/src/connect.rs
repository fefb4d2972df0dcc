//! `sockeye connect`: a line editor on a terminal, a faithful pipe otherwise.

mod input;
mod pipe;
mod pump;
mod show;
mod terminal;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use sockeye::{
    CloseInfo, Error, Failure, HeaderMap, OpenCause, Refusal, Side, Timings, UrlError, WebSocket, header,
};
use tokio::runtime;

use crate::args::Connect;
use crate::exit::Exit;
use crate::signals::Interrupts;
use crate::{complain, tell};

use pump::Pump;
use show::escaped;

/// How many lines of a refusal's body are told.
const BODY_LINES: usize = 10;

/// The longest line of a refusal's body that is told whole, in characters.
const BODY_LINE: usize = 200;

/// How a session has ended.
struct Ending {
    /// What ended it on this side, if that decides the exit code: the input or the output failed, or the user wished so.
    own: Option<Exit>,
    /// What the connection ended with.
    result: Result<(), Error>,
    /// How it was closed, if it was.
    info: Option<CloseInfo>,
    /// When this side began to close, if it did.
    closing_since: Option<Instant>,
    /// Whether there was input that could not be sent any more.
    has_unsent: bool,
}

pub(crate) fn run(plan: &Connect) -> Exit {
    let exit = match runtime::Builder::new_current_thread().enable_all().build() {
        Err(error) => Err(error),
        Ok(runtime) => {
            let exit = runtime.block_on(connect(plan));
            // A thread may still hang in the resolver, or in a write that nobody reads.
            runtime.shutdown_background();
            exit
        }
    };
    exit.unwrap_or_else(|error| {
        complain(format_args!("cannot start: {error}"));
        Exit::Other
    })
}

async fn connect(plan: &Connect) -> io::Result<Exit> {
    let mut interrupts = Interrupts::new()?;
    let mut connections =
        plan.client.reconnecting(&plan.url).backoff(plan.backoff.clone()).on_failure(tell_failure);
    let opened = tokio::select! {
        () = interrupts.next() => return Ok(Exit::Interrupted),
        opened = connections.connect() => opened,
    };
    let ws = match opened {
        Ok(ws) => ws,
        Err(error) => {
            tell_failed_opening(&error, plan);
            return Ok(Exit::of(&error));
        }
    };
    if plan.verbose {
        tell_handshake(&ws, &plan.url);
    }
    let editor =
        if io::stdin().is_terminal() && io::stdout().is_terminal() { terminal::Editor::new() } else { None };
    let is_terminal = editor.is_some();
    let close_timeout = ws.config().close_timeout;
    let pump = Pump::new(ws, connections, plan.reconnects, interrupts);
    let ending = match editor {
        Some(editor) => terminal::run(editor, pump, plan).await,
        None => pipe::run(pump, plan).await,
    };
    Ok(tell_ending(&ending, close_timeout, is_terminal || plan.verbose))
}

fn tell_ending(ending: &Ending, close_timeout: Option<Duration>, told_anyway: bool) -> Exit {
    let exit = match (&ending.result, &ending.info) {
        (Err(error), _) => {
            complain(escaped(&error.to_string()));
            Exit::of(error)
        }
        (Ok(()), Some(info)) => {
            let waited = ending.closing_since.map(|since| since.elapsed());
            let timed_out = waited.is_some_and(|waited| close_timeout.is_some_and(|limit| waited >= limit));
            let exit = Exit::of_close(info, timed_out);
            let has_unsent = ending.has_unsent && ending.own.is_none();
            if told_anyway || has_unsent || (ending.own.is_none() && exit != Exit::Clean) {
                tell(describe_close(info, timed_out));
            }
            if has_unsent {
                complain("not all of the input was sent");
            }
            if has_unsent && exit == Exit::Clean { Exit::Other } else { exit }
        }
        // Given up by a second Ctrl-C, or while it was lost.
        (Ok(()), None) => Exit::Interrupted,
    };
    match ending.own {
        Some(Exit::Other) if exit != Exit::Clean => exit,
        Some(own) => own,
        None => exit,
    }
}

/// What has failed, and when it is tried again.
fn tell_failure(failure: &Failure<'_>) {
    let pause = format!("trying again in {:.1} s", failure.wait.as_secs_f64());
    match failure.error {
        Some(error) => tell(format_args!("{}; {pause}", brief(error))),
        None => tell(pause),
    }
}

/// Who closed, the code, the reason, and whether cleanly.
fn describe_close(info: &CloseInfo, timed_out: bool) -> String {
    let who = match info.initiator {
        Side::Local => "closed by us",
        Side::Peer => "closed by the server",
    };
    if !info.clean {
        let why = if timed_out {
            "did not answer the Close in time"
        } else {
            "ended the connection without a Close"
        };
        return format!("{who}, not cleanly (1006): the server {why}");
    }
    let code = match info.code.into() {
        1005u16 => "no code".to_owned(),
        code => format!("code {code}"),
    };
    match info.reason.as_str() {
        "" => format!("{who}: {code}"),
        reason => format!("{who}: {code}, {}", escaped(reason)),
    }
}

fn tell_handshake(ws: &WebSocket, url: &str) {
    tell(format_args!("connected to {}", escaped(url)));
    let Some(handshake) = ws.handshake() else { return };
    if let Some(address) = handshake.peer_addr {
        tell(format_args!("  at {address}"));
    }
    if let Some(tls) = &handshake.tls {
        tell(format_args!("  {:?}, {:?}", tls.protocol_version, tls.cipher_suite));
    }
    let Timings { resolve, connect, proxy, tls, upgrade, total, .. } = handshake.timings;
    let phases =
        [("resolve", resolve), ("connect", connect), ("proxy", proxy), ("tls", tls), ("upgrade", upgrade)];
    let taken: Vec<_> =
        phases.into_iter().filter_map(|(name, time)| Some(format!("{name} {:.1?}", time?))).collect();
    tell(format_args!("  {}; in all {total:.1?}", taken.join(", ")));
    tell_headers(&handshake.headers);
}

fn tell_headers(headers: &HeaderMap) {
    for (name, value) in headers {
        tell(format_args!("  {name}: {}", escaped(&String::from_utf8_lossy(value.as_bytes()))));
    }
}

/// In which phase an opening has failed and after how long matters only when it took too long.
fn brief(error: &Error) -> String {
    match error {
        Error::Open(open) if !matches!(open.cause, OpenCause::Timeout) => {
            escaped(&open.cause.to_string()).into_owned()
        }
        error => escaped(&error.to_string()).into_owned(),
    }
}

fn tell_failed_opening(error: &Error, plan: &Connect) {
    complain(if plan.verbose { escaped(&error.to_string()).into_owned() } else { brief(error) });
    if let Some(refusal) = error.refusal() {
        tell_refusal(refusal, plan.verbose);
    }
    if let Error::Url(error) = error
        && let Some(better) = better_url(&plan.url, error)
    {
        tell(format_args!("Perhaps: sockeye connect {}", escaped(&better)));
    }
}

fn tell_refusal(refusal: &Refusal, verbose: bool) {
    if verbose {
        tell_headers(&refusal.headers);
    } else if let Some(location) = refusal.headers.get(header::LOCATION) {
        tell(format_args!("  location: {}", escaped(&String::from_utf8_lossy(location.as_bytes()))));
    }
    let body = String::from_utf8_lossy(&refusal.body);
    let mut lines = body.trim().lines();
    for line in lines.by_ref().take(BODY_LINES) {
        let cut: String = line.chars().take(BODY_LINE).collect();
        let rest = if cut.len() < line.len() { "…" } else { "" };
        tell(format_args!("  {}{rest}", escaped(&cut)));
    }
    if lines.next().is_some() || refusal.truncated {
        tell("  …");
    }
}

/// What the user may have meant by a URL that is not one of a WebSocket.
fn better_url(url: &str, error: &UrlError) -> Option<String> {
    match (error, url.split_once("://")) {
        (UrlError::Scheme(scheme), Some((_, rest))) if scheme == "http" => Some(format!("ws://{rest}")),
        (UrlError::Scheme(scheme), Some((_, rest))) if scheme == "https" => Some(format!("wss://{rest}")),
        (UrlError::Scheme(_) | UrlError::Syntax(_), None) if !url.is_empty() => {
            Some(format!("ws://{}", url.trim_start_matches('/')))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_better_url_is_proposed() {
        let cases = [
            ("localhost:9000/echo", Some("ws://localhost:9000/echo")),
            ("127.0.0.1:9000", Some("ws://127.0.0.1:9000")),
            ("//example.com/", Some("ws://example.com/")),
            ("http://example.com/a", Some("ws://example.com/a")),
            ("https://example.com/a", Some("wss://example.com/a")),
            ("ftp://example.com/", None),
            ("ws://", None),
            ("", None),
        ];
        for (url, better) in cases {
            // Whatever is wrong with it, the library says so before it does anything.
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let Err(Error::Url(error)) = runtime.block_on(sockeye::connect(url)) else { panic!("{url}") };
            assert_eq!(better_url(url, &error).as_deref(), better, "{url}");
        }
    }
}

//! `docs/deploying.md` and `packaging/`: what is shown is what is there, what is named exists, and the deadlines are in order.

#![cfg(unix)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use sockeye::Config;
use support::run;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands behind the first `before` in a text, up to the next of these characters.
fn behind<'a>(text: &'a str, before: &str, end: &[char]) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("there is no {before:?}"));
    rest.split(end).next().unwrap()
}

fn number(text: &str, before: &str) -> u64 {
    let found = behind(text, before, &['\n', ';', 's', ' ']);
    found.parse().unwrap_or_else(|error| panic!("{before}{found}: {error}"))
}

/// The lines of a text without the indentation that all of them share.
fn flush(text: &str) -> String {
    let indented = text.lines().filter(|line| !line.trim().is_empty());
    let indent = indented.map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    text.lines().map(|line| line.get(indent..).unwrap_or("").trim_end()).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_shown_is_in_the_files() {
    let document = read("docs/deploying.md");
    let mut shown = BTreeSet::new();
    for block in document.split("\n```").skip(1).step_by(2) {
        let (info, text) = block.split_once('\n').unwrap();
        let Some((_, path)) = info.split_once(' ') else { continue };
        let (file, text) = (read(path), flush(text));
        let lines: Vec<&str> = file.lines().collect();
        let is_there = lines.windows(text.lines().count()).any(|part| flush(&part.join("\n")) == text);
        assert!(is_there, "not in {path}:\n{text}");
        shown.insert(path.to_owned());
    }
    let files = fs::read_dir(root().join("packaging")).unwrap();
    let files = files.map(|file| format!("packaging/{}", file.unwrap().file_name().to_str().unwrap()));
    assert_eq!(shown, files.collect(), "each file is shown, and each that is shown is there");
}

#[test]
fn what_is_named_is_an_option() {
    let help = run(&["serve", "--help"], "").out().to_owned();
    let is_option = |name: &str| {
        help.split(&format!("--{name}")).skip(1).any(|rest| rest.starts_with([' ', '\n', '.', ',']))
    };
    let document = read("docs/deploying.md");
    let in_text = document.split('`').filter_map(|code| code.strip_prefix("--"));
    let mut names: Vec<String> = in_text.map(|code| code.split(' ').next().unwrap().to_owned()).collect();
    // Those of others.
    names.retain(|name| !["stop-timeout", "format"].contains(&&name[..]));
    assert!(names.len() > 20, "{names:?}");
    let keys = read("packaging/sockeye.toml");
    let keys = keys.lines().filter_map(|line| line.trim_start_matches('#').split_once(" = "));
    let keys: Vec<&str> = keys.map(|(key, _)| key).filter(|key| !key.contains(' ')).collect();
    assert!(keys.len() > 8, "{keys:?}");
    for name in names.iter().map(String::as_str).chain(keys) {
        assert!(is_option(name), "`sockeye serve` has no --{name}");
    }
}

#[test]
fn the_image_has_the_version_of_rust_that_the_program_needs() {
    let image = read("packaging/Containerfile");
    assert_eq!(behind(&image, "/rust:", &['-']), env!("CARGO_PKG_RUST_VERSION"));
}

#[test]
fn limits_and_deadlines_are_in_order() {
    let (nginx, haproxy) = (read("packaging/nginx.conf"), read("packaging/haproxy.cfg"));
    let (toml, service) = (read("packaging/sockeye.toml"), read("packaging/sockeye.service"));
    let config = Config::default();
    let found_dead = config.ping_interval.unwrap() + config.ping_timeout.unwrap();
    for (file, name) in [
        (&nginx, "proxy_read_timeout "),
        (&nginx, "proxy_send_timeout "),
        (&haproxy, "timeout tunnel "),
        (&haproxy, "timeout client "),
        (&haproxy, "timeout server "),
    ] {
        assert!(Duration::from_secs(number(file, name)) > found_dead, "{name}");
    }
    let (drain, deadline) = (number(&toml, "\ndrain = "), number(&toml, "\ndrain-deadline = "));
    assert!(Duration::from_secs(drain) + config.close_timeout.unwrap() < Duration::from_secs(deadline));
    assert!(number(&service, "TimeoutStopSec=") > deadline);
    let connections = number(&toml, "\nmax-connections = ");
    assert!(number(&service, "LimitNOFILE=") > connections);
    assert!(number(&nginx, "worker_connections ") >= 2 * connections);
    assert!(number(&nginx, "worker_rlimit_nofile ") > number(&nginx, "worker_connections "));
    assert!(number(&haproxy, "maxconn ") >= connections);
}

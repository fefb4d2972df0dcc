//! `sockeye serve`, watched: metrics, readiness and the log.

#![cfg(unix)]

mod support;

use std::io::{Read, Write};

use rustix::process::Signal;
use support::*;

/// Exchanges a message, and closes.
fn visit(url: &str) {
    within(async {
        let mut ws = sockeye::connect(url).await.unwrap();
        ws.send("hello").await.unwrap();
        assert!(ws.recv().await.unwrap().is_some());
        assert!(ws.close(1000, "").await.unwrap().clean);
    });
}

#[test]
fn metrics_are_in_the_format_that_prometheus_reads() {
    let serve = Serve::start(&[]);
    visit(&serve.url());
    let body = metrics_with(
        serve.address(),
        &[
            "sockeye_connections_open 0",
            "sockeye_connections_total 1",
            "sockeye_connections_closed_total{code=\"1000\",initiator=\"peer\"} 1",
            "sockeye_handshakes_refused_total{reason=\"origin\"} 0",
            "sockeye_messages_total{direction=\"received\",kind=\"text\"} 1",
            "sockeye_messages_total{direction=\"sent\",kind=\"binary\"} 0",
            "sockeye_message_bytes_total{direction=\"sent\",kind=\"text\"} 5",
            // Headers of 2 bytes, masking keys of 4, and a code of 2.
            "sockeye_wire_bytes_total{direction=\"received\"} 19",
            "sockeye_wire_bytes_total{direction=\"sent\"} 11",
            "sockeye_pings_total{direction=\"sent\"} 0",
            "sockeye_ping_round_trip_seconds_bucket{le=\"0.0025\"} 0",
            "sockeye_ping_round_trip_seconds_bucket{le=\"+Inf\"} 0",
            "sockeye_ping_round_trip_seconds_count 0",
            "sockeye_queued_bytes 0",
            "sockeye_queued_messages 0",
            "sockeye_slow_consumer_messages_total{action=\"dropped\"} 0",
            "sockeye_slow_consumers_closed_total 0",
            "sockeye_accept_errors_total 0",
            "sockeye_draining 0",
            "sockeye_drained_connections_total{outcome=\"aborted\"} 0",
        ],
    );
    assert!(body.ends_with("# EOF\n"), "{body}");
    let (head, _) = get(serve.address(), "/metrics");
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(field(&head, "content-type"), Some(content_type));
    // Each name is in the table, and each in the table is here.
    let table = include_str!("../../../docs/observing.md");
    let names: Vec<_> = body.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(names.len() > 10);
    for line in &names {
        let (name, kind) = line.split_once(' ').unwrap();
        let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        assert!(table.contains(&format!("| `{name}` | {kind} |")), "{name} {kind} is not documented");
    }
    let is_here = |line: &&str| {
        line.starts_with("| `sockeye_") || (line.starts_with("| `process_") && cfg!(target_os = "linux"))
    };
    assert_eq!(table.lines().filter(is_here).count(), names.len());
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_is_among_the_metrics() {
    let serve = Serve::start(&[]);
    let body = get(serve.address(), "/metrics").1;
    let value = |name: &str| -> f64 {
        let mut values = body.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        values.next().unwrap_or_else(|| panic!("{name} in {body}")).parse().unwrap()
    };
    let resident = value("process_resident_memory_bytes");
    assert!((1e6..1e9).contains(&resident), "{resident}");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let start = value("process_start_time_seconds");
    // The system tells when it was started in whole seconds, and others may set its clock.
    assert!((now - 60.0..now + 2.0).contains(&start), "{start}, now it is {now}");
    assert!((0.0..60.0).contains(&value("process_cpu_seconds_total")));
    let (open, most) = (value("process_open_fds"), value("process_max_fds"));
    assert!(open > 4.0 && open < most, "{open} of {most}");
    let others: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(serve.address()).unwrap()).collect();
    metrics_with(serve.address(), &[&format!("process_open_fds {}", open + 20.0)]);
    drop(others);
}

#[test]
fn metrics_are_shown_to_whom_they_are_for() {
    // On an address that others can reach, to nobody.
    let serve = Serve::start(&["--listen", "0.0.0.0:0"]);
    let address = serve.address().replace("0.0.0.0", "127.0.0.1");
    assert_eq!(status(&get(&address, "/metrics").0), "404 Not Found");
    assert_eq!(status(&get(&address, "/readyz").0), "200 OK");

    // On a unix socket, to those whom its permissions let in.
    let socket = std::env::temp_dir().join(format!("sockeye-metrics-{}", std::process::id()));
    let serve = Serve::start(&["--listen", &format!("unix:{}", socket.display())]);
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("# EOF\n"), "{answer}");
    assert_eq!(serve.stop().code, Some(0));

    // With a token, to those who show it.
    let file = std::env::temp_dir().join(format!("sockeye-token-{}", std::process::id()));
    std::fs::write(&file, "s3cret~token\n").unwrap();
    let path = file.to_str().unwrap();
    let serve = Serve::start(&["--listen", "0.0.0.0:0", "--metrics-token-file", path]);
    let address = serve.address().replace("0.0.0.0", "127.0.0.1");
    let show = |authorization: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n{authorization}\r\n");
        http(&address, &request).0
    };
    let refused = show("");
    assert_eq!(status(&refused), "401 Unauthorized");
    assert_eq!(field(&refused, "www-authenticate"), Some("Bearer"));
    for wrong in ["Bearer s3cret", "Bearer ", "Basic s3cret~token", "s3cret~token", "Bearer s3cret~token2"] {
        assert_eq!(status(&show(&format!("Authorization: {wrong}\r\n"))), "401 Unauthorized", "{wrong}");
    }
    for right in ["Bearer s3cret~token", "bearer  s3cret~token"] {
        assert_eq!(status(&show(&format!("Authorization: {right}\r\n"))), "200 OK", "{right}");
    }
    std::fs::write(&file, " \n").unwrap();
    let run = run(&["serve", "--listen", "127.0.0.1:0", "--metrics-token-file", path], "");
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("--metrics-token-file"), "{}", run.stderr);
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn an_address_for_metrics_serves_them_alone_and_until_the_end() {
    let serve = Serve::start(&["--metrics-listen", "127.0.0.1:0"]);
    let metrics = serve.metrics.clone().unwrap();
    assert_eq!(status(&get(serve.address(), "/metrics").0), "404 Not Found");
    for path in ["/", "/echo"] {
        assert_eq!(status(&get(&metrics, path).0), "404 Not Found", "{path}");
    }
    let evil = http(&metrics, "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n").0;
    assert_eq!(status(&evil), "421 Misdirected Request");
    let error = within(sockeye::connect(&format!("ws://{metrics}/echo"))).unwrap_err();
    assert_eq!(error.refusal().unwrap().status.as_u16(), 404);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(status(&get(&metrics, path).0), "200 OK", "{path}");
        let post = format!("POST {path} HTTP/1.1\r\nHost: {metrics}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(status(&http(&metrics, &post).0), "405 Method Not Allowed", "{path}");
    }
    within(async {
        let mut ws = sockeye::connect(&serve.url()).await.unwrap();
        ws.send("there?").await.unwrap();
        assert!(ws.recv().await.unwrap().is_some());
        // The client does not answer the Close: until its deadline the server goes down.
        serve.program.signal(Signal::TERM);
        metrics_with(&metrics, &["sockeye_draining 1", "sockeye_connections_open 1"]);
        let (head, body) = get(&metrics, "/readyz");
        assert_eq!((status(&head), &body[..]), ("503 Service Unavailable", "The server is going down.\n"));
        assert_eq!(status(&get(&metrics, "/healthz").0), "200 OK");
        assert_eq!(ws.recv().await.unwrap(), None);
    });
    assert_eq!(serve.finish().code, Some(0));
}

#[test]
fn all_listeners_are_counted_and_the_limit_does_not_hold_for_who_watches() {
    let two = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--tls-self-signed"];
    let serve =
        Serve::start(&[&two[..], &["--max-connections", "2", "--metrics-listen", "127.0.0.1:0"]].concat());
    let metrics = serve.metrics.clone().unwrap();
    within(async {
        let client = sockeye::Client::new()
            .proxy(None)
            .tls(sockeye::Tls::default().dangerously_accept_any_certificate());
        let mut open = Vec::new();
        for address in &serve.addresses {
            open.push(client.connect(&format!("wss://{address}/echo")).await.unwrap());
        }
        assert!(client.connect(&format!("wss://{}/echo", serve.address())).await.is_err());
    });
    metrics_with(
        &metrics,
        &["sockeye_connections_total 2", "sockeye_handshakes_refused_total{reason=\"limit\"} 1"],
    );
    assert_eq!(serve.stop().code, Some(0));
}

#[test]
fn the_log_tells_who_connects_and_no_secrets() {
    for format in ["text", "json"] {
        let serve = Serve::start(&["--log", format]);
        visit(&format!("{}?token=secret", serve.url()));
        let error = within(sockeye::connect(&format!("ws://{}/nowhere", serve.address()))).unwrap_err();
        assert_eq!(error.refusal().unwrap().status.as_u16(), 404);
        let run = serve.stop();
        assert_eq!(run.code, Some(0));
        assert_eq!(run.out(), "", "stdout is for where it listens");
        for part in [
            "websocket",
            "/echo?token=***",
            "accepted",
            "closed",
            "1000",
            "refused",
            "rejected",
            "127.0.0.1:",
        ] {
            assert!(run.stderr.contains(part), "{part} in {}", run.stderr);
        }
        assert!(!run.stderr.contains("secret") && !run.stderr.contains('\u{1b}'), "{}", run.stderr);
        let events: Vec<_> = run.stderr.lines().filter(|line| line.contains("accepted")).collect();
        assert_eq!((events.len(), events[0].starts_with('{')), (1, format == "json"), "{events:?}");
    }
    let serve = Serve::start(&[]);
    visit(&serve.url());
    let run = serve.stop();
    assert!(!run.stderr.contains("accepted"), "nothing is logged unless asked for: {}", run.stderr);
}

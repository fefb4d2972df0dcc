//! `sockeye serve --root`: static files, and what pages of other origins may read.

#![cfg(unix)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use support::*;

/// A directory of a test's own, removed in the end: what is served is in `site`, beside `secret.txt`.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sockeye-files-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(directory.0.join("site")).unwrap();
        fs::write(directory.0.join("secret.txt"), "secret").unwrap();
        directory
    }

    /// A file that is served.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join("site").join(name)
    }

    fn serve(&self) -> Serve {
        self.serve_with(&[])
    }

    fn serve_with(&self, flags: &[&str]) -> Serve {
        Serve::start(&[&["--root", self.path("").to_str().unwrap()], flags].concat())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Asks with further header fields, and gives status, head and body.
fn ask(address: &str, method: &str, path: &str, fields: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("the end of a head");
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).unwrap();
    (head[9..12].parse().unwrap(), head, body)
}

fn get(address: &str, path: &str) -> (u16, String, Vec<u8>) {
    ask(address, "GET", path, "")
}

#[test]
fn files_come_with_their_types_and_validators() {
    let directory = Directory::new();
    let files = [
        ("index.html", "text/html; charset=utf-8"),
        ("a/style.css", "text/css; charset=utf-8"),
        ("a/b/code.js", "text/javascript; charset=utf-8"),
        ("module.mjs", "application/javascript"),
        ("data.json", "application/json"),
        ("code.wasm", "application/wasm"),
        ("picture.svg", "image/svg+xml"),
        ("picture.PNG", "image/png"),
        ("notes.txt", "text/plain; charset=utf-8"),
        ("no-extension", "application/octet-stream"),
        ("unknown.sockeye", "application/octet-stream"),
    ];
    for (name, _) in files {
        directory.file(name, format!("this is {name}"));
    }
    let serve = directory.serve();
    for (name, kind) in files {
        let (status, head, body) = get(serve.address(), &format!("/{name}?v=1"));
        assert_eq!((status, body), (200, format!("this is {name}").into_bytes()), "{name}");
        for (field_name, value) in [
            ("content-type", kind),
            ("accept-ranges", "bytes"),
            ("cache-control", "no-cache"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(field(&head, field_name), Some(value), "{name}: {head}");
        }
        assert!(field(&head, "etag").is_some() && field(&head, "last-modified").is_some(), "{head}");
        // A policy would keep the user's own pages from what they need.
        assert_eq!(field(&head, "content-security-policy"), None);
        assert_eq!(field(&head, "vary"), None, "it is the same for all origins");

        let (status, same, body) = ask(serve.address(), "HEAD", &format!("/{name}"), "");
        assert_eq!((status, body.len()), (200, 0));
        for name in ["content-type", "content-length", "etag", "last-modified", "accept-ranges"] {
            assert_eq!(field(&same, name), field(&head, name), "{name}");
        }
    }
    directory.file("empty.txt", "");
    let (status, head, body) = get(serve.address(), "/empty.txt");
    assert_eq!((status, field(&head, "content-length"), body.len()), (200, Some("0"), 0));
}

#[test]
fn names_are_percent_decoded_once() {
    let directory = Directory::new();
    for name in ["two words.txt", "紅鮭.txt", "100%.txt", "%2e.txt", "a+b.txt", "semi;colon.txt", "c:d.txt"]
    {
        directory.file(name, name);
    }
    let serve = directory.serve();
    for (path, name) in [
        ("/two%20words.txt", "two words.txt"),
        ("/%E7%B4%85%E9%AE%AD.txt", "紅鮭.txt"),
        ("/100%25.txt", "100%.txt"),
        ("/100%.txt", "100%.txt"),
        ("/%252e.txt", "%2e.txt"),
        ("/a+b.txt", "a+b.txt"),
        ("/semi;colon.txt", "semi;colon.txt"),
        ("/c:d.txt", "c:d.txt"),
    ] {
        let (status, _, body) = get(serve.address(), path);
        assert_eq!((status, String::from_utf8(body).unwrap()), (200, name.into()), "{path}");
    }
}

#[test]
fn ours_stay_and_the_page_gives_way_to_an_index() {
    let directory = Directory::new();
    for name in ["echo", "healthz", "readyz", "metrics", "index.html"] {
        directory.file(name, "a file");
    }
    let serve = directory.serve();
    let address = serve.address();
    for (path, status) in [("/echo", 426), ("/healthz", 200), ("/readyz", 200), ("/metrics", 200)] {
        let (found, _, body) = get(address, path);
        assert_eq!(found, status, "{path}");
        assert_ne!(body, b"a file", "{path}");
    }
    assert_eq!(get(address, "/").2, b"a file");
    assert_eq!(get(address, "/index.html").2, b"a file");

    // Without it the page is there, with its policy.
    fs::remove_file(directory.path("index.html")).unwrap();
    let (status, head, page) = get(address, "/");
    assert_eq!(status, 200);
    assert!(field(&head, "content-security-policy").is_some(), "{head}");
    assert!(String::from_utf8(page).unwrap().contains("Sockeye: a WebSocket echo"));
    assert_eq!(get(address, "/index.html").0, 404);

    // What is served is what is there, and the same goes for the names of hosts.
    directory.file("new.txt", "new");
    assert_eq!(get(address, "/new.txt").2, b"new");
    let rebound = "GET /new.txt HTTP/1.1\r\nHost: rebound.example\r\n\r\n";
    assert!(http(address, rebound).0.contains(" 421 "));
    let absolute = format!("GET http://{address}/new.txt HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(http(address, &absolute).1, "new");
}

#[test]
fn only_get_and_head_are_for_files() {
    let directory = Directory::new();
    directory.file("a.txt", "a");
    let serve = directory.serve();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        for path in ["/a.txt", "/", "/nothing", "/healthz"] {
            let (status, head, _) = ask(serve.address(), method, path, "Content-Length: 0\r\n");
            assert_eq!((status, field(&head, "allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
    assert_eq!(fs::read(directory.path("a.txt")).unwrap(), b"a");
}

#[test]
fn directories_have_an_index_behind_a_slash_and_no_listing() {
    let directory = Directory::new();
    directory.file("docs/index.html", "the index");
    directory.file("bare/a.txt", "a");
    directory.file("two words/index.html", "spaced");
    let serve = directory.serve();
    let address = serve.address();
    for (path, location) in [
        ("/docs", "/docs/"),
        ("/docs?a=1&b=/", "/docs/?a=1&b=/"),
        ("/two%20words", "/two%20words/"),
        ("/bare", "/bare/"),
    ] {
        for method in ["GET", "HEAD"] {
            let (status, head, body) = ask(address, method, path, "");
            assert_eq!((status, field(&head, "location")), (307, Some(location)), "{path}");
            assert_eq!(field(&head, "cache-control"), Some("no-cache"));
            assert!(body.is_empty());
        }
    }
    assert_eq!(get(address, "/docs/").2, b"the index");
    assert_eq!(get(address, "/two%20words/?x").2, b"spaced");
    let (status, _, body) = get(address, "/bare/");
    assert_eq!((status, &body[..]), (404, &b"Not found.\n"[..]));
    // A file is no directory.
    for path in ["/bare/a.txt/", "/bare/a.txt/b", "/docs/index.html/"] {
        assert_eq!(get(address, path).0, 404, "{path}");
    }
    // A redirection to another host: "//docs/" is the root of docs.
    for path in ["//docs", "//docs/", "/%2fdocs", "///docs", "/docs//", "/\\docs", "/%5cdocs"] {
        let (status, head, _) = get(address, path);
        assert!(matches!(status, 400 | 404), "{path}: {head}");
        assert_eq!(field(&head, "location"), None, "{path}");
    }
    let absolute = format!("GET http://{address}/docs HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(field(&http(address, &absolute).0, "location"), Some("/docs/"));
}

#[test]
fn nothing_leads_out_of_the_directory() {
    let directory = Directory::new();
    directory.file("a/b.txt", "b");
    directory.file("back\\slash.txt", "backslash");
    let outside = directory.0.join("secret.txt");
    let serve = directory.serve();
    let absolute = outside.to_str().unwrap();
    let mut paths: Vec<String> = [
        "/../secret.txt",
        "/a/../../secret.txt",
        "/a/../b.txt",
        "/./a/b.txt",
        "/%2e%2e/secret.txt",
        "/%2E%2E/secret.txt",
        "/.%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/a/%2e%2e/%2e%2e/secret.txt",
        "/a%2f..%2f..%2fsecret.txt",
        "/%252e%252e/secret.txt",
        "/..%252fsecret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/%ef%bc%8e%ef%bc%8e/secret.txt",
        "/..\\secret.txt",
        "/..%5csecret.txt",
        "/%2e%2e%5csecret.txt",
        "/back%5cslash.txt",
        "/a/..;/..;/secret.txt",
        "/a/b.txt%00",
        "/a/b.txt%00.html",
        "/%00",
        "/a%0d%0aX: y",
        "/~root/",
        "/file:///etc/passwd",
        "/%ff%fe",
        "/a/b.txt%",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.extend([absolute.to_owned(), format!("/{absolute}"), format!("/%2f{}", &absolute[1..])]);
    for path in paths {
        let (status, _, body) = get(serve.address(), &path);
        assert!(matches!(status, 400 | 404), "{path}: {status}");
        for told in ["secret", "backslash"] {
            assert!(!body.windows(told.len()).any(|part| part == told.as_bytes()), "{path}");
        }
    }
    let long = format!("/{}", "a".repeat(5000));
    assert_eq!(get(serve.address(), &long).0, 404, "longer than a name may be");
    assert_eq!(get(serve.address(), "/a/b.txt").2, b"b");
}

#[test]
fn what_begins_with_a_dot_is_not_shown() {
    let directory = Directory::new();
    for name in
        [".env", ".git/config", "a/.htpasswd", "a/.b/c.txt", ".well-known/security.txt", ".well-known/.env"]
    {
        directory.file(name, "hidden");
    }
    let serve = directory.serve();
    for path in [
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/.git",
        "/.git/",
        "/a/.htpasswd",
        "/a/.b/c.txt",
        "/.well-known/.env",
    ] {
        assert_eq!(get(serve.address(), path).0, 404, "{path}");
    }
    // RFC 8615: what is asked for at any host.
    assert_eq!(get(serve.address(), "/.well-known/security.txt").2, b"hidden");
}

#[test]
fn links_are_followed_within_the_directory_only() {
    let directory = Directory::new();
    directory.file("real/a.txt", "a");
    directory.file("..2026/data.txt", "data");
    let outside = directory.0.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("index.html"), "secret").unwrap();
    let links: [(&str, PathBuf); 10] = [
        ("file-out.txt", "../secret.txt".into()),
        ("file-out-absolute.txt", directory.0.join("secret.txt")),
        ("out", "../outside".into()),
        ("out-absolute", outside.clone()),
        ("etc", "/etc".into()),
        ("dangling.txt", "nowhere".into()),
        ("circle", "circle".into()),
        ("in.txt", "real/a.txt".into()),
        ("in", directory.path("real")),
        // As Kubernetes mounts what is configured: who sets a link wants it followed, whatever its target is called.
        ("data.txt", "..2026/data.txt".into()),
    ];
    for (name, target) in links {
        symlink(target, directory.path(name)).unwrap();
    }
    // A directory whose name begins as the root's does.
    fs::create_dir(directory.0.join("site-b")).unwrap();
    fs::write(directory.0.join("site-b/b.txt"), "secret").unwrap();
    symlink("../site-b/b.txt", directory.path("beside.txt")).unwrap();
    fs::create_dir(directory.path("linked-index")).unwrap();
    symlink("../../secret.txt", directory.path("linked-index/index.html")).unwrap();
    let serve = directory.serve();
    for path in [
        "/file-out.txt",
        "/file-out-absolute.txt",
        "/out",
        "/out/",
        "/out/index.html",
        "/out-absolute/",
        "/etc",
        "/etc/passwd",
        "/dangling.txt",
        "/circle",
        "/circle/a",
        "/beside.txt",
        "/linked-index/",
        "/linked-index/index.html",
        "/real/../in.txt",
    ] {
        for method in ["GET", "HEAD"] {
            assert_eq!(ask(serve.address(), method, path, "").0, 404, "{method} {path}");
        }
    }
    for (path, content) in [("/in.txt", "a"), ("/in/a.txt", "a"), ("/data.txt", "data")] {
        assert_eq!(get(serve.address(), path).2, content.as_bytes(), "{path}");
    }
}

#[test]
fn the_directory_itself_may_be_a_link_that_is_set_anew() {
    let directory = Directory::new();
    for release in ["1", "2"] {
        fs::create_dir(directory.0.join(release)).unwrap();
        fs::write(directory.0.join(release).join("a.txt"), release).unwrap();
    }
    let current = directory.0.join("current");
    symlink("1", &current).unwrap();
    let serve = Serve::start(&["--root", current.to_str().unwrap()]);
    assert_eq!(get(serve.address(), "/a.txt").2, b"1");
    symlink("2", directory.0.join("next")).unwrap();
    fs::rename(directory.0.join("next"), &current).unwrap();
    assert_eq!(get(serve.address(), "/a.txt").2, b"2");
}

#[test]
fn what_is_no_file_is_not_there_and_holds_nobody_up() {
    let directory = Directory::new();
    let fifo = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, directory.path("fifo"), rustix::fs::FileType::Fifo, fifo, 0)
        .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(directory.path("socket")).unwrap();
    directory.file("forbidden.txt", "secret");
    fs::set_permissions(directory.path("forbidden.txt"), std::os::unix::fs::PermissionsExt::from_mode(0o000))
        .unwrap();
    directory.file(std::str::from_utf8("plain.txt".as_bytes()).unwrap(), "plain");
    fs::write(directory.path("").join(std::ffi::OsStr::from_bytes(b"\xff.txt")), "not UTF-8").unwrap();
    let serve = directory.serve();
    for path in ["/fifo", "/socket", "/fifo/", "/%ff.txt"] {
        for method in ["GET", "HEAD"] {
            assert_eq!(ask(serve.address(), method, path, "").0, 404, "{method} {path}");
        }
    }
    // Root may read all.
    if !rustix::process::getuid().is_root() {
        assert_eq!(get(serve.address(), "/forbidden.txt").0, 404);
    }
    assert_eq!(get(serve.address(), "/plain.txt").2, b"plain");
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let directory = Directory::new();
    directory.file("a.txt", "content");
    let serve = directory.serve();
    let address = serve.address();
    let (_, head, _) = get(address, "/a.txt");
    let (etag, date) = (field(&head, "etag").unwrap(), field(&head, "last-modified").unwrap());
    let other = "\"other\"";
    let earlier = "Sat, 01 Jan 2000 00:00:00 GMT";
    for (fields, status) in [
        (format!("If-None-Match: {etag}\r\n"), 304),
        (format!("If-None-Match: W/{etag}\r\n"), 304),
        (format!("If-None-Match: {other}, {etag}\r\n"), 304),
        ("If-None-Match: *\r\n".into(), 304),
        (format!("If-Modified-Since: {date}\r\n"), 304),
        (format!("If-None-Match: {other}\r\n"), 200),
        (format!("If-Modified-Since: {earlier}\r\n"), 200),
        ("If-Modified-Since: yesterday\r\n".into(), 200),
        // RFC 9110 section 13.1.3: "A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match header field"
        (format!("If-None-Match: {other}\r\nIf-Modified-Since: {date}\r\n"), 200),
        (format!("If-Match: {etag}\r\n"), 200),
        (format!("If-Match: {other}\r\n"), 412),
        (format!("If-Unmodified-Since: {date}\r\n"), 200),
        (format!("If-Unmodified-Since: {earlier}\r\n"), 412),
        // RFC 9110 section 13.2.2: conditions come before ranges.
        (format!("If-None-Match: {etag}\r\nRange: bytes=0-1\r\n"), 304),
    ] {
        for method in ["GET", "HEAD"] {
            let (found, head, body) = ask(address, method, "/a.txt", &fields);
            assert_eq!(found, status, "{method} {fields}");
            assert_eq!(body.is_empty(), status != 200 || method == "HEAD", "{method} {fields}");
            // RFC 9110 section 15.4.5: "The server generating a 304 response MUST generate any of the following header fields that would have been sent in a 200 (OK)
            // response to the same request: Content-Location, Date, ETag, and Vary; Cache-Control and Expires"
            if status == 304 {
                assert_eq!(field(&head, "etag"), Some(etag));
                assert_eq!(field(&head, "cache-control"), Some("no-cache"));
                assert!(field(&head, "date").is_some());
            }
        }
    }
    directory.file("a.txt", "other content");
    let (status, _, body) = ask(address, "GET", "/a.txt", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((status, &body[..]), (200, &b"other content"[..]));
}

#[test]
fn a_part_of_a_file_can_be_asked_for() {
    let directory = Directory::new();
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
    directory.file("a.bin", &content);
    directory.file("empty.bin", "");
    let serve = directory.serve();
    let address = serve.address();
    let length = content.len();
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=99999-300000", 99_999, 300_000),
        ("bytes=399999-", length - 1, length - 1),
        ("bytes=1000-", 1000, length - 1),
        ("bytes=1000-99999999999", 1000, length - 1),
        ("bytes=-1", length - 1, length - 1),
        ("bytes=-500", length - 500, length - 1),
        ("bytes=-400000", 0, length - 1),
    ] {
        let (status, head, body) = ask(address, "GET", "/a.bin", &format!("Range: {range}\r\n"));
        assert_eq!(status, 206, "{range}");
        assert_eq!(
            field(&head, "content-range"),
            Some(&*format!("bytes {first}-{last}/{length}")),
            "{range}"
        );
        assert_eq!(field(&head, "content-length"), Some(&*(last - first + 1).to_string()), "{range}");
        assert!(body == content[first..=last], "{range}");
        assert!(field(&head, "etag").is_some() && field(&head, "last-modified").is_some(), "{range}");
    }
    for (path, range) in [
        ("/a.bin", "bytes=400000-"),
        ("/a.bin", "bytes=400000-400001"),
        ("/a.bin", "bytes=-0"),
        ("/empty.bin", "bytes=5-"),
        // RFC 9110 section 14.2: what is invalid may be rejected as well.
        ("/a.bin", "bytes=5-2"),
        ("/a.bin", "bytes=x-y"),
        ("/a.bin", "bytes=99999999999999999999999-"),
    ] {
        let (status, head, body) = ask(address, "GET", path, &format!("Range: {range}\r\n"));
        assert_eq!((status, body.len()), (416, 0), "{path} {range}");
        let all = if path == "/empty.bin" { 0 } else { length };
        assert_eq!(field(&head, "content-range"), Some(&*format!("bytes */{all}")), "{path} {range}");
    }
    // Of nothing there is no part; all of it is nothing, too.
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
        let (status, head, body) = ask(address, "GET", "/empty.bin", &format!("Range: {range}\r\n"));
        assert!(status == 200 && field(&head, "content-range").is_none() || status == 416, "{range}: {head}");
        assert!(body.is_empty());
    }
    // Ignored: several, another unit, and with another method than GET.
    for (method, range) in
        [("GET", "bytes=0-1,5-6"), ("GET", "lines=0-1"), ("GET", "0-1"), ("HEAD", "bytes=0-1")]
    {
        let (status, head, body) = ask(address, method, "/a.bin", &format!("Range: {range}\r\n"));
        assert_eq!((status, field(&head, "content-length")), (200, Some("400000")), "{method} {range}");
        assert!(body == content || method == "HEAD", "{range}");
    }
}

#[test]
fn a_part_comes_only_if_the_rest_is_still_the_same() {
    let directory = Directory::new();
    directory.file("a.txt", "content");
    let serve = directory.serve();
    let (_, head, _) = get(serve.address(), "/a.txt");
    let (etag, date) = (field(&head, "etag").unwrap(), field(&head, "last-modified").unwrap());
    for (validator, status, content) in [
        (etag.to_owned(), 206, "ont"),
        ("\"other\"".to_owned(), 200, "content"),
        // RFC 9110 section 13.1.5: "A client MUST NOT generate an If-Range header field containing an entity tag that is marked as weak."
        (format!("W/{etag}"), 200, "content"),
        // It may have changed twice within that second.
        (date.to_owned(), 200, "content"),
    ] {
        let fields = format!("Range: bytes=1-3\r\nIf-Range: {validator}\r\n");
        let (found, _, body) = ask(serve.address(), "GET", "/a.txt", &fields);
        assert_eq!((found, String::from_utf8(body).unwrap()), (status, content.into()), "{validator}");
    }
    let (status, _, body) = ask(serve.address(), "GET", "/a.txt", &format!("If-Range: {etag}\r\n"));
    assert_eq!((status, &body[..]), (200, &b"content"[..]));
}

#[cfg(target_os = "linux")]
#[test]
fn a_large_file_is_not_read_into_memory() {
    let directory = Directory::new();
    let length = 1 << 28;
    fs::File::create(directory.path("large.bin")).unwrap().set_len(length).unwrap();
    let serve = directory.serve();
    // The most that it ever had.
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{}/status", serve.program.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap()
    };
    let ask = || {
        let mut stream = TcpStream::connect(serve.address()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        write!(stream, "GET /large.bin HTTP/1.1\r\nHost: {}\r\n\r\n", serve.address()).unwrap();
        read_head(&mut stream);
        stream
    };
    drop(ask());
    let before = peak();
    // Some that take nothing more, and one that takes all.
    let _slow: Vec<_> = (0..16).map(|_| ask()).collect();
    let (mut stream, mut buffer, mut taken) = (ask(), vec![0; 1 << 20], 0);
    while taken < length {
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "all of it comes");
        taken += count as u64;
    }
    assert_eq!(stream.read(&mut buffer).unwrap(), 0, "and nothing more");
    let grown = peak() - before;
    assert!(grown < 16 << 10, "{grown} KiB more");
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_the_connection() {
    let directory = Directory::new();
    let length = 64 << 20;
    fs::File::create(directory.path("a.bin")).unwrap().set_len(length).unwrap();
    let serve = directory.serve();
    let mut stream = TcpStream::connect(serve.address()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET /a.bin HTTP/1.1\r\nHost: {}\r\n\r\n", serve.address()).unwrap();
    read_head(&mut stream);
    fs::File::options().write(true).open(directory.path("a.bin")).unwrap().set_len(1).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!((rest.len() as u64) < length, "it ends short");
    assert_eq!(get(serve.address(), "/a.bin").2, [0]);
}

#[test]
fn the_directory_must_be_there() {
    let directory = Directory::new();
    directory.file("a.txt", "a");
    for path in [directory.path("nowhere"), directory.path("a.txt")] {
        let run = run(&["serve", "--listen", "127.0.0.1:0", "--root", path.to_str().unwrap()], "");
        assert_eq!((run.code, run.out()), (Some(2), ""));
        assert!(run.stderr.contains("--root"), "{}", run.stderr);
    }
}

const ORIGIN: &str = "https://app.example";

#[test]
fn pages_that_are_let_in_may_read_what_is_served() {
    let directory = Directory::new();
    directory.file("a.txt", "a");
    let serve = directory.serve_with(&["--allow-origin", ORIGIN, "--allow-origin", "null"]);
    for path in ["/healthz", "/readyz", "/metrics", "/a.txt", "/nothing", "/", "/echo"] {
        for (origin, allowed) in [
            (ORIGIN, true),
            ("null", true),
            ("https://other.example", false),
            ("https://app.example.evil.example", false),
            ("http://app.example", false),
            ("", false),
        ] {
            let (_, head, _) = ask(serve.address(), "GET", path, &format!("Origin: {origin}\r\n"));
            let shared = field(&head, "access-control-allow-origin");
            assert_eq!(shared, allowed.then_some(origin), "{path} for {origin}: {head}");
            assert_eq!(field(&head, "vary"), Some("Origin"), "{path} for {origin}: {head}");
            assert_eq!(field(&head, "access-control-allow-credentials"), None);
        }
        let (_, head, _) = get(serve.address(), path);
        assert_eq!(field(&head, "access-control-allow-origin"), None);
        assert_eq!(field(&head, "vary"), Some("Origin"), "no page: it varies all the same");
        let twice = format!("Origin: {ORIGIN}\r\nOrigin: {ORIGIN}\r\n");
        let (_, head, _) = ask(serve.address(), "GET", path, &twice);
        assert_eq!(field(&head, "access-control-allow-origin"), None, "{path}");
    }
    // A 304 varies as the 200 does.
    let (status, head, _) =
        ask(serve.address(), "GET", "/a.txt", &format!("Origin: {ORIGIN}\r\nIf-None-Match: *\r\n"));
    assert_eq!((status, field(&head, "access-control-allow-origin")), (304, Some(ORIGIN)));
    // Under a wrong name nothing is shared.
    let wrong = format!("GET /healthz HTTP/1.1\r\nHost: rebound.example\r\nOrigin: {ORIGIN}\r\n\r\n");
    assert_eq!(field(&http(serve.address(), &wrong).0, "access-control-allow-origin"), None);
}

#[test]
fn any_page_may_be_let_in_and_by_default_none_is() {
    let serve = Serve::start(&["--allow-origin", "*"]);
    let (_, head, _) = ask(serve.address(), "GET", "/healthz", "Origin: https://any.example\r\n");
    assert_eq!(field(&head, "access-control-allow-origin"), Some("https://any.example"));
    assert_eq!(field(&head, "vary"), Some("Origin"));

    let serve = Serve::start(&[]);
    let preflight = format!("Origin: {ORIGIN}\r\nAccess-Control-Request-Method: GET\r\n");
    for (method, status) in [("GET", 200), ("OPTIONS", 405)] {
        let (found, head, _) = ask(serve.address(), method, "/healthz", &preflight);
        assert_eq!(found, status);
        assert!(!head.to_lowercase().contains("access-control") && field(&head, "vary").is_none(), "{head}");
    }
}

#[test]
fn a_preflight_request_of_a_page_that_is_let_in_is_answered() {
    let directory = Directory::new();
    let token = directory.0.join("token");
    fs::write(&token, "T0ken").unwrap();
    let flags = ["--allow-origin", ORIGIN, "--metrics-token-file", token.to_str().unwrap()];
    let (watched, plain) = (
        directory.serve_with(&[&flags[..], &["--metrics-listen", "127.0.0.1:0"]].concat()),
        directory.serve_with(&flags),
    );
    for address in [watched.metrics.as_deref().unwrap(), plain.address()] {
        let asked = "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n";
        let (status, head, body) =
            ask(address, "OPTIONS", "/metrics", &format!("Origin: {ORIGIN}\r\n{asked}"));
        assert_eq!((status, body.len()), (204, 0));
        for (name, value) in [
            ("access-control-allow-origin", ORIGIN),
            ("access-control-allow-methods", "GET, HEAD"),
            ("access-control-allow-headers", "authorization"),
            ("access-control-max-age", "600"),
            ("vary", "Origin"),
        ] {
            assert_eq!(field(&head, name), Some(value), "{head}");
        }
        // The request that follows; and that the token is wanted can be read as well.
        for (fields, status) in [("Authorization: Bearer T0ken\r\n", 200), ("", 401)] {
            let fields = format!("Origin: {ORIGIN}\r\n{fields}");
            let (found, head, _) = ask(address, "GET", "/metrics", &fields);
            assert_eq!((found, field(&head, "access-control-allow-origin")), (status, Some(ORIGIN)));
        }
        // Others, and what is no preflight request, get no leave.
        for fields in [
            format!("Origin: https://other.example\r\n{asked}"),
            format!("Origin: {ORIGIN}\r\n"),
            asked.to_owned(),
        ] {
            let (status, head, _) = ask(address, "OPTIONS", "/metrics", &fields);
            assert_eq!(status, 405, "{fields}");
            assert_eq!(field(&head, "access-control-allow-methods"), None, "{fields}");
        }
    }
}

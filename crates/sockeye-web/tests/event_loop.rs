//! Events on an event loop of somebody else's: where handlers run, and what changes when.

mod support;

use std::sync::mpsc;
use std::time::Duration;

use sockeye_web::{EventLoop, Options, Task, WebSocket};
use support::{CLOSE, Log, TEXT, close_payload, echo, frame, open_with, opened, read_end, read_frame};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;

/// A script that runs on this thread, with the network on others.
struct Page {
    runtime: Runtime,
    options: Options,
    tasks: mpsc::Receiver<Task>,
    log: Log,
}

impl Page {
    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (queue, tasks) = mpsc::channel();
        let mut options = Options::default();
        options.runtime = Some(runtime.handle().clone());
        options.event_loop = Some(EventLoop::new(move |task| drop(queue.send(task))));
        Self { runtime, options, tasks, log: Log::default() }
    }

    fn open(&self, url: &str) -> WebSocket {
        open_with(url, &[], self.options.clone(), &self.log).unwrap()
    }

    /// Runs tasks until the log has a line that begins so.
    fn run_until(&self, start: &str) -> Vec<String> {
        while !self.log.lines().iter().any(|line| line.starts_with(start)) {
            let task = self.tasks.recv_timeout(Duration::from_secs(20)).expect("it hangs");
            task();
        }
        self.log.lines()
    }
}

#[test]
fn handlers_run_in_the_tasks_and_nowhere_else() {
    let page = Page::new();
    let server = page.runtime.block_on(opened(echo));
    let socket = page.open(&server.url);
    let (log, here) = (page.log.clone(), std::thread::current().id());
    socket.set_onmessage(move |_, event| {
        assert_eq!(std::thread::current().id(), here);
        log.add(event.data.as_text().unwrap());
    });
    page.run_until("open");
    socket.send("hello").unwrap();
    page.run_until("hello");
    socket.close(1000, None).unwrap();
    assert_eq!(page.run_until("close"), ["open 1", "hello", "close true 1000 \"\" 3"]);
}

#[test]
fn nothing_changes_between_two_tasks() {
    let page = Page::new();
    let server = page.runtime.block_on(opened(echo));
    let socket = page.open(&server.url);
    // The connection is established by now; the task that says so waits.
    let opening = page.tasks.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(socket.ready_state(), WebSocket::CONNECTING);
    assert!(socket.send("x").is_err());
    opening();
    assert_eq!(socket.ready_state(), WebSocket::OPEN);
    socket.send("12345").unwrap();
    let transmitted = page.tasks.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(socket.buffered_amount(), 5, "it is transmitted, and the event loop does not know yet");
    transmitted();
    assert_eq!(socket.buffered_amount(), 0);
    socket.close(None, None).unwrap();
    assert_eq!(page.run_until("close").last().unwrap(), "close true 1005 \"\" 3");
}

#[test]
fn closing_before_the_task_that_opens_fails_the_connection() {
    let page = Page::new();
    let server = page.runtime.block_on(opened(async |mut stream| read_end(&mut stream).await));
    let socket = page.open(&server.url);
    let opening = page.tasks.recv_timeout(Duration::from_secs(20)).unwrap();
    socket.close(1000, None).unwrap();
    opening();
    assert_eq!(socket.ready_state(), WebSocket::CLOSING, "it is not opened again");
    assert_eq!(page.run_until("close"), ["error 3", "close false 1006 \"\" 3"]);
    page.runtime.block_on(server.end());
}

#[test]
fn the_network_waits_for_a_slow_event_loop() {
    const COUNT: usize = 64;
    let page = Page::new();
    let server = page.runtime.block_on(opened(async |mut stream| {
        for _ in 0..COUNT {
            stream.write_all(&frame(TEXT, &vec![b'x'; 60_000])).await.unwrap();
        }
        stream.write_all(&frame(CLOSE, &close_payload(1000, ""))).await.unwrap();
        read_frame(&mut stream).await
    }));
    let _socket = page.open(&server.url);
    let mut waiting = Vec::new();
    while let Ok(task) = page.tasks.recv_timeout(Duration::from_millis(200)) {
        waiting.push(task);
    }
    // 256 KiB are five messages, and the task that opens.
    assert_eq!(waiting.len(), 6);
    for task in waiting {
        task();
    }
    assert_eq!(page.run_until("close").len(), COUNT + 2);
}

#[test]
fn tasks_may_be_thrown_away() {
    let page = Page::new();
    let server = page.runtime.block_on(opened(async |mut stream| {
        for _ in 0..100 {
            stream.write_all(&frame(TEXT, &vec![b'x'; 60_000])).await.unwrap();
        }
        stream.write_all(&frame(CLOSE, &close_payload(1000, ""))).await.unwrap();
        read_frame(&mut stream).await
    }));
    let socket = page.open(&server.url);
    while let Ok(task) = page.tasks.recv_timeout(Duration::from_millis(200)) {
        drop(task);
    }
    assert_eq!(page.runtime.block_on(server.end()).0, CLOSE, "the connection went on");
    assert_eq!((socket.ready_state(), page.log.lines().len()), (WebSocket::CONNECTING, 0));
}

//! Memory that idle connections keep resident.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::frames::Frames;
use crate::replies::Replies;
use crate::server::Server;
use crate::{Result, opening};

/// What the server uses once and for all is used by so many connections beforehand.
const WARM_UP: usize = 64;
const MESSAGE: usize = 1 << 10;
/// How long the server gets to give back what it wants to give back.
const REST: Duration = Duration::from_millis(300);

pub(crate) fn run(port: u16, connections: usize, server: &Server) -> Result<Value> {
    let frames = Frames::new(MESSAGE, 1, false);
    let mut warm = open(port, WARM_UP)?;
    for stream in &mut warm {
        echo(stream, &frames)?;
    }
    drop(warm);
    std::thread::sleep(REST);
    let before = server.resident()?;
    let mut streams = open(port, connections)?;
    std::thread::sleep(REST);
    let opened = server.resident()?;
    for stream in &mut streams {
        echo(stream, &frames)?;
    }
    std::thread::sleep(REST);
    let used = server.resident()?;
    let each = |after: u64| (after as f64 - before as f64) / connections as f64;
    Ok(json!({
        "connections": connections,
        "bytes_per_connection": each(opened),
        "bytes_per_connection_after_a_message": each(used),
        "resident_before": before,
    }))
}

fn open(port: u16, count: usize) -> Result<Vec<TcpStream>> {
    (0..count).map(|_| opening::open(port, false)).collect()
}

/// One message there and back.
fn echo(stream: &mut TcpStream, frames: &Frames) -> Result<()> {
    stream.write_all(frames.bytes(frames.batch(0, 1)))?;
    let (mut replies, mut buffer) = (Replies::default(), [0; 2 * MESSAGE]);
    while replies.count == 0 {
        match stream.read(&mut buffer)? {
            0 => return Err("the server ended a connection".into()),
            count => replies.read(&buffer[..count], frames)?,
        }
    }
    Ok(())
}

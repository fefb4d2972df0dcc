//! The floor: what an echo costs in the kernel, and next to nothing else.
//!
//! An epoll loop (edge-triggered), one thread, one `read` and one `write` a batch of frames. Payloads are unmasked in place as
//! they arrive, and not copied where one frame is in hand; headers are rewritten. No message is checked, no frame but
//! the opening handshake is understood, and nothing is ever given back. Written once and then left alone: a change
//! here changes every ratio, and is named in the changelog with the old and the new figure.
//!
//! `floor deflate LEVEL` inflates and deflates each message besides.

mod connection;
mod deflate;
mod frames;
mod handshake;

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;

use rustix::event::epoll;
use rustix::net::{SocketFlags, accept_with};

use connection::{Connection, State};
use deflate::Codec;

const LISTENER: u64 = u64::MAX;
const EVENTS: usize = 1024;
const SHARED_BUFFER: usize = 64 << 10;

fn main() -> io::Result<()> {
    let listener = sockeye_bench::listen()?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;

    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut shared = vec![0; SHARED_BUFFER];
    let mut codec = sockeye_bench::deflate_level().map(Codec::new);
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        for event in &events {
            if event.data.u64() == LISTENER {
                accept(&listener, &epoll, &mut connections, &mut free)?;
                continue;
            }
            let Ok(index) = usize::try_from(event.data.u64()) else { continue };
            let Some(connection) = &mut connections[index] else { continue };
            if !matches!(connection.ready(&mut shared, codec.as_mut()), Ok(State::Open)) {
                connections[index] = None;
                free.push(index);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: impl AsFd,
    connections: &mut Vec<Option<Connection>>,
    free: &mut Vec<usize>,
) -> io::Result<()> {
    use epoll::EventFlags as Flags;
    loop {
        let socket = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            Err(rustix::io::Errno::AGAIN) => return Ok(()),
            Err(rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let connection = Connection::new(socket.into())?;
        let index = free.pop().unwrap_or_else(|| {
            connections.push(None);
            connections.len() - 1
        });
        let flags = Flags::IN | Flags::OUT | Flags::ET;
        epoll::add(&epoll, connection.stream(), epoll::EventData::new_u64(index as u64), flags)?;
        connections[index] = Some(connection);
    }
}

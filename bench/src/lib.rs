//! What the echo servers share: a port on standard output, an end at the end of standard input, an accept loop.

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

pub mod http;
pub mod ours;

#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

/// A listener on a port that the system picks and that is printed. The process ends as soon as standard input does, so that
/// no server outlives `bench/run`.
pub fn listen() -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    congestion_control(&listener)?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?.port())?;
    stdout.flush()?;
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        print_allocations();
        std::process::exit(0);
    });
    Ok(listener)
}

/// Sets the congestion control that `bench/run --congestion-control` asks for, if it does; what a listener accepts inherits it.
pub fn congestion_control(socket: impl AsFd) -> io::Result<()> {
    match std::env::var("BENCH_CONGESTION_CONTROL") {
        Ok(name) => Ok(rustix::net::sockopt::set_tcp_congestion(socket, &name)?),
        Err(_) => Ok(()),
    }
}

#[cfg(feature = "count-allocations")]
fn print_allocations() {
    let stats = ALLOCATOR.stats();
    println!("allocations {}", stats.allocations + stats.reallocations);
}

#[cfg(not(feature = "count-allocations"))]
fn print_allocations() {}

/// The runtime of every server but `floor` and `sockeye-mt`.
///
/// Time is only driven for libraries with deadlines: the others' own examples go without.
pub fn current_thread(with_time: bool) -> io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_io();
    if with_time {
        builder.enable_time();
    }
    builder.build()
}

/// Accepts connections for ever, with Nagle's algorithm off, each in a task of its own.
pub async fn serve<F: Future<Output = ()> + Send + 'static>(handler: fn(TcpStream) -> F) -> io::Result<()> {
    let listener = TcpListener::from_std(listen()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(handler(stream));
    }
}

/// Whether idle connections are to be measured: libraries then get the buffers that they recommend for many connections.
pub fn is_idle_case() -> bool {
    std::env::args().nth(1).as_deref() == Some("idle")
}

/// The level at which the server is to compress, if it is to: for `deflate LEVEL` on the command line.
pub fn deflate_level() -> Option<u8> {
    let mut arguments = std::env::args().skip(1);
    let is_asked = arguments.next().as_deref() == Some("deflate");
    is_asked.then(|| arguments.next()?.parse().ok())?
}

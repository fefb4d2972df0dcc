//! One TCP connection, and its options.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

use crate::transport::Transport;

/// How TCP connections are made. An option that the system refuses is an error of [`Phase::Connect`](crate::Phase::Connect).
///
/// ```
/// # fn main() -> Result<(), std::net::AddrParseError> {
/// let mut tcp = sockeye::Tcp::default();
/// tcp.family = sockeye::Family::Ipv4;
/// tcp.bind = Some("192.0.2.7".parse()?);
/// tcp.keepalive = Some(std::time::Duration::from_secs(60));
/// let client = sockeye::Client::new().tcp(tcp);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tcp {
    /// How long one address is tried before the next is tried beside it: the Connection Attempt Delay of RFC 8305 section 5. From 10 ms to
    /// 2 s; what is less or more counts as these. 250 ms.
    pub attempt_delay: Duration,
    /// The local address to connect from: only addresses of its family are connected to. `None`: the system chooses.
    pub bind: Option<IpAddr>,
    /// Which addresses of a host are connected to. All.
    pub family: Family,
    /// The network interface to connect through, such as `eth0`; on Linux and Android only. `None`: the routing table chooses.
    pub interface: Option<String>,
    /// After how long a silence the system probes whether the peer is there, in whole seconds (RFC 9293 section 3.8.4); `None` turns
    /// that off. It is, by default: [`Config::ping_interval`](crate::Config::ping_interval) does as much, through proxies too.
    pub keepalive: Option<Duration>,
    /// Whether small messages are sent at once, and not held back until the one before is acknowledged (Nagle's algorithm, RFC 9293
    /// section 3.7.4). Yes.
    pub nodelay: bool,
    /// How many bytes received the system may hold; it may round that, and has a limit of its own. `None`: the system chooses, and adapts it.
    pub receive_buffer: Option<usize>,
    /// How many bytes to send the system may hold; otherwise as `receive_buffer`.
    pub send_buffer: Option<usize>,
}

/// Which addresses of a host are connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// All.
    #[default]
    Any,
    /// Those of IPv4 only.
    Ipv4,
    /// Those of IPv6 only.
    Ipv6,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            // RFC 8305 section 5: "One recommended value for a default delay is 250 milliseconds."
            attempt_delay: Duration::from_millis(250),
            bind: None,
            family: Family::Any,
            interface: None,
            keepalive: None,
            nodelay: true,
            receive_buffer: None,
            send_buffer: None,
        }
    }
}

impl Tcp {
    /// The addresses that can be connected to, at least one.
    pub(super) fn usable(&self, mut addresses: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
        addresses.retain(|address| {
            let is_wanted = match self.family {
                Family::Any => true,
                Family::Ipv4 => address.is_ipv4(),
                Family::Ipv6 => address.is_ipv6(),
            };
            is_wanted && self.bind.is_none_or(|local| local.is_ipv4() == address.is_ipv4())
        });
        if !addresses.is_empty() {
            return Ok(addresses);
        }
        let mut text = match self.family {
            Family::Any => "no address".to_owned(),
            Family::Ipv4 => "no IPv4 address".to_owned(),
            Family::Ipv6 => "no IPv6 address".to_owned(),
        };
        if let Some(local) = self.bind {
            text = format!("{text} that can be connected to from {local}");
        }
        Err(io::Error::new(io::ErrorKind::AddrNotAvailable, text))
    }

    /// Connects to an address.
    pub(super) async fn connect(&self, address: SocketAddr) -> io::Result<Transport> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Before it connects: the receive buffer decides which window scale is offered, once and for all (RFC 7323 section 2).
        self.set_options(&socket)?;
        let stream = socket.connect(address).await?;
        if is_to_itself(&stream, address) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(Transport::tcp(stream, self.nodelay))
    }

    fn set_options(&self, socket: &TcpSocket) -> io::Result<()> {
        let options = SockRef::from(socket);
        if let Some(size) = self.send_buffer {
            options.set_send_buffer_size(in_range(size)).map_err(cannot("set the send buffer"))?;
        }
        if let Some(size) = self.receive_buffer {
            options.set_recv_buffer_size(in_range(size)).map_err(cannot("set the receive buffer"))?;
        }
        if let Some(idle) = self.keepalive {
            let keepalive = TcpKeepalive::new().with_time(idle);
            options.set_tcp_keepalive(&keepalive).map_err(cannot("set keepalive"))?;
        }
        if let Some(interface) = &self.interface {
            bind_interface(socket, interface).map_err(cannot(&format!("connect through {interface}")))?;
        }
        if let Some(local) = self.bind {
            let any_port = SocketAddr::new(local, 0);
            socket.bind(any_port).map_err(cannot(&format!("connect from {local}")))?;
        }
        Ok(())
    }
}

/// The system takes a C `int`, and would take part of a greater number for the size.
fn in_range(size: usize) -> usize {
    size.min(i32::MAX as usize)
}

fn cannot(what: &str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("cannot {what}: {error}"))
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn bind_interface(socket: &TcpSocket, interface: &str) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes()))
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn bind_interface(_socket: &TcpSocket, _interface: &str) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no such option"))
}

/// Connecting to a port of one's own machine where nobody listens can succeed: the system may choose that very port to connect from, and
/// TCP lets a socket connect to itself (RFC 9293 section 3.5, simultaneous open). It would keep the server from ever listening there again.
fn is_to_itself(stream: &TcpStream, address: SocketAddr) -> bool {
    stream.local_addr().is_ok_and(|local| local == address)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_socket_connected_to_itself_is_told_from_others() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let itself = socket.local_addr().unwrap();
        assert!(is_to_itself(&socket.connect(itself).await.unwrap(), itself));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(!is_to_itself(&TcpStream::connect(address).await.unwrap(), address));
    }

    #[test]
    fn only_addresses_of_the_family_are_usable() {
        let ipv4: SocketAddr = ([192, 0, 2, 1], 80).into();
        let ipv6: SocketAddr = ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 80).into();
        let from = |address: &str| Some(address.parse().unwrap());
        let cases: [(Family, Option<IpAddr>, &[SocketAddr]); 6] = [
            (Family::Any, None, &[ipv6, ipv4]),
            (Family::Ipv4, None, &[ipv4]),
            (Family::Ipv6, None, &[ipv6]),
            (Family::Any, from("127.0.0.1"), &[ipv4]),
            (Family::Any, from("::1"), &[ipv6]),
            (Family::Ipv6, from("::1"), &[ipv6]),
        ];
        for (family, bind, expected) in cases {
            let tcp = Tcp { bind, family, ..Tcp::default() };
            assert_eq!(tcp.usable(vec![ipv6, ipv4]).unwrap(), expected, "{tcp:?}");
        }
        let none = [
            (Family::Ipv6, None, "no IPv6 address"),
            (Family::Any, from("::1"), "no address that can be connected to from ::1"),
            (Family::Ipv4, from("::1"), "no IPv4 address that can be connected to from ::1"),
        ];
        for (family, bind, text) in none {
            let tcp = Tcp { bind, family, ..Tcp::default() };
            assert_eq!(tcp.usable(vec![ipv4]).unwrap_err().to_string(), text);
        }
    }

    #[tokio::test]
    async fn what_the_system_refuses_is_an_error_that_says_what() {
        let refused = [
            (Tcp { bind: Some([192, 0, 2, 1].into()), ..Tcp::default() }, "cannot connect from 192.0.2.1: "),
            (
                Tcp { interface: Some("none such".into()), ..Tcp::default() },
                "cannot connect through none such: ",
            ),
            #[cfg(target_os = "linux")]
            (Tcp { keepalive: Some(Duration::ZERO), ..Tcp::default() }, "cannot set keepalive: "),
        ];
        for (tcp, text) in refused {
            let socket = TcpSocket::new_v4().unwrap();
            let error = tcp.set_options(&socket).unwrap_err();
            assert!(error.to_string().starts_with(text), "{error}");
        }
    }

    #[tokio::test]
    async fn options_reach_the_socket() {
        let tcp = Tcp {
            keepalive: Some(Duration::from_secs(70)),
            receive_buffer: Some(20_000),
            send_buffer: Some(10_000),
            ..Tcp::default()
        };
        let (configured, untouched) = (TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap());
        tcp.set_options(&configured).unwrap();
        Tcp::default().set_options(&untouched).unwrap();
        assert!(configured.keepalive().unwrap() && !untouched.keepalive().unwrap());
        // Linux doubles the sizes, for what it keeps with the bytes.
        assert!([10_000, 20_000].contains(&configured.send_buffer_size().unwrap()));
        assert!([20_000, 40_000].contains(&configured.recv_buffer_size().unwrap()));
        #[cfg(target_os = "linux")]
        assert_eq!(SockRef::from(&configured).tcp_keepalive_time().unwrap(), Duration::from_secs(70));

        let huge = Tcp { send_buffer: Some(1 << 32), ..Tcp::default() };
        huge.set_options(&untouched).unwrap();
        assert!(untouched.send_buffer_size().unwrap() > 10_000, "it was taken for 0");
    }
    #[tokio::test]
    async fn nagle_is_off_unless_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for nodelay in [true, false] {
            let tcp = Tcp { nodelay, ..Tcp::default() };
            let Transport::Tcp(stream) = tcp.connect(address).await.unwrap() else { panic!("not TCP") };
            assert_eq!(stream.nodelay().unwrap(), nodelay);
            #[cfg(target_os = "linux")]
            assert_eq!(SockRef::from(&stream).tcp_notsent_lowat().unwrap(), 256 << 10);
        }
        assert!(Tcp::default().nodelay);
    }
}

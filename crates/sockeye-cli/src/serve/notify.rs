//! What systemd is told (`sd_notify(3)`), if it asks for that: when the server listens, reads its files again and goes down.
//!
//! It is what `Type=notify-reload` needs, and `Type=notify` too.

use std::io;
#[cfg(target_os = "linux")]
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where it is told; on other systems than Linux nowhere.
pub(super) struct Notify(#[cfg(target_os = "linux")] Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// As the environment says.
    #[cfg(target_os = "linux")]
    pub(super) fn new() -> io::Result<Self> {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::ffi::OsStrExt;

        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Self(None));
        };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        Ok(Self(Some((UnixDatagram::unbound()?, address?))))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self())
    }

    /// Whether anybody wants to be told.
    pub(super) fn is_wanted(&self) -> bool {
        #[cfg(target_os = "linux")]
        return self.0.is_some();
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// All that is to be ready is, also after it was read again.
    pub(super) fn ready(&self) {
        self.tell(|| "READY=1".into());
    }

    /// Files are being read again.
    pub(super) fn reloading(&self) {
        #[cfg(target_os = "linux")]
        self.tell(|| {
            use rustix::time::{ClockId, clock_gettime};

            let now = clock_gettime(ClockId::Monotonic);
            format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000)
        });
    }

    /// It goes down.
    pub(super) fn stopping(&self) {
        self.tell(|| "STOPPING=1".into());
    }

    #[cfg_attr(
        not(target_os = "linux"),
        expect(unused_variables, clippy::unused_self, reason = "nobody is told")
    )]
    fn tell(&self, state: impl FnOnce() -> String) {
        #[cfg(target_os = "linux")]
        if let Some((socket, address)) = &self.0 {
            // If nobody listens, there is nobody to tell.
            let _ = socket.send_to_addr(state().as_bytes(), address);
        }
    }
}

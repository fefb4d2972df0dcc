//! How many connections a server takes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Counts of a [`Server`](crate::Server)'s connections, of whatever kind, also while it runs; clones count the same.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    refused_per_addr: AtomicU64,
    accept_errors: AtomicU64,
}

impl Connections {
    /// How many there are: those that are being opened or closed, and plain HTTP, included.
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// How many there were, with those that there are; without those that were refused because of a limit.
    pub fn accepted(&self) -> u64 {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// How many were refused because of [`Server::max_connections`](crate::Server::max_connections).
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// How many were refused because of [`Server::max_connections_per_addr`](crate::Server::max_connections_per_addr).
    pub fn refused_per_addr(&self) -> u64 {
        self.0.refused_per_addr.load(Ordering::Relaxed)
    }

    /// How often accepting one has failed.
    pub fn accept_errors(&self) -> u64 {
        self.0.accept_errors.load(Ordering::Relaxed)
    }

    pub(crate) fn count_accept_error(&self) {
        self.0.accept_errors.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a server allows.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) most: Option<usize>,
    pub(crate) most_per_addr: Option<usize>,
    pub(crate) connections: Connections,
    by_addr: Mutex<HashMap<IpAddr, usize>>,
}

impl Limits {
    /// Lets a connection in, if there is room for one more.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Permit> {
        let counts = &self.connections.0;
        // Only the accept loop adds, so that nobody comes in between.
        if self.most.is_some_and(|most| counts.open.load(Ordering::Relaxed) >= most) {
            counts.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        counts.open.fetch_add(1, Ordering::Relaxed);
        counts.accepted.fetch_add(1, Ordering::Relaxed);
        Some(Permit { limits: Arc::clone(self), addr: OnceLock::new() })
    }

    fn by_addr(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_addr.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a connection until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limits: Arc<Limits>,
    /// Whose connections it was counted among.
    addr: OnceLock<IpAddr>,
}

impl Permit {
    /// Counts the connection among those of its client, once; false if there are too many already.
    pub(crate) fn is_allowed(&self, client: IpAddr) -> bool {
        let Some(most) = self.limits.most_per_addr.filter(|_| self.addr.get().is_none()) else { return true };
        let addr = whose(client);
        let mut by_addr = self.limits.by_addr();
        let count = by_addr.get(&addr).copied().unwrap_or_default();
        if count >= most {
            drop(by_addr);
            let counts = &self.limits.connections.0;
            counts.accepted.fetch_sub(1, Ordering::Relaxed);
            counts.refused_per_addr.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        if self.addr.set(addr).is_ok() {
            by_addr.insert(addr, count + 1);
        }
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limits.connections.0.open.fetch_sub(1, Ordering::Relaxed);
        let Some(addr) = self.addr.get() else { return };
        if let Entry::Occupied(mut entry) = self.limits.by_addr().entry(*addr) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// An address of IPv4; of IPv6 the first 64 bits, since whoever has one has them all.
fn whose(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() >> 64 << 64).into(),
        addr @ IpAddr::V4(_) => addr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_whose_they_are() {
        let limits = Arc::new(Limits { most: Some(4), most_per_addr: Some(1), ..Limits::default() });
        let enter = |addr: &str| {
            let permit = limits.enter()?;
            permit.is_allowed(addr.parse().unwrap()).then_some(permit)
        };
        let first = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none() && enter("::ffff:192.0.2.1").is_none());
        let _others = [enter("192.0.2.2").unwrap(), enter("2001:db8::1").unwrap()];
        assert!(enter("2001:db8::2").is_none(), "the same network");
        let _other = enter("2001:db8:0:1::1").unwrap();
        assert!(limits.enter().is_none(), "four are all");
        let counts = &limits.connections;
        assert_eq!(
            (counts.open(), counts.accepted(), counts.refused(), counts.refused_per_addr()),
            (4, 4, 1, 3)
        );
        drop(first);
        assert!(enter("192.0.2.1").is_some());
        assert_eq!((counts.open(), limits.by_addr().len()), (3, 3), "nothing is kept of those who are gone");
    }
}

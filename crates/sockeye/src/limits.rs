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
    opening: AtomicUsize,
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

    /// How many of them are being opened: TLS is set up, or a request is waited for.
    pub fn opening(&self) -> usize {
        self.0.opening.load(Ordering::Relaxed)
    }

    /// How many there were, with those that there are; without those that were refused because of a limit, but for clients of trusted proxies that were refused for their
    /// address, which is known only later.
    pub fn accepted(&self) -> u64 {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// How many were refused because of [`Server::max_connections`](crate::Server::max_connections) or [`Server::max_opening`](crate::Server::max_opening).
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

/// The connections of a server and its workers, of which several may come at once.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) connections: Connections,
    by_addr: Mutex<HashMap<IpAddr, usize>>,
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Most {
    pub(crate) of_all: Option<usize>,
    pub(crate) opening: Option<usize>,
    pub(crate) of_addr: Option<usize>,
}

impl Limits {
    /// Lets a connection in, from this address if that is known, if there is room for one more.
    pub(crate) fn enter(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        most: Most,
    ) -> Option<(Permit, OpeningPermit)> {
        let counts = &self.connections.0;
        let permit = add_one(&counts.open, most.of_all)
            .then(|| Permit { limits: Arc::clone(self), addr: OnceLock::new() });
        let both = permit.filter(|_| add_one(&counts.opening, most.opening));
        let Some((permit, opening)) = both.map(|permit| (permit, OpeningPermit(self.connections.clone())))
        else {
            counts.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if client.is_some_and(|client| !permit.is_allowed(client, most.of_addr)) {
            return None;
        }
        counts.accepted.fetch_add(1, Ordering::Relaxed);
        Some((permit, opening))
    }

    fn by_addr(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_addr.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds one, if there are fewer than `most`.
fn add_one(count: &AtomicUsize, most: Option<usize>) -> bool {
    let one_more = |count: usize| count.checked_add(1).filter(|count| most.is_none_or(|most| *count <= most));
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
}

/// Counts a connection among those that are being opened until it is dropped.
#[derive(Debug)]
pub(crate) struct OpeningPermit(Connections);

impl Drop for OpeningPermit {
    fn drop(&mut self) {
        self.0.0.opening.fetch_sub(1, Ordering::Relaxed);
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
    pub(crate) fn is_allowed(&self, client: IpAddr, most: Option<usize>) -> bool {
        let Some(most) = most.filter(|_| self.addr.get().is_none()) else { return true };
        let addr = whose(client);
        let mut by_addr = self.limits.by_addr();
        let count = by_addr.get(&addr).copied().unwrap_or_default();
        if count >= most {
            drop(by_addr);
            self.limits.connections.0.refused_per_addr.fetch_add(1, Ordering::Relaxed);
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
        let limits = Arc::new(Limits::default());
        let most = Most { of_all: Some(4), of_addr: Some(1), opening: None };
        let enter = |addr: &str| limits.enter(Some(addr.parse().unwrap()), most);
        let first = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none() && enter("::ffff:192.0.2.1").is_none());
        let _others = [enter("192.0.2.2").unwrap(), enter("2001:db8::1").unwrap()];
        assert!(enter("2001:db8::2").is_none(), "the same network");
        let _other = enter("2001:db8:0:1::1").unwrap();
        assert!(limits.enter(None, most).is_none(), "four are all");
        let counts = &limits.connections;
        assert_eq!(
            (counts.open(), counts.accepted(), counts.refused(), counts.refused_per_addr()),
            (4, 4, 1, 3)
        );
        drop(first);
        assert!(enter("192.0.2.1").is_some());
        assert_eq!((counts.open(), limits.by_addr().len()), (3, 3), "nothing is kept of those who are gone");
    }

    #[test]
    fn no_more_come_in_where_several_let_in() {
        let limits = Arc::new(Limits::default());
        let address = IpAddr::from([192, 0, 2, 1]);
        for (of_all, of_addr, opening) in
            [(Some(3), None, None), (Some(100), Some(3), None), (Some(100), None, Some(3))]
        {
            let most = Most { of_all, opening, of_addr };
            let inside = AtomicUsize::new(0);
            let entering = || {
                for _ in 0..5000 {
                    if let Some(_permit) = limits.enter(Some(address), most) {
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            };
            std::thread::scope(|scope| (0..5).for_each(|_| drop(scope.spawn(entering))));
            let counts = &limits.connections;
            assert_eq!((counts.open(), counts.opening(), limits.by_addr().len()), (0, 0, 0));
            let all: Vec<_> = (0..4).filter_map(|_| limits.enter(Some(address), most)).collect();
            assert_eq!(all.len(), 3);
        }
    }
}

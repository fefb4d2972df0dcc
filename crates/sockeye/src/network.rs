//! Networks of addresses, as `10.0.0.0/8` and `fd00::/8` name them (RFC 4632 section 3.1, RFC 4291 section 2.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that begin with so many bits of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    first: IpAddr,
    length: u32,
}

impl Network {
    /// `None` if an address has fewer bits than that.
    pub(crate) fn new(address: IpAddr, length: u32) -> Option<Self> {
        (length <= size(address)).then(|| Self { first: masked(address, length), length })
    }

    /// This address alone.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self { first: address, length: size(address) }
    }

    /// Whether the address is in it. One of IPv4 that is written as one of IPv6 has to be [canonical](IpAddr::to_canonical) before.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.length) == self.first
    }
}

/// How many bits an address has.
fn size(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with all bits behind the first `length` cleared.
fn masked(address: IpAddr, length: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(32 - length).unwrap_or(0)).into()
        }
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(128 - length).unwrap_or(0)).into()
        }
    }
}

//! The range of virtual service addresses and the choice of a free one.

use std::fmt;
use std::net::Ipv4Addr;
use steersman_domain::AddressLedger;

/// A range of IPv4 addresses from which services get their virtual address, such as `127.64.16.0/20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceCidr {
    base: u32,
    prefix: u8,
}

/// A text or a pair that is not a usable range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a range of service addresses: write it as 127.64.0.0/20, with a prefix of 8 to 28 bits")]
pub struct InvalidCidr(pub String);

impl ServiceCidr {
    /// The range of `prefix` bits around an address; host bits of the address are cleared.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Result<Self, InvalidCidr> {
        // Wider than /8 would not fit the machine's own loopback; narrower than /28 leaves next to nothing.
        if !(8..=28).contains(&prefix) {
            return Err(InvalidCidr(format!("{address}/{prefix}")));
        }
        Ok(ServiceCidr { base: u32::from(address) & (u32::MAX << (32 - prefix)), prefix })
    }

    /// Reads `a.b.c.d/n`.
    pub fn parse(text: &str) -> Result<Self, InvalidCidr> {
        let bad = || InvalidCidr(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
        ServiceCidr::new(address.parse().map_err(|_| bad())?, prefix.parse().map_err(|_| bad())?)
    }

    fn size(self) -> u32 {
        1 << (32 - self.prefix)
    }

    /// Whether a service may have the address: in the range, and neither its first nor its last.
    pub fn usable(self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(self.base);
        offset > 0 && offset < self.size() - 1
    }

    /// A free address, sought from a random start so that a freed address is not handed out again at once; `None` when
    /// all are taken.
    pub(super) fn free(self, ledger: &AddressLedger, random: u64) -> Option<Ipv4Addr> {
        let usable = self.size() - 2;
        let start = u32::try_from(random % u64::from(usable)).unwrap_or(0);
        (0..usable)
            .map(|step| self.base + 1 + (start + step) % usable)
            .find(|address| ledger.taken.binary_search(address).is_err())
            .map(Ipv4Addr::from)
    }
}

impl fmt::Display for ServiceCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.prefix)
    }
}

/// Whether somebody has the address.
pub(super) fn is_taken(ledger: &AddressLedger, address: Ipv4Addr) -> bool {
    ledger.taken.binary_search(&u32::from(address)).is_ok()
}

/// Marks an address as taken; false when it was taken before.
pub(super) fn take(ledger: &mut AddressLedger, address: Ipv4Addr) -> bool {
    match ledger.taken.binary_search(&u32::from(address)) {
        Ok(_) => false,
        Err(at) => {
            ledger.taken.insert(at, u32::from(address));
            true
        }
    }
}

/// Frees an address.
pub(super) fn release(ledger: &mut AddressLedger, address: Ipv4Addr) {
    if let Ok(at) = ledger.taken.binary_search(&u32::from(address)) {
        ledger.taken.remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_range_stay_free() {
        let cidr = ServiceCidr::parse("127.64.16.9/28").expect("a range");
        assert_eq!(cidr.to_string(), "127.64.16.0/28");
        for (address, usable) in
            [("127.64.16.0", false), ("127.64.16.1", true), ("127.64.16.14", true), ("127.64.16.15", false)]
        {
            assert_eq!(cidr.usable(address.parse().expect("an address")), usable, "{address}");
        }
        assert!(!cidr.usable(Ipv4Addr::new(127, 64, 15, 255)) && !cidr.usable(Ipv4Addr::new(10, 0, 0, 1)));
    }

    #[test]
    fn hands_out_every_address_once() {
        let cidr = ServiceCidr::parse("127.64.0.0/28").expect("a range");
        let mut ledger = AddressLedger::default();
        for random in 0..14 {
            let address = cidr.free(&ledger, random * 7).expect("one is free");
            assert!(cidr.usable(address) && take(&mut ledger, address), "{address}");
        }
        assert_eq!(cidr.free(&ledger, 3), None);
        release(&mut ledger, Ipv4Addr::new(127, 64, 0, 5));
        assert_eq!(cidr.free(&ledger, 3), Some(Ipv4Addr::new(127, 64, 0, 5)));
    }

    #[test]
    fn refuses_what_is_no_range() {
        for text in ["127.64.0.0", "127.64.0.0/33", "127.64.0.0/4", "x/20", "127.64.0.0/"] {
            assert!(ServiceCidr::parse(text).is_err(), "{text}");
        }
    }
}

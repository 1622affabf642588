//! The addresses of pods: the hosts 1 to 254 of a /24, given out in turn so that one that was just freed rests longest.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Which addresses of a /24 are taken.
#[derive(Debug)]
pub(super) struct AddressPool {
    network: [u8; 3],
    taken: BTreeSet<u8>,
    last: u8,
}

impl AddressPool {
    /// The pool of a /24. `last`: the octet that was given out last before a restart, 0 for none.
    pub(super) fn new(subnet: Ipv4Addr, last: u8) -> Self {
        let [a, b, c, _] = subnet.octets();
        AddressPool { network: [a, b, c], taken: BTreeSet::new(), last: last.min(254) }
    }

    /// Marks the address of a pod that already exists. Addresses of another network need no mark.
    pub(super) fn take(&mut self, ip: Ipv4Addr) {
        let [a, b, c, d] = ip.octets();
        if [a, b, c] == self.network {
            self.taken.insert(d);
        }
    }

    /// The next free address after the one given out last, but none of `foreign`, which others use at the moment; `None`
    /// when all 254 are taken.
    pub(super) fn allocate(&mut self, foreign: &[Ipv4Addr]) -> Option<Ipv4Addr> {
        let [a, b, c] = self.network;
        let after = (self.last..=253).map(|octet| octet + 1);
        let before = 1..=self.last;
        let is_free = |octet: &u8| !self.taken.contains(octet) && !foreign.contains(&Ipv4Addr::new(a, b, c, *octet));
        let octet = after.chain(before).find(is_free)?;
        self.taken.insert(octet);
        self.last = octet;
        Some(Ipv4Addr::new(a, b, c, octet))
    }

    /// The octet given out last, to be remembered over a restart.
    pub(super) fn last(&self) -> u8 {
        self.last
    }

    /// Gives an address back.
    pub(super) fn free(&mut self, ip: Ipv4Addr) {
        let [a, b, c, d] = ip.octets();
        if [a, b, c] == self.network {
            self.taken.remove(&d);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_rests_until_all_others_had_their_turn() {
        let mut pool = AddressPool::new(Ipv4Addr::new(127, 72, 3, 0), 0);
        let first = pool.allocate(&[]).unwrap();
        assert_eq!(first, Ipv4Addr::new(127, 72, 3, 1));
        pool.free(first);
        let rest: Vec<_> = (0..253).map(|_| pool.allocate(&[]).unwrap().octets()[3]).collect();
        assert_eq!(rest, (2..=254).collect::<Vec<_>>());
        assert_eq!(pool.allocate(&[]), Some(first));
        assert_eq!(pool.allocate(&[]), None, "0 and 255 are never given out");
    }

    #[test]
    fn addresses_in_use_before_a_restart_are_not_given_out() {
        let mut pool = AddressPool::new(Ipv4Addr::new(127, 72, 3, 9), 254);
        pool.take(Ipv4Addr::new(127, 72, 3, 1));
        pool.take(Ipv4Addr::new(127, 99, 3, 2));
        assert_eq!(pool.allocate(&[]), Some(Ipv4Addr::new(127, 72, 3, 2)));
        let foreign = [Ipv4Addr::new(127, 72, 3, 3)];
        assert_eq!(pool.allocate(&foreign), Some(Ipv4Addr::new(127, 72, 3, 4)));
        pool.last = 2;
        assert_eq!(pool.allocate(&[]), Some(Ipv4Addr::new(127, 72, 3, 3)), "free again");
    }
}

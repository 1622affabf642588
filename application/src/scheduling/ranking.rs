//! The nodes in the order in which profiles like them, kept in step with what is taken on them. A node that changes is only
//! noted; it moves to its new place when the order is looked at next, once however often it changed.

use super::order::{Entry, Order, Rank, Room};
use super::{NodeInfo, Preference};

/// All nodes in one order.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranking {
    order: Order,
    /// Where each node stands; `None`: nowhere.
    ranks: Vec<Option<Rank>>,
    dirty: Vec<u32>,
    is_dirty: Vec<bool>,
}

impl Ranking {
    fn mark(&mut self, node: u32) {
        let at = node as usize;
        if self.is_dirty.len() <= at {
            self.is_dirty.resize(at + 1, false);
        }
        if !std::mem::replace(&mut self.is_dirty[at], true) {
            self.dirty.push(node);
        }
    }

    fn catch_up(&mut self, preference: Preference, infos: &[NodeInfo]) {
        self.ranks.resize(infos.len(), None);
        for node in std::mem::take(&mut self.dirty) {
            let at = node as usize;
            self.is_dirty[at] = false;
            let new = infos[at].node.is_some().then(|| entry(&infos[at], preference));
            if let Some(rank) = self.ranks[at] {
                self.order.remove(rank);
            }
            self.ranks[at] = new.map(|e| e.rank);
            if let Some(entry) = new {
                self.order.insert(entry);
            }
        }
    }

    /// See [`Order::search`].
    pub(super) fn search(&mut self, need: &Room, found: impl FnMut(&Entry) -> bool) {
        self.order.search(need, found);
    }
}

/// The orders in use.
#[derive(Clone, Debug, Default)]
pub(super) struct Rankings([Option<Ranking>; 3]);

impl Rankings {
    fn at(preference: Preference) -> usize {
        match preference {
            Preference::Name => 0,
            Preference::Emptiest => 1,
            Preference::Fullest => 2,
        }
    }

    /// Takes out an order, up to date; it must be put back.
    pub(super) fn take(&mut self, preference: Preference, infos: &[NodeInfo]) -> Ranking {
        let mut ranking = self.0[Self::at(preference)].take().unwrap_or_else(|| {
            let mut ranking = Ranking::default();
            infos.iter().for_each(|info| ranking.mark(info.index));
            ranking
        });
        ranking.catch_up(preference, infos);
        ranking
    }

    pub(super) fn put_back(&mut self, preference: Preference, ranking: Ranking) {
        self.0[Self::at(preference)] = Some(ranking);
    }

    /// A node, or what is taken on it, has changed.
    pub(super) fn changed(&mut self, node: u32) {
        self.0.iter_mut().flatten().for_each(|ranking| ranking.mark(node));
    }

    pub(super) fn forget(&mut self) {
        self.0 = Default::default();
    }
}

/// Where a node stands in an order.
pub(super) fn entry(info: &NodeInfo, preference: Preference) -> Entry {
    let pods = u32::try_from(info.taken.allocated.pods).unwrap_or(u32::MAX);
    let order = info.order;
    let rank = match preference {
        Preference::Name => Rank { share: 0, pods: 0, order },
        Preference::Emptiest => Rank { share: share(info), pods, order },
        Preference::Fullest => Rank { share: WHOLE - share(info), pods: u32::MAX - pods, order },
    };
    Entry { rank, free: info.free(), node: info.index }
}

const WHOLE: u32 = 10_000;

/// The mean of what is taken of cpu and memory, by weight, in ten-thousandths.
fn share(info: &NodeInfo) -> u32 {
    let cpu = part(info.weight.cpu_milli, info.allocatable.cpu_milli);
    let memory = part(info.weight.memory_bytes, info.allocatable.memory_bytes);
    u32::midpoint(cpu, memory)
}

fn part(taken: i64, of: i64) -> u32 {
    if of <= 0 {
        return WHOLE;
    }
    // Up to half a petabyte the product stays within 63 bits.
    let share = match taken.checked_mul(i64::from(WHOLE)) {
        Some(product) => product / of,
        None => taken / (of / i64::from(WHOLE)).max(1),
    };
    u32::try_from(share.clamp(0, i64::from(WHOLE))).unwrap_or(WHOLE)
}

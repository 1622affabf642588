//! Nodes in the order in which a profile likes them, as a sorted list in chunks that know the most that any of their nodes
//! has free: a search walks the order and steps over whole chunks that cannot help. Inserting and removing cost one search
//! and one short move.

use steersman_domain::ledger::Resources;

/// Entries of a chunk at most; a full one is cut in half.
const CHUNK: usize = 32;
/// Chunks of a block at most.
const BLOCK: usize = 64;

/// Cpu in thousandths, memory in bytes, and pods: what is free, or what is needed. A need of the least number always fits,
/// so that a node which is over in one resource still takes pods that ask for none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) cpu: i64,
    pub(super) memory: i64,
    pub(super) pods: i32,
}

impl Room {
    /// A need that always fits.
    pub(super) const NOTHING: Room = Room { cpu: i64::MIN, memory: i64::MIN, pods: i32::MIN };

    /// Whether this need is free.
    pub(super) fn fits(&self, free: &Room) -> bool {
        self.cpu <= free.cpu && self.memory <= free.memory && self.pods <= free.pods
    }

    fn widen(&mut self, by: &Room) {
        self.cpu = self.cpu.max(by.cpu);
        self.memory = self.memory.max(by.memory);
        self.pods = self.pods.max(by.pods);
    }
}

/// Cpu, memory and pods that are free; negative where more is taken than there is.
pub(super) fn room(of: &Resources, taken: &Resources) -> Room {
    let pods = of.pods.saturating_sub(taken.pods).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
    Room {
        cpu: of.cpu_milli.saturating_sub(taken.cpu_milli),
        memory: of.memory_bytes.saturating_sub(taken.memory_bytes),
        pods: i32::try_from(pods).unwrap_or(i32::MAX),
    }
}

/// Where a node stands: less is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// The allocation in ten-thousandths, or what is left of it.
    pub(super) share: u32,
    /// The number of pods, or its complement.
    pub(super) pods: u32,
    /// The order of names.
    pub(super) order: u64,
}

/// One node in the order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) rank: Rank,
    pub(super) free: Room,
    pub(super) node: u32,
}

/// Part of the order: entries and, as an upper bound, the most that one of them has free.
#[derive(Clone, Debug)]
struct Part<T> {
    most: Room,
    last: Rank,
    items: Vec<T>,
}

type Chunk = Part<Entry>;
type Block = Part<Chunk>;

impl<T> Part<T> {
    fn new(most: Room, last: Rank, items: Vec<T>) -> Self {
        Part { most, last, items }
    }
}

impl Chunk {
    /// Sums up its entries anew.
    fn sum_up(&mut self) {
        self.most = Room::NOTHING;
        for entry in &self.items {
            self.most.widen(&entry.free);
        }
        self.last = self.items.last().map_or(self.last, |e| e.rank);
    }
}

impl Block {
    fn sum_up(&mut self) {
        self.most = Room::NOTHING;
        for chunk in &self.items {
            self.most.widen(&chunk.most);
        }
        self.last = self.items.last().map_or(self.last, |c| c.last);
    }
}

/// The order.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    blocks: Vec<Block>,
}

impl Order {
    /// Enters a node. It must not be there.
    pub(super) fn insert(&mut self, entry: Entry) {
        if self.blocks.is_empty() {
            let chunk = Chunk::new(entry.free, entry.rank, vec![entry]);
            self.blocks.push(Block::new(entry.free, entry.rank, vec![chunk]));
            return;
        }
        let at = self.blocks.partition_point(|b| b.last < entry.rank).min(self.blocks.len() - 1);
        let block = &mut self.blocks[at];
        let within = block.items.partition_point(|c| c.last < entry.rank).min(block.items.len() - 1);
        let chunk = &mut block.items[within];
        let place = chunk.items.partition_point(|e| e.rank < entry.rank);
        chunk.items.insert(place, entry);
        chunk.most.widen(&entry.free);
        chunk.last = chunk.last.max(entry.rank);
        block.most.widen(&entry.free);
        block.last = block.last.max(entry.rank);
        if chunk.items.len() > CHUNK {
            let mut second = Chunk::new(Room::NOTHING, Rank::default(), chunk.items.split_off(CHUNK / 2));
            second.sum_up();
            chunk.sum_up();
            block.items.insert(within + 1, second);
            if block.items.len() > BLOCK {
                let mut second = Block::new(Room::NOTHING, Rank::default(), block.items.split_off(BLOCK / 2));
                second.sum_up();
                block.sum_up();
                self.blocks.insert(at + 1, second);
            }
        }
    }

    /// Takes out the node at a rank.
    pub(super) fn remove(&mut self, rank: Rank) {
        let at = self.blocks.partition_point(|b| b.last < rank);
        let Some(block) = self.blocks.get_mut(at) else { return };
        let within = block.items.partition_point(|c| c.last < rank);
        let Some(chunk) = block.items.get_mut(within) else { return };
        let Ok(place) = chunk.items.binary_search_by_key(&rank, |e| e.rank) else { return };
        chunk.items.remove(place);
        // What the part has free at most stays as a bound: a search that finds it too wide mends it.
        if chunk.items.is_empty() {
            block.items.remove(within);
            if block.items.is_empty() {
                self.blocks.remove(at);
            }
        }
    }

    /// Calls `found` with every node that has free what is needed, the best first, until it answers `false`.
    pub(super) fn search(&mut self, need: &Room, mut found: impl FnMut(&Entry) -> bool) {
        for block in self.blocks.iter_mut().filter(|b| need.fits(&b.most)) {
            let mut hit = false;
            for chunk in block.items.iter_mut().filter(|c| need.fits(&c.most)) {
                let mut any = false;
                for entry in chunk.items.iter().filter(|e| need.fits(&e.free)) {
                    any = true;
                    if !found(entry) {
                        return;
                    }
                }
                if !any {
                    chunk.sum_up();
                }
                hit |= any;
            }
            if !hit {
                block.sum_up();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(share: u32, order: u64, cpu: i64, memory: i64) -> Entry {
        Entry {
            rank: Rank { share, pods: 0, order },
            free: Room { cpu, memory, pods: 10 },
            node: u32::try_from(order).expect("small"),
        }
    }

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(
            start in proptest::collection::vec((0_u32..50, 0_i64..20, 0_i64..20), 0..600),
            changes in proptest::collection::vec((0_usize..700, 0_u32..50, 0_i64..20, 0_i64..20), 0..600),
            needs in proptest::collection::vec((0_i64..24, 0_i64..24), 1..20),
        ) {
            let mut all: Vec<Option<Entry>> =
                start.iter().zip(0..).map(|((s, c, m), n)| Some(entry(*s, n, *c, *m))).collect();
            all.resize(700, None);
            let mut order = Order::default();
            all.iter().flatten().for_each(|entry| order.insert(*entry));
            let mut needs = needs.iter().cycle();
            for (n, (at, share, cpu, memory)) in changes.iter().enumerate() {
                if let Some(old) = all[*at].take() {
                    order.remove(old.rank);
                }
                if n % 3 != 0 {
                    let new = entry(*share, *at as u64, *cpu, *memory);
                    order.insert(new);
                    all[*at] = Some(new);
                }
                let (cpu, memory) = needs.next().expect("a cycle");
                let need = Room { cpu: *cpu, memory: *memory, pods: 1 };
                let mut expected: Vec<Rank> =
                    all.iter().flatten().filter(|e| need.fits(&e.free)).map(|e| e.rank).collect();
                expected.sort();
                expected.truncate(5);
                let mut got = Vec::new();
                order.search(&need, |e| { got.push(e.rank); got.len() < 5 });
                prop_assert_eq!(got, expected);
            }
        }
    }
}

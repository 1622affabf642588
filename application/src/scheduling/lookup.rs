//! A hash table that can be asked but not walked through: what is in it decides, never the order it is kept in. The hash is
//! the same in every run.

use std::hash::{BuildHasherDefault, Hash, Hasher};

/// The multiplicative hash of the Firefox project ("FxHash"): quick for short keys, and without a seed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mixer(u64);

impl Mixer {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        let mut last = [0_u8; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        self.mix(u64::from_le_bytes(last) ^ bytes.len() as u64);
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(byte.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes its slot from the low bits and its tag from the high ones.
        self.0 ^ (self.0 >> 29)
    }
}

/// See the module.
#[expect(clippy::disallowed_types, reason = "its order never shows: there is no way to iterate")]
#[derive(Clone, Debug)]
pub(super) struct Lookup<K, V>(std::collections::HashMap<K, V, BuildHasherDefault<Mixer>>);

#[expect(clippy::disallowed_types, reason = "as above")]
impl<K, V> Default for Lookup<K, V> {
    fn default() -> Self {
        Lookup(std::collections::HashMap::default())
    }
}

impl<K: Hash + Eq, V> Lookup<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Finds numbers by the hash of what they stand for, which is kept elsewhere: a few bytes for each, where a table of keys
/// would hold them all once more. It cannot be walked through either.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(hashbrown::HashTable<u32>);

/// The hash of a value in a [`Numbers`].
pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut mixer = Mixer::default();
    value.hash(&mut mixer);
    mixer.finish()
}

impl Numbers {
    pub(super) fn get(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.0.find(hash, |number| is(*number)).copied()
    }

    /// Enters a number that is not there; `hash_of` gives the hash of those that are.
    pub(super) fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        self.0.insert_unique(hash, number, |number| hash_of(*number));
    }

    pub(super) fn remove(&mut self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.0.find_entry(hash, |number| is(*number)).ok().map(|entry| entry.remove().0)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

//! The trace of a run: every revision that was committed, and when. Two runs were the same if their traces have one hash.

use super::lines;
use super::names::Counted;
use std::fmt;
use std::time::Duration;
use steersman_domain::ports::Change;
use steersman_domain::{Kind, Str};

/// One revision.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When it was committed, since the start of the cluster.
    pub at: Duration,
    /// What it did.
    pub change: Change,
    /// Whether its transaction ended with it: rules across objects hold there, not between two changes of one transaction.
    pub ends_transaction: bool,
}

/// How objects with generated names are called in the lines of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// As they are: `web-6d4cf56db6-x7k2p`.
    Real,
    /// By their prefix and a number, in the order of creation: `web-6d4cf56db6-1`; uids not at all. What the cluster draws at
    /// other places does not change them.
    Counted,
}

/// The hash of a trace; written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceHash(pub u64);

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Everything that was committed, in the order of revisions, heartbeats aside. Written, it is one line for each thing that a
/// person would want to know of.
#[derive(Clone, Debug)]
pub struct Trace {
    entries: Vec<Entry>,
}

impl Trace {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        Trace { entries }
    }

    /// All revisions.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The 64-bit FNV-1a hash of all revisions: when each was committed, its number and key, whether it put or deleted, and the
    /// bytes of the object. Source: <http://www.isthe.com/chongo/tech/comp/fnv/>.
    pub fn hash(&self) -> TraceHash {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        for Entry { at, change, .. } in &self.entries {
            hash.take(&at.as_micros().to_le_bytes());
            let (op, stored) = match change {
                Change::Put { after, .. } => (b'p', after),
                Change::Delete { last, .. } => (b'd', last),
            };
            hash.take(&stored.revision.0.to_le_bytes());
            hash.take(stored.key.to_string().as_bytes());
            hash.take(&[0xff, op]);
            hash.take(&stored.json());
        }
        TraceHash(hash.0)
    }

    /// One line for each thing that a person would want to know of: the seconds since the start, the object, what became of it.
    pub fn lines(&self, names: Names) -> Vec<String> {
        lines::lines(&self.entries, names)
    }

    /// The real name of an object of this kind that lines with [`Names::Counted`] call `counted`; of several in different
    /// namespaces the first. Names that were not generated are their own.
    pub fn real_name(&self, kind: Kind, counted: &str) -> Option<Str> {
        let of_kind = |entry: &&Entry| entry.change.key().kind == kind;
        let names = self.names();
        let real = names.real(counted).map_or(counted, Str::as_str);
        let mut keys = self.entries.iter().filter(of_kind).map(|entry| entry.change.key());
        keys.find(|key| key.name == real).map(|key| key.name.clone())
    }

    /// A text with generated names in it as lines with [`Names::Counted`] have them.
    pub fn counted(&self, text: &str) -> String {
        self.names().write(text)
    }

    fn names(&self) -> Counted {
        let mut names = Counted::default();
        self.entries.iter().for_each(|entry| names.note(&entry.change));
        names
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines(Names::Real).iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

struct Fnv(u64);

impl Fnv {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

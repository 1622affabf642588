//! Sets of indexes as the status of indexed Jobs writes them: `0,2-5,9`.

use std::collections::BTreeSet;
use std::fmt;

/// A set of indexes, kept as ranges, so that it is small where it is dense.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(Vec<(i32, i32)>);

/// Why a text is no set of indexes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} is neither an index nor a range that begins after the one before: write it like 0,2-5,9")]
pub struct IndexesError {
    part: String,
}

impl Indexes {
    /// Reads indexes and ranges in growing order; the empty text is the empty set.
    ///
    /// # Errors
    /// When a part is neither, or not after the one before.
    pub fn parse(text: &str) -> Result<Self, IndexesError> {
        let mut ranges: Vec<(i32, i32)> = Vec::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let wrong = || IndexesError { part: part.to_owned() };
            let number = |text: &str| text.parse::<i32>().ok().filter(|n| *n >= 0);
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = number(first).zip(number(last)).ok_or_else(wrong)?;
            if first > last || ranges.last().is_some_and(|(_, before)| *before >= first) {
                return Err(wrong());
            }
            ranges.push((first, last));
        }
        Ok(Indexes::of(ranges))
    }

    /// Ranges in growing order that do not overlap, joined where they touch.
    fn of(ranges: Vec<(i32, i32)>) -> Self {
        let mut joined: Vec<(i32, i32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, before)) if i64::from(*before) + 1 >= i64::from(first) => *before = last.max(*before),
                _ => joined.push((first, last)),
            }
        }
        Indexes(joined)
    }

    /// With more indexes.
    #[must_use]
    pub fn with(&self, more: &BTreeSet<i32>) -> Self {
        let mut ranges: Vec<(i32, i32)> = self.0.iter().copied().chain(more.iter().map(|i| (*i, *i))).collect();
        ranges.sort_unstable();
        Indexes::of(ranges)
    }

    /// Without those from `end` on.
    #[must_use]
    pub fn below(&self, end: i32) -> Self {
        let kept = self.0.iter().filter(|(first, _)| *first < end);
        Indexes(kept.map(|(first, last)| (*first, (*last).min(end - 1))).collect())
    }

    /// Whether the index is in the set.
    pub fn contains(&self, index: i32) -> bool {
        let at = self.0.partition_point(|(first, _)| *first <= index);
        at.checked_sub(1).is_some_and(|at| self.0[at].1 >= index)
    }

    /// How many indexes there are.
    pub fn len(&self) -> i32 {
        let total: i64 = self.0.iter().map(|(first, last)| i64::from(*last) - i64::from(*first) + 1).sum();
        i32::try_from(total).unwrap_or(i32::MAX)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The greatest.
    pub fn last(&self) -> Option<i32> {
        self.0.last().map(|(_, last)| *last)
    }

    /// All, in growing order.
    pub fn iter(&self) -> impl Iterator<Item = i32> + '_ {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                // Two that touch are written one by one, as Kubernetes does.
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_that_are_no_sets_say_where() {
        for (text, part) in [("a", "a"), ("1,", ""), ("3-1", "3-1"), ("1-3,2", "2"), ("-1", "-1"), ("1,1", "1")] {
            assert_eq!(Indexes::parse(text), Err(IndexesError { part: part.into() }), "{text}");
        }
        assert_eq!(Indexes::parse("").map(|i| i.len()), Ok(0));
        assert_eq!(Indexes::parse("0-2147483647").map(|i| i.len()), Ok(i32::MAX));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_the_set_it_stands_for(
            parts in prop::collection::vec(prop::collection::btree_set(0i32..60, 0..20), 1..5),
            end in 0i32..70,
        ) {
            let mut set = BTreeSet::new();
            let mut indexes = Indexes::default();
            for part in &parts {
                set.extend(part.iter().copied());
                indexes = indexes.with(part);
            }
            prop_assert!(indexes.iter().eq(set.iter().copied()));
            prop_assert_eq!(indexes.len() as usize, set.len());
            prop_assert_eq!(indexes.last(), set.last().copied());
            prop_assert!((0..70).all(|n| indexes.contains(n) == set.contains(&n)));
            prop_assert_eq!(Indexes::parse(&indexes.to_string()), Ok(indexes.clone()));
            prop_assert!(indexes.below(end).iter().eq(set.iter().copied().filter(|n| *n < end)));
        }
    }
}

//! Soft topology spread constraints: the fewer pods in a place, the better; where there are many places, each counts less.
//! Source of the rules: kube-scheduler `plugins/podtopologyspread/scoring.go`.

use crate::scheduling::terms::Spread;
use crate::scheduling::topology::spread_counts;
use crate::scheduling::{Basis, Measure, NodeInfo, Score, Situation};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct PodTopologySpread;

impl Score for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn explain(&self) -> &'static str {
        "how few of the pods that it is to be spread with are in the same place"
    }

    fn basis(&self) -> Basis {
        Basis::Pods
    }

    fn begin<'a>(&'a self, at: &Situation<'a>) -> Option<Box<dyn Measure + 'a>> {
        let soft: Vec<&Spread> = at.demand.terms.spread.iter().filter(|s| !s.hard).collect();
        if soft.is_empty() {
            return None;
        }
        let keys: Vec<_> = soft.iter().filter_map(|s| at.nodes.topology.places(&s.key)).collect();
        let mut raw: Vec<Option<i64>> = vec![Some(0); at.nodes.infos.len()];
        for (spread, places) in soft.iter().zip(&keys) {
            let count = spread_counts(at, spread, &keys);
            let weight = logarithm(count.iter().flatten().count() + 2);
            for (node, sum) in (0..).zip(&mut raw) {
                let there = places.of(node).and_then(|place| count[place]);
                *sum = match (*sum, there) {
                    (Some(sum), Some(there)) => Some(sum + i64::from(there) * weight + spread.max_skew - 1),
                    // A node without a place spreads nothing.
                    _ => None,
                };
            }
        }
        let (least, most) = (raw.iter().flatten().min().copied()?, raw.iter().flatten().max().copied()?);
        let score =
            |sum: Option<i64>| sum.map_or(0, |sum| if most == 0 { 100 } else { 100 * (most + least - sum) / most });
        Some(Box::new(Spreads(raw.into_iter().map(score).collect())))
    }
}

struct Spreads(Vec<i64>);

impl Measure for Spreads {
    fn of(&self, node: &NodeInfo) -> i64 {
        self.0.get(node.index as usize).copied().unwrap_or(0)
    }
}

/// The binary logarithm in 1024ths, with straight lines between the powers of two: integers give every machine the same.
fn logarithm(n: usize) -> i64 {
    let power = n.max(1).ilog2();
    let rest = ((n << 10) >> power) - (1 << 10);
    i64::from(power << 10) + i64::try_from(rest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::logarithm;

    #[test]
    fn logarithms_grow() {
        assert_eq!((logarithm(1), logarithm(2), logarithm(4), logarithm(3)), (0, 1024, 2048, 1536));
        assert!((1..5000).all(|n| logarithm(n) <= logarithm(n + 1)));
    }
}

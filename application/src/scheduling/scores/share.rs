//! Percents of a node, as several scores count them.

use crate::scheduling::{Demand, NodeInfo};

/// Percent of cpu and of memory in use once the pod is there.
pub(super) fn used(demand: &Demand, node: &NodeInfo) -> (i64, i64) {
    let (taken, request) = (&node.taken.allocated, demand.request());
    (
        percent(taken.cpu_milli.saturating_add(request.cpu_milli), node.allocatable.cpu_milli),
        percent(taken.memory_bytes.saturating_add(request.memory_bytes), node.allocatable.memory_bytes),
    )
}

/// As [`used`], by what pods weigh.
pub(super) fn weighed(demand: &Demand, node: &NodeInfo) -> (i64, i64) {
    let (taken, added) = (node.weight, demand.load.weight);
    (
        percent(taken.cpu_milli.saturating_add(added.cpu_milli), node.allocatable.cpu_milli),
        percent(taken.memory_bytes.saturating_add(added.memory_bytes), node.allocatable.memory_bytes),
    )
}

/// 0 to 100; a whole of nothing counts as full.
pub(super) fn percent(part: i64, whole: i64) -> i64 {
    if whole <= 0 {
        return 100;
    }
    let percent = match part.checked_mul(100) {
        Some(product) => product / whole,
        None => part / (whole / 100).max(1),
    };
    percent.clamp(0, 100)
}

pub(super) fn mean((a, b): (i64, i64)) -> i64 {
    i64::midpoint(a, b)
}

/// The least and the most of raw values. `None` where all are alike.
pub(super) fn range(mut raw: impl Iterator<Item = i64>) -> Option<(i64, i64)> {
    let first = raw.next()?;
    let (least, most) = raw.fold((first, first), |(least, most), value| (least.min(value), most.max(value)));
    (least < most).then_some((least, most))
}

//! How long a container waits before it is started again: nothing after its first end, then 10 s doubling to 5 min;
//! ten minutes of running forgive the past. Source: Kubernetes "Container restarts", with the first restart at once.

use std::time::Duration;
use steersman_domain::{ContainerStateTerminated, Time};

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);

/// Running this long makes the next end a first one.
pub(super) const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// The wait after the n-th end in a row.
pub(super) fn delay(crashes: u32) -> Duration {
    match crashes {
        0 | 1 => Duration::ZERO,
        n => FIRST.saturating_mul(1_u32.checked_shl(n - 2).unwrap_or(u32::MAX)).min(LONGEST),
    }
}

/// The number of ends in a row, after one more.
pub(super) fn count(crashes: u32, started_at: Option<Time>, ended_at: Time) -> u32 {
    let ran = started_at.map_or(Duration::ZERO, |t| ended_at.since(t));
    // Past the longest wait counting on changes nothing, and the shift in `delay` stays small.
    if ran >= FORGIVEN_AFTER { 1 } else { crashes.saturating_add(1).min(16) }
}

/// When a container that ended may start again.
pub(super) fn due_at(end: &ContainerStateTerminated, crashes: u32) -> Time {
    end.finished_at.unwrap_or_default().after(delay(crashes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_five_minutes() {
        let seconds: Vec<u64> = (0..9).map(|n| delay(n).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(delay(u32::MAX).as_secs(), 300);
    }

    #[test]
    fn ten_minutes_of_running_forgive() {
        let at = Time::from_secs;
        assert_eq!(count(5, Some(at(0)), at(599)), 6);
        assert_eq!(count(5, Some(at(0)), at(600)), 1);
        assert_eq!(count(2, None, at(600)), 3);
    }
}

//! Waiting for something to become true, never for time to pass.

use std::time::{Duration, Instant};

/// Pause between two looks. Short enough that no test is slower for it, long enough that looking costs nothing.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `probe` succeeds and returns what it found.
///
/// # Panics
/// When `deadline` passes first, with what was waited for and what the last look saw.
#[track_caller]
pub fn eventually<T>(deadline: Duration, what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match probe() {
            Ok(found) => return found,
            Err(last) if start.elapsed() >= deadline => {
                panic!("not within {:.1} s: {what}\nlast seen: {last}", deadline.as_secs_f64())
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// As [`eventually`], for a plain condition; `state` is asked only for the message.
///
/// # Panics
/// As [`eventually`].
#[track_caller]
pub fn until(deadline: Duration, what: &str, mut holds: impl FnMut() -> bool, state: impl Fn() -> String) {
    eventually(deadline, what, || if holds() { Ok(()) } else { Err(state()) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_true_is_returned() {
        let mut looks = 0;
        let found = eventually(Duration::from_secs(5), "three looks", || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(format!("{looks} looks")) }
        });
        assert_eq!(found, 3);
    }

    #[test]
    #[should_panic(expected = "the moon\nlast seen: still 7")]
    fn what_does_not_come_true_panics_with_the_last_state() {
        eventually(Duration::from_millis(30), "the moon", || Err::<(), _>("still 7".to_owned()));
    }

    #[test]
    #[should_panic(expected = "last seen: x is 1")]
    fn a_condition_that_stays_false_panics_with_its_state() {
        until(Duration::ZERO, "two", || false, || "x is 1".to_owned());
    }
}

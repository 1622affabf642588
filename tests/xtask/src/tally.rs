//! Reading what `cargo test` prints: how many passed and failed, and which were left out.
//!
//! libtest's machine-readable output is not stable, so the words it prints for people are read; they have not changed
//! since Rust 1.0. What cannot be read there (a binary that died, a crate that did not build) is told by cargo's exit
//! status and counted as one failure.

/// Totals over all test binaries of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed.
    pub(crate) failed: u64,
    /// Names of the tests that failed, as libtest prints them, in order.
    pub(crate) broken: Vec<String>,
    /// Tests left out, with the reason that was given, in order.
    pub(crate) ignored: Vec<String>,
}

impl Tally {
    /// Takes one line of standard output into account.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            for part in rest.split([';', '.']) {
                let mut words = part.split_whitespace();
                let (Some(number), Some(what)) = (words.next(), words.next()) else { continue };
                let Ok(number) = number.parse::<u64>() else { continue };
                match what {
                    "passed" => self.passed += number,
                    "failed" => self.failed += number,
                    _ => {}
                }
            }
        } else if let Some(rest) = line.strip_prefix("test ") {
            let Some((name, outcome)) = rest.rsplit_once(" ... ") else { return };
            if outcome == "FAILED" {
                self.broken.push(name.to_owned());
            } else if let Some(reason) = outcome.strip_prefix("ignored") {
                let reason = reason.trim_start_matches(", ");
                let reason = if reason.is_empty() { "no reason given" } else { reason };
                self.ignored.push(format!("{name} ({reason})"));
            }
        }
    }

    /// Takes cargo's own verdict into account: a run that failed without a failed test lost a whole binary.
    pub(crate) fn close(&mut self, succeeded: bool) {
        if !succeeded && self.failed == 0 {
            self.failed = 1;
            self.broken.push("a crate that did not build, or a test binary that died (see above)".to_owned());
        }
    }

    /// The last line of a run.
    pub(crate) fn summary(&self) -> String {
        format!("{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.read(line));
        tally
    }

    #[test]
    fn totals_are_summed_over_binaries() {
        let tally = read(
            "running 3 tests\n\
             test a::b ... ok\n\
             test a::c ... FAILED\n\
             test a::d ... ignored, needs root\n\
             test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test src/lib.rs - f (line 3) ... ok\n\
             test result: ok. 41 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 1.07s\n",
        );
        assert_eq!((tally.passed, tally.failed), (42, 1));
        assert_eq!(tally.broken, ["a::c"]);
        assert_eq!(tally.ignored, ["a::d (needs root)"]);
        assert_eq!(tally.summary(), "42 passed, 1 failed");
    }

    #[test]
    fn a_run_that_failed_without_a_failed_test_counts_as_one_failure() {
        let mut tally = read("test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        tally.close(false);
        assert_eq!(tally.summary(), "5 passed, 1 failed");
        let mut tally = read("test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        tally.close(true);
        assert_eq!(tally.summary(), "5 passed, 0 failed");
    }

    #[test]
    fn what_a_test_prints_is_not_counted() {
        assert_eq!(read("test the water\n12 passed\ntest result shown: 3 passed\n"), Tally::default());
    }

    #[test]
    fn an_ignored_test_without_a_reason_says_so() {
        assert_eq!(read("test x ... ignored").ignored, ["x (no reason given)"]);
    }
}

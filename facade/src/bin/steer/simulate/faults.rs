//! What befalls the nodes of a what-if.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use steersman::domain::spans;

/// A node loses its power, for a while or for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) node: String,
    pub(super) at: Duration,
    /// How long it is gone; `None`: for good.
    pub(super) lasts: Option<Duration>,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("{text:?} is no failure: write NODE@TIME, or NODE@TIME+SPAN, such as node-1@10m+5m");
        let (node, times) = text.rsplit_once('@').filter(|(node, _)| !node.is_empty()).ok_or_else(form)?;
        let (at, lasts) = match times.split_once('+') {
            Some((at, lasts)) => (at, Some(lasts)),
            None => (times, None),
        };
        let span = |span: &str| spans::read(span).map_err(|error| format!("{error} (in {text:?})"));
        Ok(Fault { node: node.to_owned(), at: span(at)?, lasts: lasts.map(span).transpose()? })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}", self.node, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_read() {
        let secs = Duration::from_secs;
        let read = |text: &str| text.parse::<Fault>();
        assert_eq!(read("a@10m"), Ok(Fault { node: "a".into(), at: secs(600), lasts: None }));
        assert_eq!(read("a@1m+30s"), Ok(Fault { node: "a".into(), at: secs(60), lasts: Some(secs(30)) }));
        for (bad, said) in
            [("a", "NODE@TIME"), ("@1m", "NODE@TIME"), ("a@soon", "no span of time"), ("a@1m+", "no span")]
        {
            assert!(read(bad).expect_err(bad).contains(said), "{bad}");
        }
    }
}

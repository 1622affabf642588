//! Points in time as Kubernetes writes them: `Time` in whole seconds, `MicroTime` in microseconds, both RFC 3339 UTC.

use crate::entity::Omit;
use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// A point in time, in microseconds since 1970-01-01T00:00:00Z. Written in whole seconds (`metav1.Time`), computed in
/// microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

impl Time {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Time(micros)
    }

    /// From seconds since the Unix epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Time(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The same point cut to whole seconds: what is left after writing and reading it again.
    pub const fn truncated(self) -> Self {
        Time::from_secs(self.secs())
    }

    /// How long after `earlier` this is; zero when it is not later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This point and a duration later.
    pub fn after(self, by: Duration) -> Time {
        Time(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Reads RFC 3339.
    pub fn parse(text: &str) -> Result<Self, InvalidTime> {
        text.parse::<Timestamp>().map(|t| Time(t.as_microsecond())).map_err(|_| InvalidTime(text.to_owned()))
    }
}

/// A text that is not an RFC 3339 time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time: write it as 2006-01-02T15:04:05Z")]
pub struct InvalidTime(pub String);

fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}", timestamp(self.truncated().0))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", timestamp(self.0))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = crate::entity::FieldName::deserialize(deserializer)?;
        Time::parse(&text.0).map_err(D::Error::custom)
    }
}

/// A point in time written with microseconds (`metav1.MicroTime`), as leases and events use it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MicroTime(pub Time);

impl fmt::Display for MicroTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", timestamp(self.0.0))
    }
}

impl fmt::Debug for MicroTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for MicroTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MicroTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Time::deserialize(deserializer).map(MicroTime)
    }
}

impl Omit for Time {
    fn omit(&self) -> bool {
        *self == Time::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_in_whole_seconds_and_read_back() {
        let time = Time::from_micros(1_700_000_000_123_456);
        assert_eq!(time.to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(MicroTime(time).to_string(), "2023-11-14T22:13:20.123456Z");
        assert_eq!(Time::parse("2023-11-14T22:13:20Z"), Ok(time.truncated()));
        assert_eq!(Time::parse("2023-11-14T23:13:20+01:00"), Ok(time.truncated()));
        assert!(Time::parse("yesterday").is_err());
    }
}

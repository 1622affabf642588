//! Durations and ages as kubectl prints them.

use jiff::Timestamp;
use serde_json::Value;

/// A duration in seconds as kubectl prints it: `12s`, `3m20s`, `5h`, `12d`, `2y30d`. A little less than nothing is
/// taken as a clock that is off, more as `<invalid>`.
///
/// The steps are those of Kubernetes' `duration.HumanDuration`: two units while the larger one is small.
#[must_use]
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |unit: i64, name: &str, small: i64, small_name: &str| match seconds % unit / small {
        0 => format!("{}{name}", seconds / unit),
        rest => format!("{}{name}{rest}{small_name}", seconds / unit),
    };
    match seconds {
        i64::MIN..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        s if s < 10 * MINUTE => two(MINUTE, "m", 1, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(HOUR, "h", MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(DAY, "d", HOUR, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(YEAR, "y", DAY, "d"),
        s => format!("{}y", s / YEAR),
    }
}

/// The seconds since 1970 of an RFC 3339 time, rounded down.
pub(crate) fn unix_seconds(time: &Value) -> Option<i64> {
    let time: Timestamp = time.as_str()?.parse().ok()?;
    Some(time.as_millisecond().div_euclid(1000))
}

/// How long ago a time was, or `<unknown>`.
pub(crate) fn since(time: &Value, now: i64) -> String {
    unix_seconds(time).map_or_else(|| "<unknown>".to_owned(), |t| human_duration(now.saturating_sub(t)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_kubectl_prints_them() {
        for (seconds, expect) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (14_460, "4h1m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_071_999, "729d"),
            (63_072_000, "2y"),
            (65_664_000, "2y30d"),
            (252_288_000, "8y"),
        ] {
            assert_eq!(human_duration(seconds), expect, "{seconds}");
        }
        assert_eq!(human_duration(i64::MIN), "<invalid>");
    }

    #[test]
    fn ages_of_bad_times_are_unknown() {
        assert_eq!(since(&Value::from("2026-01-01T00:00:00Z"), 1_767_225_612), "12s");
        assert_eq!(since(&Value::Null, 0), "<unknown>");
        assert_eq!(since(&Value::from("soon"), 0), "<unknown>");
    }
}

//! Spans of time in words, as Go writes them: `90s`, `1m30s`, `1.5h`, `250ms`; a lone number is seconds.

use std::time::Duration;

/// Reads a span of time.
///
/// # Errors
/// How to write one.
pub fn read(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is no span of time: write it as 90s, 1m30s or 1.5h");
    if text.is_empty() {
        return Err(bad());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Duration::from_secs).map_err(|_| bad());
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let number: f64 = rest[..end].parse().map_err(|_| bad())?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(bad()),
        };
        rest = &rest[end..];
        let part = Duration::try_from_secs_f64(number * unit).map_err(|_| bad())?;
        total = total.checked_add(part).ok_or_else(bad)?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        for (text, millis) in [("90s", 90_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("250ms", 250), ("7", 7000)] {
            assert_eq!(read(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "s", "-1s", "5 s", "1d", "1e400h", "999999999999999999999h", "1.2.3s"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}

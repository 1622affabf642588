//! The form of log files: that of the container runtime interface, with a header of fixed width so that a file can be
//! read from its end: `2016-10-06T00:17:09.669794202Z stdout F text`. Tag `P`: the line goes on in the next entry of the
//! same stream; `F`: it ends here. Files are numbered upwards (`0.log`, `1.log` …); a higher number is later.

use std::path::{Path, PathBuf};

/// The longest text of one entry, in bytes; longer lines are cut into partial ones.
pub(super) const MAX_ENTRY: usize = 16 * 1024;
/// Bytes before the text of an entry.
pub(super) const HEADER: usize = 40;
/// Bytes of the time.
pub(super) const TIME: usize = 30;
const TAG: usize = 38;

/// Which output an entry came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// Appends one entry.
pub(super) fn push_entry(into: &mut Vec<u8>, time: &[u8; TIME], stream: Stream, whole: bool, text: &[u8]) {
    into.extend_from_slice(time);
    into.extend_from_slice(match stream {
        Stream::Out => b" stdout ",
        Stream::Err => b" stderr ",
    });
    into.extend_from_slice(if whole { b"F " } else { b"P " });
    into.extend_from_slice(text);
    into.push(b'\n');
}

/// An entry without its newline, taken apart; `None` when it has not the right form.
pub(super) fn parse_entry(line: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let (head, text) = line.split_at_checked(HEADER)?;
    (head[TIME] == b' ' && head[HEADER - 1] == b' ').then_some((&head[..TIME], head[TAG] == b'F', text))
}

/// A time as entries have it: RFC 3339, UTC, nine digits. `nanos` since the Unix epoch.
pub(super) fn format_time(nanos: i128) -> [u8; TIME] {
    let secs = nanos.div_euclid(1_000_000_000);
    let (days, of_day) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(i64::try_from(days).unwrap_or(0));
    let mut out = *b"0000-00-00T00:00:00.000000000Z";
    let mut put = |at: usize, width: usize, mut value: i128| {
        for slot in out[at..at + width].iter_mut().rev() {
            *slot = b'0' + u8::try_from(value.rem_euclid(10)).unwrap_or(0);
            value /= 10;
        }
    };
    put(0, 4, i128::from(year.clamp(0, 9999)));
    put(5, 2, i128::from(month));
    put(8, 2, i128::from(day));
    put(11, 2, of_day / 3600);
    put(14, 2, of_day / 60 % 60);
    put(17, 2, of_day % 60);
    put(20, 9, nanos.rem_euclid(1_000_000_000));
    out
}

/// Days since 1970-01-01 as year, month and day of the Gregorian calendar (Howard Hinnant, "chrono-compatible low-level
/// date algorithms": years begin in March, so the leap day is the last).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The log file of a number.
pub(super) fn file(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence}.log"))
}

/// The numbers of the log files in a directory, in order.
pub(super) fn sequences(dir: &Path) -> std::io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        if let Some(number) = entry?.file_name().to_str().and_then(|n| n.strip_suffix(".log")?.parse().ok()) {
            found.push(number);
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::Time;

    #[test]
    fn an_entry_can_be_taken_apart() {
        let mut bytes = Vec::new();
        push_entry(&mut bytes, &format_time(1_475_713_029_669_794_202), Stream::Out, true, b"a text");
        assert_eq!(bytes, b"2016-10-06T00:17:09.669794202Z stdout F a text\n");
        let (time, whole, text) = parse_entry(&bytes[..bytes.len() - 1]).unwrap();
        assert_eq!((time, whole, text), (&bytes[..TIME], true, &b"a text"[..]));
        assert_eq!(parse_entry(b"short"), None);
    }

    #[test]
    fn times_agree_with_the_domain_over_leap_years() {
        for secs in [0, 951_782_399, 951_782_400, 1_709_251_199, 4_107_542_399, 4_107_542_400, 13_574_563_200] {
            let text = String::from_utf8(format_time(i128::from(secs) * 1_000_000_000).to_vec()).unwrap();
            assert_eq!(Time::parse(&text).unwrap(), Time::from_secs(secs), "{text}");
        }
    }
}

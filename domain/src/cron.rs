//! Cron lines: when something is to happen again and again, by the clocks of a time zone.
//!
//! Five fields: minute, hour, day of the month, month, day of the week; `*`, numbers, names of months and days, ranges
//! (`1-5`), steps (`*/15`, `8-18/2`) and lists of these; or `@hourly`, `@daily` (`@midnight`), `@weekly`, `@monthly` and
//! `@yearly` (`@annually`). Where both days are named, either is enough, as in every cron.
//!
//! When clocks are put forward, times that they skip do not come. When they are put back, the hour that comes twice counts
//! once, the first time, unless every hour is meant (`*`).
//! Source of the syntax: crontab(5); of the descriptors: Kubernetes, which takes them from `robfig/cron`.

use crate::Time;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan as _};
use std::fmt;

/// So many years on a line must have fired: the 29th of February may be eight years away.
const YEARS: i16 = 9;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Why a text is no cron line or time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// There are more or fewer than five fields.
    #[error("expected exactly 5 fields (minute hour day month weekday), found {0}")]
    Fields(usize),
    /// A field cannot be read.
    #[error("the {field} {part:?} is neither a number from {least} to {most}, nor a range, a step or a list of these")]
    Field {
        /// Which one.
        field: &'static str,
        /// What it says.
        part: String,
        /// The least that it can be.
        least: u8,
        /// The most that it can be.
        most: u8,
    },
    /// It begins with `@` and is none of the names that are known.
    #[error("unknown descriptor {0:?}: there are @hourly, @daily, @weekly, @monthly and @yearly")]
    Descriptor(String),
    /// It names a time zone.
    #[error("a time zone has no place in the line: give it in timeZone")]
    Zone,
    /// No day is meant by it.
    #[error("it never fires: no such day comes within {YEARS} years")]
    Never,
}

/// One field as a set of numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Field {
    set: u64,
    /// It begins with `*`: for days this means that the other kind of day decides alone.
    any: bool,
}

impl Field {
    fn has(self, number: i8) -> bool {
        number >= 0 && self.set >> number & 1 == 1
    }

    /// The least number from `least` on.
    fn next(self, least: i8) -> Option<i8> {
        let rest = self.set.checked_shr(u32::from(least.unsigned_abs())).filter(|rest| least >= 0 && *rest != 0)?;
        i8::try_from(rest.trailing_zeros()).ok().map(|more| least + more)
    }
}

/// A cron line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cron {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cron").finish_non_exhaustive()
    }
}

/// A time zone by its name in the IANA database; the database is part of the program, so that every machine agrees.
///
/// # Errors
/// A text that says what is wrong with the name.
pub fn time_zone(name: &str) -> Result<TimeZone, String> {
    if name.is_empty() {
        return Ok(TimeZone::UTC);
    }
    if name.eq_ignore_ascii_case("local") {
        return Err("must be an explicit time zone, such as Europe/Berlin".into());
    }
    TimeZoneDatabase::bundled()
        .get(name)
        .map_err(|_| "unknown time zone: give its name in the IANA database, such as Europe/Berlin or Etc/UTC".into())
}

impl Cron {
    /// Reads a line.
    ///
    /// # Errors
    /// When a field cannot be read, or the line never fires.
    pub fn parse(line: &str) -> Result<Self, CronError> {
        let line = line.trim();
        if line.starts_with("TZ=") || line.starts_with("CRON_TZ=") {
            return Err(CronError::Zone);
        }
        let line = match line.strip_prefix('@') {
            None => line,
            Some("hourly") => "0 * * * *",
            Some("daily" | "midnight") => "0 0 * * *",
            Some("weekly") => "0 0 * * 0",
            Some("monthly") => "0 0 1 * *",
            Some("yearly" | "annually") => "0 0 1 1 *",
            Some(_) => return Err(CronError::Descriptor(line.to_owned())),
        };
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else { return Err(CronError::Fields(fields.len())) };
        let mut cron = Cron {
            minute: field("minute", minute, (0, 59), &[])?,
            hour: field("hour", hour, (0, 23), &[])?,
            day: field("day of the month", day, (1, 31), &[])?,
            month: field("month", month, (1, 12), &MONTHS)?,
            weekday: field("day of the week", weekday, (0, 7), &DAYS)?,
        };
        // Sunday has two numbers.
        cron.weekday.set |= cron.weekday.set >> 7 & 1;
        // A cycle of 400 years begins like any other: what never comes from here on never comes.
        let begin = DateTime::constant(2001, 1, 1, 0, 0, 0, 0);
        cron.next_civil(begin).ok_or(CronError::Never)?;
        Ok(cron)
    }

    /// The first time after `after`; `None`: there is none that a clock could show.
    pub fn next(&self, after: Time, zone: &TimeZone) -> Option<Time> {
        let after = Timestamp::from_microsecond(after.micros()).ok()?;
        // Clocks are put back by three hours at most, so what may still come is not further back.
        let mut from = zone.to_datetime(after).checked_sub(3.hours()).ok()?;
        let mut best: Option<Timestamp> = None;
        while let Some(civil) = self.next_civil(from) {
            for instant in self.instants(civil, zone).into_iter().flatten().filter(|instant| *instant > after) {
                best = Some(best.map_or(instant, |best| best.min(instant)));
            }
            let passed = |best: Timestamp| {
                let shown = zone.to_datetime(best);
                shown.checked_add(3.hours()).is_ok_and(|end| civil > end)
            };
            // The first that is found is the best, unless clocks are put back around it.
            if let Some(best) = best
                && (passed(best) || !near_fold(best, zone))
            {
                break;
            }
            from = civil.checked_add(1.minute()).ok()?;
        }
        best.map(|best| Time::from_micros(best.as_microsecond()))
    }

    /// The last time until `now` that is after `after`, and whether there are more than `many` of them.
    pub fn last(&self, after: Time, now: Time, zone: &TimeZone, many: usize) -> Option<(Time, bool)> {
        const HOUR: i64 = 3600;
        // The nearest first: a line that fires every minute is not followed through years.
        for hours in [2, 50, 33 * 24, 400 * 24, i64::from(YEARS) * 366 * 24] {
            let begin = Time::from_micros(now.micros().saturating_sub(hours * HOUR * 1_000_000)).max(after);
            let mut last = None;
            let mut at = begin;
            while let Some(next) = self.next(at, zone).filter(|next| *next <= now) {
                last = Some(next);
                at = next;
            }
            if let Some(last) = last {
                let mut count = 0;
                let mut at = after;
                while count <= many
                    && let Some(next) = self.next(at, zone).filter(|next| *next <= now)
                {
                    count += 1;
                    at = next;
                }
                return Some((last, count > many));
            }
            if begin == after {
                return None;
            }
        }
        None
    }

    /// When a clock of the zone shows this.
    fn instants(&self, civil: DateTime, zone: &TimeZone) -> [Option<Timestamp>; 2] {
        let at = |offset: jiff::tz::Offset| offset.to_timestamp(civil).ok();
        match zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => [at(offset), None],
            AmbiguousOffset::Gap { .. } => [None, None],
            AmbiguousOffset::Fold { before, after } => [at(before), self.hour.any.then(|| at(after)).flatten()],
        }
    }

    fn is_day(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        let (by_day, by_weekday) = (self.day.has(date.day()), self.weekday.has(weekday));
        let either = !self.day.any && !self.weekday.any;
        self.month.has(date.month()) && if either { by_day || by_weekday } else { by_day && by_weekday }
    }

    /// The first that a calendar and a clock can show from here on.
    fn next_civil(&self, from: DateTime) -> Option<DateTime> {
        let from = match (from.second(), from.subsec_nanosecond()) {
            (0, 0) => from,
            _ => from.checked_add(1.minute()).ok()?.with().second(0).subsec_nanosecond(0).build().ok()?,
        };
        let mut date = from.date();
        let (mut hour, mut minute) = (from.hour(), from.minute());
        let end = date.year().saturating_add(YEARS);
        while date.year() <= end {
            if self.is_day(date) {
                while let Some(at) = self.hour.next(hour) {
                    if at > hour {
                        minute = 0;
                    }
                    if let Some(minute) = self.minute.next(minute) {
                        return Some(date.at(at, minute, 0, 0));
                    }
                    (hour, minute) = (at + 1, 0);
                }
            }
            date = if self.month.has(date.month()) { date.tomorrow().ok()? } else { first_of_next_month(date)? };
            (hour, minute) = (0, 0);
        }
        None
    }
}

fn first_of_next_month(date: Date) -> Option<Date> {
    date.first_of_month().checked_add(1.month()).ok()
}

/// Whether clocks are put back within a few hours of this.
fn near_fold(instant: Timestamp, zone: &TimeZone) -> bool {
    let offset = |hours: i64| instant.checked_add(hours.hours()).map(|t| zone.to_offset(t));
    match (offset(-4), offset(4)) {
        (Ok(before), Ok(after)) => before != after,
        _ => false,
    }
}

/// A field: a list of `*`, numbers, names and ranges, each with a step or without.
fn field(name: &'static str, text: &str, (least, most): (u8, u8), names: &[&str]) -> Result<Field, CronError> {
    let mut all = Field { set: 0, any: false };
    for part in text.split(',') {
        let wrong = || CronError::Field { field: name, part: part.to_owned(), least, most };
        let number = |text: &str| {
            let by_name = names.iter().position(|n| n.eq_ignore_ascii_case(text)).and_then(|at| u8::try_from(at).ok());
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = digits.then(|| text.parse::<u8>().ok()).flatten();
            // Months are counted from one, days of the week from nought.
            number.or(by_name.map(|at| at + u8::from(names.len() == MONTHS.len())))
        };
        let (range, step) = match part.split_once('/') {
            None => (part, None),
            Some((range, step)) => {
                let step = number(step).filter(|step| *step > 0).ok_or_else(wrong)?;
                (range, Some(step))
            }
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" || range == "?" => {
                all.any = true;
                (least, if name == "day of the week" { 6 } else { most })
            }
            Some((first, last)) => number(first).zip(number(last)).ok_or_else(wrong)?,
            None => {
                let first = number(range).ok_or_else(wrong)?;
                // A step from a number on goes to the end.
                (first, if step.is_some() { most } else { first })
            }
        };
        if first < least || last > most || first > last {
            return Err(wrong());
        }
        for value in (first..=last).step_by(usize::from(step.unwrap_or(1))) {
            all.set |= 1 << value;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Time {
        Time::parse(text).expect("a time")
    }

    /// The next times of a line.
    fn next(line: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let (cron, zone) = (Cron::parse(line).expect("a line"), time_zone(zone).expect("a zone"));
        let mut at = time(after);
        (0..count)
            .map(|_| {
                at = cron.next(at, &zone).expect("it fires");
                at.to_string()
            })
            .collect()
    }

    #[test]
    fn lines_are_read_as_every_cron_reads_them() {
        for (line, after, wanted) in [
            ("* * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"),
            ("5 4 * * *", "2026-01-01T04:05:00Z", "2026-01-02T04:05:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 1 1 *", "2026-06-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("0 9-17/4 * * MON-fri", "2026-01-02T17:00:00Z", "2026-01-05T09:00:00Z"),
            ("30 8 * feb,MAR *", "2026-01-01T00:00:00Z", "2026-02-01T08:30:00Z"),
            ("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            // Either day is enough where both are named; where one is not, the other decides.
            ("0 0 13 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 0 13 * *", "2026-01-01T00:00:00Z", "2026-01-13T00:00:00Z"),
            ("50/5 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:50:00Z"),
            ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
            ("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@monthly", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
            ("@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(next(line, "", after, 1), [wanted], "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, wanted) in [
            ("", "expected exactly 5 fields (minute hour day month weekday), found 0"),
            ("* * * *", "expected exactly 5 fields (minute hour day month weekday), found 4"),
            (
                "60 * * * *",
                "the minute \"60\" is neither a number from 0 to 59, nor a range, a step or a list of these",
            ),
            (
                "* 5-3 * * *",
                "the hour \"5-3\" is neither a number from 0 to 23, nor a range, a step or a list of these",
            ),
            ("* * 0 * *", "the day of the month \"0\" is neither a number from 1 to 31"),
            ("* * * foo *", "the month \"foo\" is neither"),
            ("* * * * 8", "the day of the week \"8\" is neither"),
            ("*/0 * * * *", "the minute \"*/0\" is neither"),
            ("1,,2 * * * *", "the minute \"\" is neither"),
            ("+1 * * * *", "the minute \"+1\" is neither"),
            ("0 0 30 2 *", "it never fires: no such day comes within 9 years"),
            ("0 0 31 4,6,9,11 *", "it never fires"),
            ("@often", "unknown descriptor \"@often\": there are @hourly, @daily, @weekly, @monthly and @yearly"),
            ("TZ=UTC * * * * *", "a time zone has no place in the line: give it in timeZone"),
        ] {
            let error = Cron::parse(line).expect_err(line).to_string();
            assert!(error.starts_with(wanted), "{line:?}: {error}");
        }
        assert!(time_zone("Europe/Atlantis").is_err_and(|e| e.contains("unknown time zone")));
        assert!(time_zone("Local").is_err());
    }

    #[test]
    fn clocks_that_are_put_forward_skip_what_does_not_exist() {
        // In Berlin there was no 02:30 on the 29th of March 2026.
        let berlin = "Europe/Berlin";
        assert_eq!(
            next("30 2 * * *", berlin, "2026-03-27T12:00:00Z", 2),
            ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            next("0 * * * *", berlin, "2026-03-29T00:00:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]
        );
    }

    #[test]
    fn clocks_that_are_put_back_repeat_only_what_comes_every_hour() {
        // In Berlin 02:30 came twice on the 25th of October 2026.
        let berlin = "Europe/Berlin";
        assert_eq!(
            next("30 2 * * *", berlin, "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        assert_eq!(
            next("30 * * * *", berlin, "2026-10-24T23:00:00Z", 4),
            ["2026-10-24T23:30:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"]
        );
        assert_eq!(
            next("0 2,3 * * *", berlin, "2026-10-24T12:00:00Z", 3),
            ["2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", "2026-10-26T01:00:00Z"]
        );
    }

    #[test]
    fn every_time_is_after_the_one_before_and_is_one_of_the_line() {
        for zone in ["", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo"] {
            for line in ["*/7 * * * *", "0 */5 * * *", "59 23 31 * *", "15,45 1-3 * * 0"] {
                let (cron, tz) = (Cron::parse(line).expect("a line"), time_zone(zone).expect("a zone"));
                let mut at = time("2026-01-01T00:00:00Z");
                for _ in 0..2000 {
                    let next = cron.next(at, &tz).expect("it fires");
                    assert!(next > at, "{line} {zone}: {next} after {at}");
                    let shown = tz.to_datetime(Timestamp::from_microsecond(next.micros()).expect("a time"));
                    let fits =
                        cron.minute.has(shown.minute()) && cron.hour.has(shown.hour()) && cron.is_day(shown.date());
                    assert!(fits && shown.second() == 0, "{line} {zone}: {shown}");
                    at = next;
                }
            }
        }
    }

    #[test]
    fn the_last_of_many_is_found_without_following_all() {
        let cron = Cron::parse("* * * * *").expect("a line");
        let (after, now) = (time("2020-01-01T00:00:00Z"), time("2026-01-01T00:00:20Z"));
        let last = cron.last(after, now, &TimeZone::UTC, 100);
        assert_eq!(last, Some((time("2026-01-01T00:00:00Z"), true)));
        let near = time("2025-12-31T23:57:00Z");
        assert_eq!(cron.last(near, now, &TimeZone::UTC, 100), Some((time("2026-01-01T00:00:00Z"), false)));
        let yearly = Cron::parse("@yearly").expect("a line");
        let told = yearly.last(after, time("2025-12-31T00:00:00Z"), &TimeZone::UTC, 4);
        assert_eq!(told, Some((time("2025-01-01T00:00:00Z"), true)));
        assert_eq!(yearly.last(time("2025-01-01T00:00:00Z"), time("2025-12-31T00:00:00Z"), &TimeZone::UTC, 4), None);
    }
}

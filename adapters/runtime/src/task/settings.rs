//! What the annotations of a pod say about its function, and which registered name is like one that is not.

use std::time::Duration;
use steersman_domain::ports::RuntimeError;
use steersman_domain::{Map, Str};

/// The annotation of a pod that says after how many seconds without progress its function counts as hung.
pub const HANG_AFTER: &str = "steersman.io/hang-after";
/// The annotation of a pod that says how many messages its mailbox holds.
pub const MAILBOX: &str = "steersman.io/mailbox";
/// Messages that a mailbox holds unless the pod says otherwise.
const ROOM: usize = 1024;
/// The most that it can be told to hold.
const MOST_ROOM: usize = 1 << 20;

/// The number of an annotation.
fn number(annotations: &Map<Str>, key: &str, most: usize) -> Result<Option<usize>, RuntimeError> {
    let Some(text) = annotations.get(key) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.map(Some).ok_or_else(|| {
        RuntimeError::Refused(format!("the annotation {key} is {text:?}: it must be a whole number from 1 to {most}"))
    })
}

pub(super) fn hang_after(annotations: &Map<Str>) -> Result<Option<Duration>, RuntimeError> {
    let secs = number(annotations, HANG_AFTER, 1 << 20)?;
    Ok(secs.map(|secs| Duration::from_secs(u64::try_from(secs).unwrap_or(u64::MAX))))
}

pub(super) fn room(annotations: &Map<Str>) -> Result<usize, RuntimeError> {
    Ok(number(annotations, MAILBOX, MOST_ROOM)?.unwrap_or(ROOM))
}

/// How many letters must be put in, left out or changed to make one text the other (Levenshtein's distance).
pub(super) fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let changed = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(before + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

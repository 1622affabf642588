//! What is printed: text to standard output, colours for statuses, ages and times as people read them.

use anyhow::Context as _;
use serde_json::Value;
use std::io::{IsTerminal as _, Write as _};

/// A colour that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// As it should be.
    Green,
    /// On its way.
    Yellow,
    /// Failing.
    Red,
}

impl Colour {
    /// The text in this colour.
    pub(crate) fn paint(self, text: &str) -> String {
        let code = match self {
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Red => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Whether to colour: on a terminal, when `NO_COLOR` is unset or empty.
pub(crate) fn coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints text and a line end, at once.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn say(text: impl AsRef<str>) -> anyhow::Result<()> {
    print(&format!("{}\n", text.as_ref()))
}

/// Prints text as it is, at once.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints a line to standard error for a person who may be reading; without one it is lost, which changes nothing.
pub(crate) fn note(text: impl AsRef<str>) {
    let mut line = text.as_ref().to_owned();
    line.push('\n');
    // A terminal that was closed, a pipe without a reader.
    let _lost = std::io::stderr().write_all(line.as_bytes());
}

/// The colour of a state as the column of that name shows it.
pub(crate) fn state_colour(column: &str, cell: &str) -> Option<Colour> {
    let any = |words: &[&str]| words.iter().any(|word| cell.contains(word));
    match column.to_ascii_uppercase().as_str() {
        "STATUS" | "PHASE" | "REASON" => {
            if any(&["NotReady", "Error", "Err", "BackOff", "Fail", "Evicted", "OOM", "OutOf", "Invalid", "Lost"]) {
                Some(Colour::Red)
            } else if any(&["Pending", "Creating", "Initializing", "Init:", "Terminating", "Unknown", "Disabled"]) {
                Some(Colour::Yellow)
            } else if any(&["Running", "Ready", "Active", "Bound", "Completed", "Succeeded"]) {
                Some(Colour::Green)
            } else {
                None
            }
        }
        "READY" => {
            let (ready, wanted) = cell.split_once('/')?;
            Some(if ready == wanted { Colour::Green } else { Colour::Yellow })
        }
        "TYPE" if cell == "Warning" => Some(Colour::Yellow),
        _ => None,
    }
}

/// Lines of cells in columns, each as wide as its widest cell and three blanks, as kubectl lays tables out.
pub(crate) fn columns(lines: &[Vec<String>], colour: bool) -> String {
    columns_at_least(lines, &[], colour)
}

/// As [`columns`], with columns at least so wide; the first line is the head when there is one.
pub(crate) fn columns_at_least(lines: &[Vec<String>], least: &[usize], colour: bool) -> String {
    let widths = widths(lines, least);
    let head = lines.first();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let mut out = String::new();
        for (at, cell) in line.iter().enumerate() {
            let title = head.and_then(|head| head.get(at)).map_or("", String::as_str);
            let paint = if colour && number > 0 { state_colour(title, cell) } else { None };
            out.push_str(&paint.map_or_else(|| cell.clone(), |paint| paint.paint(cell)));
            if at + 1 < line.len() {
                let width = widths.get(at).copied().unwrap_or(0);
                out.push_str(&" ".repeat(width.saturating_sub(cell.chars().count())));
            }
        }
        text.push_str(out.trim_end_matches(' '));
        text.push('\n');
    }
    text
}

/// How wide each column is, the blanks included.
pub(crate) fn widths(lines: &[Vec<String>], least: &[usize]) -> Vec<usize> {
    let mut widths: Vec<usize> = least.to_vec();
    for line in lines {
        for (at, cell) in line.iter().enumerate() {
            let width = (cell.chars().count() + 3).max(6);
            match widths.get_mut(at) {
                Some(have) => *have = width.max(*have),
                None => widths.push(width),
            }
        }
    }
    widths
}

/// An object as YAML, lists as kubectl indents them.
///
/// # Errors
/// When it cannot be written, which no JSON causes.
pub(crate) fn yaml(value: &Value) -> anyhow::Result<String> {
    let options = serde_saphyr::ser_options! { compact_list_indent: true, empty_as_braces: true };
    serde_saphyr::to_string_with_options(value, options).context("the object cannot be written as YAML")
}

/// A span of time as kubectl shortens it: `45s`, `3m20s`, `17h`, `3d4h`, `2y10d`.
pub(crate) fn duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |big: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{small_unit}") }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

/// How long ago a time as objects write it was; `<unknown>` for none.
pub(crate) fn age(time: &Value, now: i64) -> String {
    let time = time.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    time.map_or_else(|| "<unknown>".to_owned(), |time| duration(now - time.as_second()))
}

/// Now, in seconds since 1970.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_shortened_as_kubectl_does() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (600, "10m"),
            (10_900, "3h1m"),
            (61_200, "17h"),
            (273_600, "3d4h"),
            (800_000, "9d"),
            (63_936_000, "2y10d"),
            (300_000_000, "9y"),
            (-5, "<invalid>"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(age(&Value::from("1970-01-01T00:00:10Z"), 15), "5s");
        assert_eq!(age(&Value::Null, 15), "<unknown>");
    }

    #[test]
    fn columns_are_aligned_whatever_is_coloured() {
        let line = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let lines = [line(&["NAME", "STATUS", "AGE"]), line(&["a", "Running", "1s"]), line(&["bcdefgh", "", "2s"])];
        let plain = "NAME      STATUS    AGE\na         Running   1s\nbcdefgh             2s\n";
        assert_eq!(columns(&lines, false), plain);
        let coloured = columns(&lines, true);
        assert!(coloured.contains("a         \x1b[32mRunning\x1b[0m   1s"), "{coloured:?}");
        assert_eq!(coloured.replace("\x1b[32m", "").replace("\x1b[0m", ""), plain);
    }

    #[test]
    fn states_have_colours() {
        assert_eq!(state_colour("STATUS", "Ready"), Some(Colour::Green));
        assert_eq!(state_colour("Status", "NotReady"), Some(Colour::Red));
        assert_eq!(state_colour("STATUS", "Ready,SchedulingDisabled"), Some(Colour::Yellow));
        assert_eq!(state_colour("STATUS", "CrashLoopBackOff"), Some(Colour::Red));
        assert_eq!(state_colour("STATUS", "Init:0/2"), Some(Colour::Yellow));
        assert_eq!(state_colour("READY", "1/3"), Some(Colour::Yellow));
        assert_eq!(state_colour("READY", "3/3"), Some(Colour::Green));
        assert_eq!(state_colour("NAME", "Running"), None);
    }

    #[test]
    fn yaml_is_what_kubectl_writes() {
        let value = serde_json::json!({"a": [{"b": 1}], "c": {}, "d": [], "e": "yes", "f": "1"});
        let text = yaml(&value).expect("writable");
        assert!(text.starts_with("a:\n- b: 1\nc: {}\nd: []\n"), "{text}");
        let back: Value = serde_saphyr::from_str(&text).expect("readable");
        assert_eq!(back, value);
    }
}

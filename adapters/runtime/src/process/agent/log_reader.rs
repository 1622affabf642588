//! Reads log files: forwards from a point, in order over all files of one start of a container.

use crate::process::log_format::{self, TIME};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// How lines are shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Show {
    pub(super) tail: Option<u64>,
    /// In the form of entries, which sorts as time does.
    pub(super) since: Option<[u8; TIME]>,
    pub(super) timestamps: bool,
    pub(super) limit_bytes: Option<u64>,
}

/// What one step of reading gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// May be empty, when what was read is not to be shown.
    Text(Vec<u8>),
    /// All that is there has been read.
    CaughtUp,
    /// The limit of bytes is reached.
    Full,
}

#[derive(Debug)]
pub(super) struct LogReader {
    dir: PathBuf,
    sequence: u64,
    file: Option<File>,
    /// An entry that is not whole yet.
    rest: Vec<u8>,
    show: Show,
    left: Option<u64>,
    /// The next entry begins a line.
    fresh: bool,
}

impl LogReader {
    /// Begins where the query says: at the oldest file, or at the first of the last lines.
    pub(super) fn open(dir: &Path, show: Show) -> io::Result<Self> {
        let sequences = log_format::sequences(dir)?;
        let first = sequences.first().copied().unwrap_or(0);
        let left = show.limit_bytes;
        let mut reader =
            LogReader { dir: dir.to_owned(), sequence: first, file: None, rest: Vec::new(), show, left, fresh: true };
        match reader.show.tail {
            None => reader.file = reader.open_file(first)?,
            Some(lines) => {
                let (sequence, offset) = find_tail(dir, &sequences, lines)?;
                reader.sequence = sequence;
                reader.file = reader.open_file(sequence)?;
                if let Some(file) = &mut reader.file {
                    file.seek(SeekFrom::Start(offset))?;
                }
            }
        }
        Ok(reader)
    }

    fn open_file(&self, sequence: u64) -> io::Result<Option<File>> {
        match File::open(log_format::file(&self.dir, sequence)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads on.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        loop {
            if self.left == Some(0) {
                return Ok(Step::Full);
            }
            let mut shown = Vec::new();
            if self.read_chunk()? == 0 {
                // The writer begins a new file only after the last byte of the old one, so one more look is final.
                let Some(next) = self.next_sequence()? else { return Ok(Step::CaughtUp) };
                if self.read_chunk()? == 0 {
                    (self.sequence, self.file) = (next, self.open_file(next)?);
                    continue;
                }
            }
            self.take_entries(&mut shown);
            return Ok(Step::Text(shown));
        }
    }

    fn read_chunk(&mut self) -> io::Result<usize> {
        let Some(file) = &mut self.file else { return Ok(0) };
        let have = self.rest.len();
        self.rest.resize(have + CHUNK, 0);
        let read = file.read(&mut self.rest[have..]);
        self.rest.truncate(have + read.as_ref().map_or(0, |n| *n));
        read
    }

    fn next_sequence(&self) -> io::Result<Option<u64>> {
        Ok(log_format::sequences(&self.dir)?.into_iter().find(|s| *s > self.sequence || self.file.is_none()))
    }

    fn take_entries(&mut self, shown: &mut Vec<u8>) {
        let rest = std::mem::take(&mut self.rest);
        let whole = rest.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        for line in rest[..whole].split_inclusive(|b| *b == b'\n') {
            let Some((time, ends, text)) = log_format::parse_entry(&line[..line.len() - 1]) else { continue };
            if self.show.since.as_ref().is_some_and(|since| time < &since[..]) {
                continue;
            }
            if self.show.timestamps && self.fresh {
                shown.extend_from_slice(time);
                shown.push(b' ');
            }
            shown.extend_from_slice(text);
            if ends {
                shown.push(b'\n');
            }
            self.fresh = ends;
        }
        self.rest = rest[whole..].to_vec();
        if let Some(left) = &mut self.left {
            shown.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= shown.len() as u64;
        }
    }
}

/// Finds where the last lines begin, reading blocks from the end: the file and the offset in it.
fn find_tail(dir: &Path, sequences: &[u64], lines: u64) -> io::Result<(u64, u64)> {
    let last = sequences.last().copied().unwrap_or(0);
    let mut counter = TailCounter { wanted: lines, seen: 0, later_text: false };
    for sequence in sequences.iter().rev() {
        let Ok(file) = File::open(log_format::file(dir, *sequence)) else { continue };
        let length = file.metadata()?.len();
        if lines == 0 {
            return Ok((*sequence, length));
        }
        if let Some(offset) = counter.scan(&file, length)? {
            return Ok((*sequence, offset));
        }
    }
    Ok((sequences.first().copied().unwrap_or(last), 0))
}

/// Counts lines backwards: a line ends at an entry with the tag for a whole one; what follows the last such entry is a
/// line too.
struct TailCounter {
    wanted: u64,
    seen: u64,
    /// Something was found after the entry that is looked at next.
    later_text: bool,
}

impl TailCounter {
    /// Looks through one file; `Some(offset)` when the lines begin in it.
    fn scan(&mut self, file: &File, length: u64) -> io::Result<Option<u64>> {
        // Bytes from `start` on; entries are taken off the end.
        let mut buffer: Vec<u8> = Vec::new();
        let mut start = length;
        loop {
            // An entry is surely whole when the newline before it is in the buffer, or when the file begins with it.
            while let Some(end) = buffer.iter().rposition(|b| *b == b'\n') {
                let before = buffer[..end].iter().rposition(|b| *b == b'\n');
                let begin = match before {
                    Some(at) => at + 1,
                    None if start == 0 => 0,
                    None => break,
                };
                if self.entry(&buffer[begin..end]) {
                    return Ok(Some(start + end as u64 + 1));
                }
                buffer.truncate(begin);
            }
            if start == 0 {
                return Ok(None);
            }
            let size = start.min(CHUNK as u64);
            start -= size;
            let mut block = vec![0; usize::try_from(size).unwrap_or(CHUNK)];
            file.read_exact_at(&mut block, start)?;
            block.extend_from_slice(&buffer);
            buffer = block;
        }
    }

    /// Takes the entry before all that were seen; true when what follows it is all that is wanted.
    fn entry(&mut self, line: &[u8]) -> bool {
        let ends = log_format::parse_entry(line).is_some_and(|(_, ends, _)| ends);
        if ends && self.later_text {
            self.seen += 1;
            if self.seen == self.wanted {
                return true;
            }
        }
        self.later_text = true;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::log_format::Stream;

    fn write(dir: &Path, sequence: u64, entries: &[(i64, bool, &str)]) {
        let mut bytes = Vec::new();
        for (secs, whole, text) in entries {
            let time = log_format::format_time(i128::from(*secs) * 1_000_000_000);
            log_format::push_entry(&mut bytes, &time, Stream::Out, *whole, text.as_bytes());
        }
        std::fs::write(log_format::file(dir, sequence), bytes).unwrap();
    }

    fn all(dir: &Path, show: Show) -> String {
        let mut reader = LogReader::open(dir, show).unwrap();
        let mut text = Vec::new();
        while let Step::Text(more) = reader.step().unwrap() {
            text.extend(more);
        }
        String::from_utf8(text).unwrap()
    }

    fn sample() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 3, &[(1, true, "one"), (2, true, "two")]);
        write(dir.path(), 4, &[(3, false, "thr"), (4, true, "ee"), (5, true, "four"), (6, false, "fi")]);
        dir
    }

    #[test]
    fn files_are_read_in_order_and_lines_made_whole() {
        assert_eq!(all(sample().path(), Show::default()), "one\ntwo\nthree\nfour\nfi");
    }

    #[test]
    fn the_tail_counts_lines_over_files() {
        let dir = sample();
        let tail = |n| all(dir.path(), Show { tail: Some(n), ..Show::default() });
        let shown: Vec<_> = (0..7).map(tail).collect();
        let expected = [
            "",
            "fi",
            "four\nfi",
            "three\nfour\nfi",
            "two\nthree\nfour\nfi",
            "one\ntwo\nthree\nfour\nfi",
            "one\ntwo\nthree\nfour\nfi",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_tail_of_a_large_file_begins_at_the_right_line() {
        let dir = tempfile::tempdir().unwrap();
        let texts: Vec<String> = (0..9000).map(|n| format!("{n}{}", "x".repeat(n % 97))).collect();
        let entries: Vec<_> = texts.iter().map(|text| (1, true, text.as_str())).collect();
        write(dir.path(), 0, &entries);
        for tail in [1, 700, 8999] {
            let got = all(dir.path(), Show { tail: Some(tail as u64), ..Show::default() });
            let expected: String = texts[9000 - tail..].iter().map(|text| format!("{text}\n")).collect();
            assert!(got == expected, "tail {tail}");
        }
    }

    #[test]
    fn since_timestamps_and_limits_are_honoured() {
        let dir = sample();
        let since = Some(log_format::format_time(5_000_000_000));
        assert_eq!(all(dir.path(), Show { since, ..Show::default() }), "four\nfi");
        let shown = all(dir.path(), Show { timestamps: true, tail: Some(3), ..Show::default() });
        assert_eq!(
            shown,
            "1970-01-01T00:00:03.000000000Z three\n1970-01-01T00:00:05.000000000Z four\n1970-01-01T00:00:06.000000000Z fi"
        );
        assert_eq!(all(dir.path(), Show { limit_bytes: Some(6), ..Show::default() }), "one\ntw");
    }

    #[test]
    fn a_reader_that_waits_goes_on_into_the_next_file() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 0, &[(1, true, "one")]);
        let mut reader = LogReader::open(dir.path(), Show::default()).unwrap();
        assert_eq!(reader.step().unwrap(), Step::Text(b"one\n".to_vec()));
        assert_eq!(reader.step().unwrap(), Step::CaughtUp);
        write(dir.path(), 1, &[(2, true, "two")]);
        std::fs::remove_file(log_format::file(dir.path(), 0)).unwrap();
        assert_eq!(reader.step().unwrap(), Step::Text(b"two\n".to_vec()));
        assert_eq!(reader.step().unwrap(), Step::CaughtUp);
    }
}

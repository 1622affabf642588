//! Writes the output of a container to its log files, and turns them over when they are full.

use crate::process::log_format::{self, MAX_ENTRY, Stream};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The log of one start of a container.
#[derive(Debug)]
pub(super) struct LogWriter {
    dir: PathBuf,
    file: File,
    sequence: u64,
    size: u64,
    max_bytes: u64,
    max_files: u32,
    /// The beginning of a line whose end has not come yet, for each stream.
    unfinished: [Vec<u8>; 2],
}

impl LogWriter {
    /// Begins the log in a directory that exists.
    pub(super) fn create(dir: &Path, max_bytes: u64, max_files: u32) -> io::Result<Self> {
        Ok(LogWriter {
            file: open(dir, 0)?,
            dir: dir.to_owned(),
            sequence: 0,
            size: 0,
            max_bytes,
            max_files: max_files.max(1),
            unfinished: [Vec::new(), Vec::new()],
        })
    }

    /// Takes output as it comes.
    pub(super) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let time = now();
        let mut rest = std::mem::take(&mut self.unfinished[stream as usize]);
        rest.extend_from_slice(bytes);
        let mut entries = Vec::with_capacity(rest.len() + 256);
        let mut start = 0;
        while let Some(length) = rest[start..].iter().position(|b| *b == b'\n') {
            let line = &rest[start..start + length];
            start += length + 1;
            let mut pieces = line.chunks(MAX_ENTRY).peekable();
            if pieces.peek().is_none() {
                log_format::push_entry(&mut entries, &time, stream, true, b"");
            }
            while let Some(piece) = pieces.next() {
                log_format::push_entry(&mut entries, &time, stream, pieces.peek().is_none(), piece);
            }
            self.turn_over(&mut entries);
        }
        while rest.len() - start >= MAX_ENTRY {
            log_format::push_entry(&mut entries, &time, stream, false, &rest[start..start + MAX_ENTRY]);
            start += MAX_ENTRY;
            self.turn_over(&mut entries);
        }
        rest.drain(..start);
        self.unfinished[stream as usize] = rest;
        self.flush(&mut entries);
    }

    /// Writes what had no newline at its end.
    pub(super) fn finish(&mut self) {
        let time = now();
        let mut entries = Vec::new();
        for stream in [Stream::Out, Stream::Err] {
            let rest = std::mem::take(&mut self.unfinished[stream as usize]);
            if !rest.is_empty() {
                log_format::push_entry(&mut entries, &time, stream, false, &rest);
            }
        }
        self.flush(&mut entries);
    }

    /// Begins the next file when what is written and what waits fill the present one.
    fn turn_over(&mut self, entries: &mut Vec<u8>) {
        if self.size + entries.len() as u64 <= self.max_bytes {
            return;
        }
        self.flush(entries);
        let next = self.sequence + 1;
        // Without a new file the old one goes on growing, which is better than losing output.
        if let Ok(file) = open(&self.dir, next) {
            (self.file, self.sequence, self.size) = (file, next, 0);
            if let Some(old) = next.checked_sub(u64::from(self.max_files)) {
                let _gone = fs::remove_file(log_format::file(&self.dir, old));
            }
        }
    }

    fn flush(&mut self, entries: &mut Vec<u8>) {
        // A full disk loses output; stopping the container for it would be worse.
        if !entries.is_empty() && self.file.write_all(entries).is_ok() {
            self.size += entries.len() as u64;
        }
        entries.clear();
    }
}

fn open(dir: &Path, sequence: u64) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(log_format::file(dir, sequence))
}

fn now() -> [u8; log_format::TIME] {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    log_format::format_time(i128::try_from(since.as_nanos()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(dir: &Path) -> Vec<(bool, String)> {
        let mut found = Vec::new();
        for sequence in log_format::sequences(dir).unwrap() {
            for line in fs::read(log_format::file(dir, sequence)).unwrap().split(|b| *b == b'\n') {
                if let Some((_, whole, text)) = log_format::parse_entry(line) {
                    found.push((whole, String::from_utf8(text.to_vec()).unwrap()));
                }
            }
        }
        found
    }

    #[test]
    fn lines_are_kept_whole_however_they_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::create(dir.path(), 1 << 20, 5).unwrap();
        log.write(Stream::Out, b"one\n\ntw");
        log.write(Stream::Err, b"err\n");
        log.write(Stream::Out, b"o\nthr");
        log.finish();
        let all = texts(dir.path());
        let shown: Vec<_> = all.iter().map(|(w, t)| (*w, t.as_str())).collect();
        assert_eq!(shown, [(true, "one"), (true, ""), (true, "err"), (true, "two"), (false, "thr")]);
    }

    #[test]
    fn long_lines_are_cut_into_partial_entries() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::create(dir.path(), 1 << 20, 5).unwrap();
        log.write(Stream::Out, &vec![b'x'; MAX_ENTRY + 10]);
        log.write(Stream::Out, b"y\n");
        log.write(Stream::Out, &[vec![b'z'; MAX_ENTRY], b"\n".to_vec()].concat());
        let lengths: Vec<_> = texts(dir.path()).into_iter().map(|(whole, text)| (whole, text.len())).collect();
        assert_eq!(lengths, [(false, MAX_ENTRY), (true, 11), (true, MAX_ENTRY)]);
    }

    #[test]
    fn output_without_an_end_of_line_turns_over_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::create(dir.path(), 2 * MAX_ENTRY as u64, 3).unwrap();
        for _ in 0..20 {
            log.write(Stream::Out, &vec![b'x'; MAX_ENTRY]);
        }
        assert_eq!(log_format::sequences(dir.path()).unwrap().len(), 3);
        let sizes: u64 = fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
        assert!(sizes < 12 * MAX_ENTRY as u64, "{sizes}");
    }

    #[test]
    fn full_files_turn_over_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::create(dir.path(), 200, 3).unwrap();
        for number in 0..40 {
            log.write(Stream::Out, format!("line {number}\n").as_bytes());
        }
        assert_eq!(log_format::sequences(dir.path()).unwrap().len(), 3);
        let texts = texts(dir.path());
        assert_eq!(texts.last().unwrap().1, "line 39");
        assert!(texts.len() >= 6 && texts.len() <= 15, "{}", texts.len());
    }
}

//! The journal of a store in memory: one line of JSON for each transaction that applied, written before it is answered, and
//! a snapshot of all objects as its first lines once it has grown long. It outlives the process, not a loss of power: lines
//! are written to the operating system and not synced.

use super::state::State;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use steersman_domain::ports::{Committed, Op, StoreError, Txn};
use steersman_domain::{Key, Kind, Object, Revision, Stored, Time};

/// A journal is written anew as a snapshot when it is longer than this and than four times its last snapshot, in bytes.
const LONG: u64 = 16 << 20;

/// The version of the format, in the first line.
const FORMAT: u32 = 1;

/// Why a journal cannot be used. The file is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read or written.
    #[error("the journal {path} cannot be read or written: {source}")]
    Io {
        /// The journal.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line before the last is none of a journal.
    #[error(
        "the journal {path} is damaged at line {line}: {what}; restore a copy, or move it away to begin with an empty cluster"
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// It was written by another version.
    #[error(
        "the journal {path} has format {found}, and this version reads {FORMAT}: use the version that wrote it, or a newer one"
    )]
    Format {
        /// The journal.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// The first line.
#[derive(Deserialize)]
struct Header {
    format: u32,
    revision: u64,
    term: u64,
    /// Microseconds since the Unix epoch.
    time: i64,
    /// How many lines with one object each follow.
    objects: usize,
}

/// An object of the snapshot, or one op of a transaction (`object` absent: removed).
#[derive(Deserialize)]
struct Entry {
    kind: String,
    namespace: String,
    name: String,
    object: Option<Box<RawValue>>,
}

/// A transaction, or a new term.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    revision: u64,
    #[serde(default)]
    time: i64,
    #[serde(default)]
    ops: Vec<Entry>,
    term: Option<u64>,
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Lines of the group at hand.
    buffer: Vec<u8>,
    /// Bytes in the file, and in its last snapshot.
    length: u64,
    snapshot: u64,
    /// Why the file can no longer be written. What was answered is in it; nothing more is taken.
    broken: Option<String>,
}

impl Journal {
    /// Opens or makes the file and answers the state that it tells. A last line that was cut off, by a crash in the middle
    /// of a write that was never answered, is dropped.
    pub(super) fn open(path: &Path) -> Result<(Self, State), JournalError> {
        let io_error = |source| JournalError::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(path).map_err(io_error)?;
        let mut reader = Reader { path, lines: BufReader::new(&file), number: 0, whole: 0 };
        let state = reader.state()?;
        let whole = reader.whole;
        file.set_len(whole).map_err(io_error)?;
        let mut journal =
            Journal { path: path.to_owned(), file, buffer: Vec::new(), length: whole, snapshot: 0, broken: None };
        journal.rewrite(&state).map_err(io_error)?;
        Ok((journal, state))
    }

    /// Whether writes can be taken.
    pub(super) fn usable(&self) -> Result<(), StoreError> {
        match &self.broken {
            None => Ok(()),
            Some(why) => Err(StoreError::Unavailable(format!(
                "the journal {} could not be written ({why}): nothing more is changed until a restart; make room and restart",
                self.path.display()
            ))),
        }
    }

    /// Puts a transaction into the group at hand.
    pub(super) fn note(&mut self, committed: &Committed, time: Time) {
        let Some(first) = committed.results.first() else { return };
        let head = format!("{{\"revision\":{},\"time\":{},\"ops\":[", first.revision, time.micros());
        self.buffer.extend_from_slice(head.as_bytes());
        for (n, stored) in committed.results.iter().enumerate() {
            if n > 0 {
                self.buffer.push(b',');
            }
            entry(&mut self.buffer, stored, committed.removed.get(n).copied().unwrap_or(false));
        }
        self.buffer.extend_from_slice(b"]}\n");
    }

    /// Writes the group at hand, whole or not at all. A file that cannot be brought back to what it was takes nothing more.
    pub(super) fn write(&mut self) -> Result<(), StoreError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.buffer);
        let length = self.buffer.len() as u64;
        self.buffer.clear();
        let Err(error) = written else {
            self.length += length;
            return Ok(());
        };
        if let Err(worse) = self.file.set_len(self.length) {
            self.broken = Some(format!("{error}, then {worse}"));
            self.usable()?;
        }
        Err(StoreError::Unavailable(format!(
            "the journal {} could not be written ({error}): nothing was changed; make room and try again",
            self.path.display()
        )))
    }

    /// Writes a new term.
    pub(super) fn note_term(&mut self, term: u64) -> Result<(), StoreError> {
        self.usable()?;
        self.buffer.extend_from_slice(format!("{{\"term\":{term}}}\n").as_bytes());
        self.write()
    }

    /// Writes the journal anew when it has grown long.
    pub(super) fn shorten(&mut self, state: &State) -> Result<(), StoreError> {
        self.usable()?;
        if self.length < LONG.max(self.snapshot * 4) {
            return Ok(());
        }
        // The old file stays in use when the new one cannot be written.
        self.rewrite(state)
            .map_err(|e| StoreError::Unavailable(format!("the journal {} was not shortened: {e}", self.path.display())))
    }

    fn rewrite(&mut self, state: &State) -> io::Result<()> {
        let objects = state.objects().count();
        let mut text = format!(
            "{{\"format\":{FORMAT},\"revision\":{},\"term\":{},\"time\":{},\"objects\":{objects}}}\n",
            state.revision,
            state.term,
            state.newest_time().micros()
        )
        .into_bytes();
        for stored in state.objects() {
            entry(&mut text, stored, false);
            text.push(b'\n');
        }
        let new = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        self.file = OpenOptions::new().read(true).append(true).open(&self.path)?;
        self.length = text.len() as u64;
        self.snapshot = self.length;
        Ok(())
    }
}

fn entry(buffer: &mut Vec<u8>, stored: &Stored, removed: bool) {
    let key = &stored.key;
    let text = |value: &str| serde_json::to_string(value).expect("a text is always JSON");
    let head = format!(
        "{{\"kind\":\"{}\",\"namespace\":{},\"name\":{}",
        key.kind.info().kind,
        text(&key.namespace),
        text(&key.name)
    );
    buffer.extend_from_slice(head.as_bytes());
    if !removed {
        buffer.extend_from_slice(b",\"object\":");
        buffer.extend_from_slice(&stored.json());
    }
    buffer.push(b'}');
}

/// Reads a journal line by line.
struct Reader<'a> {
    path: &'a Path,
    lines: BufReader<&'a File>,
    number: usize,
    /// Bytes of the lines that were whole.
    whole: u64,
}

impl Reader<'_> {
    /// The next whole line; `None` at the end or at a line that was cut off.
    fn line(&mut self) -> Result<Option<String>, JournalError> {
        let mut line = Vec::new();
        let read = self.lines.read_until(b'\n', &mut line);
        let count = read.map_err(|source| JournalError::Io { path: self.path.to_owned(), source })?;
        if line.pop() != Some(b'\n') {
            return Ok(None);
        }
        self.number += 1;
        self.whole += count as u64;
        String::from_utf8(line).map(Some).map_err(|e| self.damaged(e))
    }

    fn damaged(&self, what: impl std::fmt::Display) -> JournalError {
        JournalError::Damaged { path: self.path.to_owned(), line: self.number, what: what.to_string() }
    }

    fn state(&mut self) -> Result<State, JournalError> {
        let Some(first) = self.line()? else { return Ok(State::default()) };
        let header: Header = serde_json::from_str(&first).map_err(|e| self.damaged(e))?;
        if header.format != FORMAT {
            return Err(JournalError::Format { path: self.path.to_owned(), found: header.format });
        }
        let mut objects = Vec::new();
        for _ in 0..header.objects {
            let line = self.line()?.ok_or_else(|| self.damaged("the snapshot is cut off"))?;
            let entry: Entry = serde_json::from_str(&line).map_err(|e| self.damaged(e))?;
            let (key, object) = self.decode(entry)?;
            let object = object.ok_or_else(|| self.damaged("a snapshot holds no removals"))?;
            let revision = object.meta().resource_version;
            objects.push(Stored::new(key, revision, object));
        }
        let time = Time::from_micros(header.time);
        let mut state = State::restored(Revision(header.revision), header.term, time, objects);
        while let Some(line) = self.line()? {
            let line: Line = serde_json::from_str(&line).map_err(|e| self.damaged(e))?;
            self.replay(&mut state, line)?;
        }
        Ok(state)
    }

    fn replay(&self, state: &mut State, line: Line) -> Result<(), JournalError> {
        if let Some(term) = line.term {
            state.term = term;
            return Ok(());
        }
        if line.revision != state.revision.0 + 1 {
            let expected = state.revision.0 + 1;
            return Err(self.damaged(format!("revision {} where {expected} was due", line.revision)));
        }
        let mut ops = Vec::with_capacity(line.ops.len());
        for entry in line.ops {
            let (key, object) = self.decode(entry)?;
            ops.push(match object {
                Some(object) => Op::Put(key, object),
                None => Op::Delete(key),
            });
        }
        let txn = Txn { preconditions: Vec::new(), ops, at: Time::from_micros(line.time) };
        state.apply(txn).map(|_| ()).map_err(|e| self.damaged(e))
    }

    fn decode(&self, entry: Entry) -> Result<(Key, Option<Object>), JournalError> {
        let kind = Kind::ALL.iter().copied().find(|k| k.info().kind == entry.kind);
        let kind = kind.ok_or_else(|| self.damaged(format!("there is no kind {:?}", entry.kind)))?;
        let object = entry.object.map(|raw| Object::decode(kind, raw.get().as_bytes())).transpose();
        Ok((Key::new(kind, &entry.namespace, &entry.name), object.map_err(|e| self.damaged(e))?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::MemoryStore;
    use super::*;
    use std::sync::Arc;
    use steersman_domain::ports::{ListQuery, Store};
    use steersman_domain::{ConfigMap, ObjectMeta, Resource};

    async fn put(store: &MemoryStore, name: &str) -> Revision {
        let metadata = ObjectMeta { name: name.into(), namespace: "ns".into(), ..ObjectMeta::default() };
        let map = ConfigMap { metadata, ..ConfigMap::default() };
        let txn = Txn {
            preconditions: vec![],
            ops: vec![Op::Put(map.key(), ConfigMap::into_object(Arc::new(map)))],
            at: Time::from_secs(9),
        };
        store.commit(vec![txn]).await.expect("written").remove(0).expect("applied").revision()
    }

    async fn names(store: &MemoryStore) -> Vec<String> {
        let page = store.list(ListQuery::default()).await.expect("readable");
        page.items.iter().map(|s| format!("{}@{}", s.key.name, s.revision)).collect()
    }

    #[tokio::test]
    async fn what_was_answered_is_there_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        let store = MemoryStore::open(&path).expect("a new journal");
        put(&store, "a").await;
        put(&store, "b").await;
        let gone = Txn {
            preconditions: vec![],
            ops: vec![Op::Delete(Key::new(Kind::ConfigMap, "ns", "a"))],
            at: Time::from_secs(10),
        };
        store.commit(vec![gone]).await.expect("written").remove(0).expect("applied");
        store.set_term(4).await.expect("written");
        // The process ends here: no destructor matters, since everything was written before it was answered.
        for _ in 0..2 {
            let again = MemoryStore::open(&path).expect("a whole journal");
            assert_eq!(names(&again).await, ["b@2"]);
            assert_eq!(again.head().await.expect("head").revision, Revision(3));
            assert_eq!(again.shared.state.read().term, 4);
        }
        let again = MemoryStore::open(&path).expect("a whole journal");
        assert_eq!(put(&again, "c").await, Revision(4));
    }

    #[tokio::test]
    async fn what_could_not_be_written_has_not_happened() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = MemoryStore::open(&dir.path().join("journal")).expect("a new journal");
        put(&store, "a").await;
        // A file that may only be read stands for a full disk.
        let journal = store.shared.journal.as_ref().expect("it has one");
        let writable = std::mem::replace(&mut journal.lock().file, File::open("/dev/null").expect("always there"));
        let key = Key::new(Kind::ConfigMap, "ns", "a");
        let gone = || Txn { preconditions: vec![], ops: vec![Op::Delete(key.clone())], at: Time::from_secs(10) };
        assert!(matches!(store.commit(vec![gone()]).await, Err(StoreError::Unavailable(_))));
        assert_eq!(names(&store).await, ["a@1"], "readers see what was before");
        assert_eq!(store.head().await.expect("head").revision, Revision(1));
        {
            let mut held = journal.lock();
            (held.file, held.broken) = (writable, None);
        }
        assert_eq!(put(&store, "b").await, Revision(2), "and it goes on where it was");
    }

    #[tokio::test]
    async fn a_torn_tail_is_cut_and_damage_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        let store = MemoryStore::open(&path).expect("a new journal");
        put(&store, "a").await;
        put(&store, "b").await;
        let whole = std::fs::read(&path).expect("readable");
        std::fs::write(&path, &whole[..whole.len() - 5]).expect("writable");
        assert_eq!(names(&MemoryStore::open(&path).expect("cut")).await, ["a@1"]);
        let text = String::from_utf8(whole)
            .expect("text")
            .replace("\"kind\":\"ConfigMap\",\"namespace\"", "\"kind\":\"Nothing\",\"namespace\"");
        std::fs::write(&path, &text).expect("writable");
        let error = MemoryStore::open(&path).expect_err("damaged").to_string();
        assert!(error.contains("damaged at line 2: there is no kind \"Nothing\""), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), text, "left as it was");
        std::fs::write(&path, text.replace("\"format\":1", "\"format\":9")).expect("writable");
        assert!(matches!(MemoryStore::open(&path), Err(JournalError::Format { found: 9, .. })));
    }
}

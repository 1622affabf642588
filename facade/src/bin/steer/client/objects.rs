//! Lists, whole and in chunks, and watches that go on where they were cut.

use super::{Api, Call, Refused};
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Objects per chunk, as kubectl asks for them.
const CHUNK: &str = "500";
/// As many early cuts in a row without an event are taken for a server that cannot serve the watch.
const CUTS: u32 = 5;
/// A watch that lasted so long was cut for good reasons: servers end each after some minutes.
const LASTED: Duration = Duration::from_secs(1);
/// The pause after an early cut, times the number of them.
const PAUSE: Duration = Duration::from_millis(100);

/// The objects of a list, with the kind and version that the server leaves out of each.
pub(crate) fn items(list: &Value) -> Vec<Value> {
    let kind = list["kind"].as_str().unwrap_or_default().trim_end_matches("List").to_owned();
    let version = list["apiVersion"].clone();
    let fill = |item: &Value| {
        let mut item = item.clone();
        if let Some(fields) = item.as_object_mut() {
            fields.entry("apiVersion").or_insert_with(|| version.clone());
            fields.entry("kind").or_insert_with(|| kind.clone().into());
        }
        item
    };
    list["items"].as_array().into_iter().flatten().map(fill).collect()
}

impl Api {
    /// All chunks of a list or table, as the server sends them; never empty.
    ///
    /// # Errors
    /// As [`Api::json`].
    pub(crate) async fn chunks(&self, call: &Call) -> anyhow::Result<Vec<Value>> {
        let mut chunks = Vec::new();
        let mut next = String::new();
        loop {
            let chunk = self.json(call.clone().query("limit", CHUNK).query("continue", next.as_str())).await?;
            let more = chunk["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            chunks.push(chunk);
            if more.is_empty() {
                return Ok(chunks);
            }
            anyhow::ensure!(more != next, "the server answers the same chunk of the list again and again");
            next = more;
        }
    }

    /// All objects of a list.
    ///
    /// # Errors
    /// As [`Api::json`].
    pub(crate) async fn list(&self, call: &Call) -> anyhow::Result<Vec<Value>> {
        Ok(self.chunks(call).await?.iter().flat_map(items).collect())
    }

    /// Watches what a list call lists, from a revision on.
    pub(crate) fn watch(&self, call: Call, revision: &str) -> Watched<'_> {
        Watched { api: self, call, revision: revision.to_owned(), lines: None, opened: Instant::now(), cuts: 0 }
    }
}

/// A watch that is opened again when it is cut.
#[derive(Debug)]
pub(crate) struct Watched<'a> {
    api: &'a Api,
    call: Call,
    revision: String,
    lines: Option<super::Lines>,
    opened: Instant,
    cuts: u32,
}

impl Watched<'_> {
    /// The next event: its type (`ADDED`, `MODIFIED`, `DELETED`) and its object or table. It ends only by an error.
    ///
    /// # Errors
    /// [`Refused`] with 410 when the revision is too old to go on from; else why the server does not serve the watch.
    pub(crate) async fn next(&mut self) -> anyhow::Result<(String, Value)> {
        loop {
            let Some(lines) = &mut self.lines else {
                let call = self.call.clone().query("watch", "true").query("allowWatchBookmarks", "true");
                self.opened = Instant::now();
                self.lines = Some(self.api.lines(call.query("resourceVersion", self.revision.as_str())).await?);
                continue;
            };
            let line = match lines.next().await {
                Ok(Some(line)) => line,
                cut => {
                    self.lines = None;
                    self.cuts = if self.opened.elapsed() < LASTED { self.cuts + 1 } else { 0 };
                    if self.cuts > CUTS {
                        cut?;
                        bail!("the server cut the watch {CUTS} times without an event");
                    }
                    tokio::time::sleep(PAUSE * self.cuts).await;
                    continue;
                }
            };
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let mut event: Value = serde_json::from_slice(&line).context("a line of the watch is no JSON")?;
            let object = event["object"].take();
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            if kind == "ERROR" {
                return Err(Refused::from_status(&object).into());
            }
            if let Some(revision) = revision(&object) {
                self.revision = revision.to_owned();
            }
            if kind != "BOOKMARK" {
                self.cuts = 0;
                return Ok((kind, object));
            }
        }
    }
}

/// The revision of an object, or of the row or the whole of a table.
fn revision(object: &Value) -> Option<&str> {
    let row = &object["rows"][0]["object"]["metadata"]["resourceVersion"];
    let whole = &object["metadata"]["resourceVersion"];
    [row, whole].into_iter().find_map(|value| value.as_str().filter(|text| !text.is_empty()))
}

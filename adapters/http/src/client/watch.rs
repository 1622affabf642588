//! Watches over a connection.

use super::{connection, paths, status};
use bytes::BytesMut;
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use steersman_application::client::ApiError;
use steersman_domain::ports::{Change, StoreError, WatchStream};
use steersman_domain::{Key, Kind, Object, Revision, Stored};

/// The changes of a watch as they arrive. `before` of a replaced object is what this stream saw of it last; where it has
/// not seen the object before, the new object stands for it.
pub(super) struct RemoteWatch {
    kind: Kind,
    body: Incoming,
    read: BytesMut,
    seen: BTreeMap<Key, Arc<Stored>>,
    ready: VecDeque<Change>,
    progress: Revision,
    over: Option<StoreError>,
}

#[derive(Deserialize)]
struct Frame<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Marked {
    metadata: super::ListMeta,
}

impl RemoteWatch {
    pub(super) fn new(kind: Kind, body: Incoming, after: Revision) -> Self {
        RemoteWatch {
            kind,
            body,
            read: BytesMut::new(),
            seen: BTreeMap::new(),
            ready: VecDeque::new(),
            progress: after,
            over: None,
        }
    }

    fn accept(&mut self, line: &[u8]) -> Result<(), StoreError> {
        let broken =
            |e: &dyn std::fmt::Display| StoreError::Unavailable(format!("a frame of the watch cannot be read: {e}"));
        let frame: Frame<'_> = serde_json::from_slice(line).map_err(|e| broken(&e))?;
        let json = frame.object.get().as_bytes();
        match frame.r#type {
            "BOOKMARK" => {
                let marked: Marked = serde_json::from_slice(json).map_err(|e| broken(&e))?;
                self.progress = self.progress.max(marked.metadata.resource_version);
                return Ok(());
            }
            "ERROR" => {
                let code: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
                let code = code["code"].as_u64().and_then(|c| u16::try_from(c).ok()).unwrap_or(500);
                let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Err(match status::error(code, json, &Key::new(self.kind, "", "")) {
                    ApiError::Expired(_) => {
                        StoreError::Compacted { wanted: self.progress, oldest: Revision(self.progress.0 + 1) }
                    }
                    other => StoreError::Unavailable(other.to_string()),
                });
            }
            _ => {}
        }
        let object = Object::decode(self.kind, json).map_err(|e| broken(&e))?;
        let revision = object.meta().resource_version;
        let stored = Arc::new(Stored::new(paths::key_of(&object), revision, object));
        self.progress = self.progress.max(revision);
        let change = match frame.r#type {
            "DELETED" => {
                let before = self.seen.remove(&stored.key).unwrap_or_else(|| stored.clone());
                Change::Delete { before, last: stored }
            }
            added_or_modified => {
                let before = self.seen.insert(stored.key.clone(), stored.clone());
                let before = if added_or_modified == "ADDED" { None } else { before.or_else(|| Some(stored.clone())) };
                Change::Put { before, after: stored }
            }
        };
        self.ready.push_back(change);
        Ok(())
    }

    fn accept_all(&mut self) {
        while let Some(end) = self.read.iter().position(|b| *b == b'\n') {
            let line = self.read.split_to(end + 1);
            if let Err(error) = self.accept(&line) {
                self.over = Some(error);
                return;
            }
        }
    }
}

#[async_trait::async_trait]
impl WatchStream for RemoteWatch {
    async fn next(&mut self) -> Result<Vec<Change>, StoreError> {
        loop {
            if !self.ready.is_empty() {
                return Ok(self.ready.drain(..).collect());
            }
            if let Some(error) = &self.over {
                return Err(error.clone());
            }
            // Nothing is lost when the caller stops waiting here: a frame is kept as soon as it has been read.
            match self.body.frame().await {
                None => self.over = Some(StoreError::Unavailable("the server ended the watch".into())),
                Some(Err(error)) => self.over = Some(StoreError::Unavailable(connection::broken(error).to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                        self.accept_all();
                    }
                }
            }
        }
    }

    fn progress(&self) -> Revision {
        self.progress
    }
}

//! The API as every part of Steersman uses it, be it in the same process (`usecase::Api`) or over the network: agents,
//! controllers and host programs depend on this trait alone.

use std::sync::Arc;
use steersman_domain::ports::{ListPage, Scope, StoreError, WatchStream};
use steersman_domain::selector::{FieldSelector, Selector};
use steersman_domain::validate::FieldError;
use steersman_domain::{Key, Object, Revision, Stored, Str, Uid};

/// Why the API refused. Each variant is one `reason` of a Kubernetes `Status`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// There is no such object.
    #[error("{} \"{}\" not found", .0.kind.qualified_plural(), .0.name)]
    NotFound(Key),
    /// There is one already.
    #[error("{} \"{}\" already exists", .0.kind.qualified_plural(), .0.name)]
    AlreadyExists(Key),
    /// The object has moved on since the caller read it, or a precondition does not hold.
    #[error("Operation cannot be fulfilled on {} \"{}\": {message}", .key.kind.qualified_plural(), .key.name)]
    Conflict {
        /// The object.
        key: Key,
        /// What it collides with.
        message: String,
    },
    /// The object breaks rules; every breach is listed.
    #[error("{} \"{}\" is invalid: {}", .key.kind, .key.name, join(.errors))]
    Invalid {
        /// The object.
        key: Key,
        /// Each with its field.
        errors: Vec<FieldError>,
    },
    /// The request makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// It must not be done.
    #[error("{} \"{}\" is forbidden: {message}", .key.kind.qualified_plural(), .key.name)]
    Forbidden {
        /// The object.
        key: Key,
        /// Why not.
        message: String,
    },
    /// The revision is no longer retained: list again.
    #[error("{0}")]
    Expired(String),
    /// May be tried again after some seconds (a disruption budget, say).
    #[error("{message}")]
    TooManyRequests {
        /// What there is too much of.
        message: String,
        /// When to ask again, in seconds.
        retry_after_secs: u32,
    },
    /// The store or the server cannot be reached; the outcome of a write is unknown.
    #[error("{0}")]
    Unavailable(String),
    /// Something that this server does not do, and what to do instead.
    #[error("{0}")]
    NotSupported(String),
    /// It is not known who asks.
    #[error("{0}")]
    Unauthorized(String),
}

fn join(errors: &[FieldError]) -> String {
    match errors {
        [one] => one.to_string(),
        many => format!("[{}]", many.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Compacted { .. } => ApiError::Expired(format!("The resourceVersion is too old: {error}")),
            StoreError::Future { .. } => ApiError::BadRequest(format!("Too large resource version: {error}")),
            StoreError::Unavailable(message) => ApiError::Unavailable(message),
        }
    }
}

/// What happens to the dependents of a deleted object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// Dependents are deleted afterwards.
    #[default]
    Background,
    /// Dependents that block are deleted first.
    Foreground,
    /// Dependents stay, without an owner.
    Orphan,
}

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds; `None`: the object's own.
    pub grace_period_seconds: Option<i64>,
    /// `None`: the kind's default (background).
    pub propagation: Option<Propagation>,
    /// Only if the object has this uid.
    pub uid: Option<Uid>,
    /// Only if the object is at this revision.
    pub resource_version: Option<Revision>,
    /// Say what would be, and do nothing.
    pub dry_run: bool,
}

/// How to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Do everything but store.
    pub dry_run: bool,
    /// Who writes, for conflicts and audit: `kubectl-client-side-apply`, `node-agent`.
    pub field_manager: Str,
    /// All writes are one transaction: when one is refused, none is done, and the others answer a conflict. They must be about
    /// different objects. Only in the process of the cluster: over the network it is refused as not supported.
    pub atomic: bool,
}

/// Which part of an object an update is about. The other parts stay as they are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// Metadata and spec (for kinds without status: everything).
    #[default]
    Main,
    /// The status, and the labels and annotations as Kubernetes allows.
    Status,
    /// The finalizers in the spec of a namespace (`finalize`). A terminating namespace without any is removed.
    Finalize,
}

/// Which objects to list or watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Which kind, and where.
    pub scope: Scope,
    /// What labels must be.
    pub labels: Selector,
    /// What fields must be.
    pub fields: FieldSelector,
}

/// One write. Several are sent together so that a pass of a controller is one group in the store.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Creates an object.
    Create(Object),
    /// Replaces a part. The revision in the metadata is the precondition; 0 means "whatever is there".
    Update(Object, Part),
    /// Deletes an object.
    Delete(Key, DeleteOptions),
    /// Binds a pod to a node through the node's ledger; `Conflict` when it is bound already, has another uid, or no
    /// longer fits.
    Bind {
        /// The pod.
        pod: Key,
        /// Its uid: another of the same name is not bound.
        uid: Uid,
        /// The node.
        node: Str,
    },
}

/// The API.
///
/// Every answer is the object as stored; for a delete, the object as it is then (`deletionTimestamp` set while it is still
/// there). Dropping a future leaves the outcome of its writes unknown.
#[async_trait::async_trait]
pub trait Client: Send + Sync + 'static {
    /// The object now; `NotFound` when there is none.
    async fn get(&self, key: &Key) -> Result<Arc<Stored>, ApiError>;

    /// All selected objects, consistent at the answer's revision.
    async fn list(&self, selection: &Selection) -> Result<ListPage, ApiError>;

    /// Changes of selected objects after a revision. An object that leaves the selection is delivered as deleted, one that
    /// enters it as created.
    async fn watch(&self, selection: &Selection, after: Revision) -> Result<Box<dyn WatchStream>, ApiError>;

    /// Performs writes in order, each wholly or not at all and independent of the others unless they are to be
    /// [`atomic`](WriteOptions::atomic); one answer for each.
    async fn write(&self, writes: Vec<Write>, options: &WriteOptions) -> Vec<Result<Arc<Stored>, ApiError>>;

    /// Creates.
    async fn create(&self, object: Object, options: &WriteOptions) -> Result<Arc<Stored>, ApiError> {
        only(self.write(vec![Write::Create(object)], options).await)
    }

    /// Replaces a part.
    async fn update(&self, object: Object, part: Part, options: &WriteOptions) -> Result<Arc<Stored>, ApiError> {
        only(self.write(vec![Write::Update(object, part)], options).await)
    }

    /// Deletes, or begins to.
    async fn delete(&self, key: &Key, options: &DeleteOptions) -> Result<Arc<Stored>, ApiError> {
        only(self.write(vec![Write::Delete(key.clone(), options.clone())], &WriteOptions::default()).await)
    }
}

fn only(mut answers: Vec<Result<Arc<Stored>, ApiError>>) -> Result<Arc<Stored>, ApiError> {
    answers.pop().unwrap_or_else(|| Err(ApiError::Unavailable("the server gave no answer".into())))
}

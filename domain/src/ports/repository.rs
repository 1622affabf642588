//! Repositories: typed access to objects, as host programs and use cases like it. Implemented once, on any `Store`
//! (`crate::repository`).

#![cfg_attr(feature = "testing", allow(missing_debug_implementations, reason = "mocks have nothing to show"))]

use crate::{Node, Pod, Revision, Str};
use std::sync::Arc;

/// Why a repository could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// There is no such object.
    #[error("{0} does not exist")]
    NotFound(String),
    /// There is one already.
    #[error("{0} exists already")]
    AlreadyExists(String),
    /// The object has moved on since it was read.
    #[error("{what} is at revision {found}, not {expected}: read it again and repeat the change")]
    Conflict {
        /// The object.
        what: String,
        /// The revision that was read.
        expected: Revision,
        /// Its revision now.
        found: Revision,
    },
    /// The store does not answer; the outcome is unknown.
    #[error("the store is not available: {0}")]
    Unavailable(String),
}

macro_rules! repository {
    ($(#[$doc:meta])* $name:ident, $entity:ident) => {
        $(#[$doc])*
        ///
        /// Every read is of the newest state. Writes go by the revision in the object's metadata: 0 creates and fails
        /// with `AlreadyExists`, any other replaces and fails with `Conflict` when the object has moved on.
        #[cfg_attr(feature = "testing", mockall::automock)]
        #[async_trait::async_trait]
        pub trait $name: Send + Sync {
            /// The object, or none.
            async fn find(&self, namespace: &str, name: &str) -> Result<Option<Arc<$entity>>, RepositoryError>;
            /// All objects, of one namespace or of all, in key order.
            async fn list(&self, namespace: Option<Str>) -> Result<Vec<Arc<$entity>>, RepositoryError>;
            /// Creates or replaces; answers the object as stored.
            async fn save(&self, object: $entity) -> Result<Arc<$entity>, RepositoryError>;
            /// Removes at once; `NotFound` when there is nothing.
            async fn remove(&self, namespace: &str, name: &str) -> Result<(), RepositoryError>;
        }
    };
}

repository!(
    /// Pods.
    PodRepository, Pod
);
repository!(
    /// Nodes; the namespace is empty.
    NodeRepository, Node
);

//! What the outside may ask: create, update, delete, bind, list, watch, read logs, explain. [`Api`] is the one door to the
//! store for people, controllers and agents alike; every rule that Kubernetes' API server keeps is kept here or in the
//! domain, never in a store. Wire forms (JSON, patches, defaults, HTTP codes) are not its business.

mod address;
mod admit_pod;
mod bind;
mod book;
mod bootstrap;
mod create;
mod delete;
mod evict;
pub mod explain;
mod fields;
pub mod logs;
mod node_port;
mod page;
mod parts;
mod round;
mod select;
mod service;
mod together;
mod update;

pub use address::{InvalidCidr, ServiceCidr};
pub use bootstrap::SYSTEM_NAMESPACES;
pub use fields::supported_fields;
pub use page::{Page, PageQuery};

use crate::client::{ApiError, Client, DeleteOptions, Selection, Write, WriteOptions};
use explain::{Explainer, Explanation};
use logs::LogSource;
use std::sync::{Arc, PoisonError, RwLock};
use steersman_domain::ports::{Clock, Entropy, Head, ListPage, Store, WatchStream};
use steersman_domain::{Key, Revision, Shared, Stored, Str, Time, Toleration};

/// What an installation decides about its API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// The runtime class of pods that name none; empty: left open, for the scheduler and the agents to decide.
    pub default_runtime: Str,
    /// Where the virtual addresses of services come from.
    pub service_cidr: ServiceCidr,
}

/// The API on a store.
pub struct Api {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    config: ApiConfig,
    logs: Arc<dyn LogSource>,
    explainer: RwLock<Option<Arc<dyn Explainer>>>,
    /// Held while writes that collided on a ledger are tried again, so that they cannot starve each other.
    gate: tokio::sync::Mutex<()>,
    /// What every pod tolerates for five minutes; one copy for all pods.
    tolerations: [Shared<Toleration>; 2],
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The ports that the API stands on.
#[derive(Clone)]
pub struct ApiPorts {
    /// Where objects are kept.
    pub store: Arc<dyn Store>,
    /// What the time is.
    pub clock: Arc<dyn Clock>,
    /// Where uids and names come from.
    pub entropy: Arc<dyn Entropy>,
    /// Where logs of pods are read; [`logs::LogRegistry`] for agents that register by node.
    pub logs: Arc<dyn LogSource>,
}

impl std::fmt::Debug for ApiPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiPorts").finish_non_exhaustive()
    }
}

impl Api {
    /// The API on these ports. Call [`Api::bootstrap`] once the store may be written.
    pub fn new(ports: ApiPorts, config: ApiConfig) -> Self {
        Api {
            store: ports.store,
            clock: ports.clock,
            entropy: ports.entropy,
            config,
            logs: ports.logs,
            explainer: RwLock::new(None),
            gate: tokio::sync::Mutex::new(()),
            tolerations: create::default_tolerations(),
        }
    }

    /// Names the scheduler that can explain its decisions. Later calls replace earlier ones.
    pub fn set_explainer(&self, explainer: Arc<dyn Explainer>) {
        *self.explainer.write().unwrap_or_else(PoisonError::into_inner) = Some(explainer);
    }

    /// Why an object is as it is; `None` when nothing was decided about it.
    pub async fn explain(&self, key: &Key) -> Result<Option<Explanation>, ApiError> {
        self.get(key).await?;
        let explainer = self.explainer.read().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(explainer.and_then(|e| e.explain(key)))
    }

    /// The clock of the API.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The clock of the API as a port, to wait with.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The source of chance of the API.
    pub fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.entropy
    }

    /// The newest and the oldest readable revision.
    pub async fn head(&self) -> Result<Head, ApiError> {
        Ok(self.store.head().await?)
    }

    /// Deletes every selected object, as Kubernetes' delete-collection; answers what was deleted, as it was or is then.
    /// Objects that vanish meanwhile are fine; the first other failure is answered after all have been tried.
    pub async fn delete_selected(
        &self,
        selection: &Selection,
        options: &DeleteOptions,
    ) -> Result<Vec<Arc<Stored>>, ApiError> {
        let page = self.list(selection).await?;
        let (mut done, mut failed) = (Vec::new(), None);
        // A thousand at a time: large enough for one group in the store, small enough to let others in between.
        for chunk in page.items.chunks(1000) {
            let writes = chunk.iter().map(|s| Write::Delete(s.key.clone(), options.clone())).collect();
            let how = WriteOptions { dry_run: options.dry_run, ..WriteOptions::default() };
            for answer in self.write(writes, &how).await {
                match answer {
                    Ok(stored) => done.push(stored),
                    Err(ApiError::NotFound(_)) => {}
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        failed.map_or(Ok(done), Err)
    }
}

#[async_trait::async_trait]
impl Client for Api {
    async fn get(&self, key: &Key) -> Result<Arc<Stored>, ApiError> {
        self.store.get(key, None).await?.ok_or_else(|| ApiError::NotFound(key.clone()))
    }

    async fn list(&self, selection: &Selection) -> Result<ListPage, ApiError> {
        let page = self.list_page(selection, &PageQuery::default()).await?;
        Ok(ListPage { items: page.items, revision: page.revision, remaining: 0 })
    }

    async fn watch(&self, selection: &Selection, after: Revision) -> Result<Box<dyn WatchStream>, ApiError> {
        fields::check(selection)?;
        let inner = self.store.watch(select::watched(selection), after).await?;
        Ok(select::selected(inner, selection))
    }

    async fn write(&self, writes: Vec<Write>, options: &WriteOptions) -> Vec<Result<Arc<Stored>, ApiError>> {
        match options.atomic {
            true => together::perform(self, writes, options).await,
            false => round::perform(self, writes, options).await,
        }
    }
}

//! What a host program, a function or a test does with a cluster: objects in and out, watching, waiting, messages. It is the
//! same for a live cluster and a simulated one.

mod manifest;
mod query;
mod timeout;
mod watch;

pub use manifest::ApplyError;
pub use query::Query;
pub use timeout::{Timeout, WaitError};
pub use watch::{Watch, WatchEvent};

use crate::functions::{Address, Switchboard};
use std::sync::Arc;
use std::time::Duration;
use steersman_application::client::{ApiError, Client, DeleteOptions, Part, Selection, WriteOptions};
use steersman_application::driver::world::World;
use steersman_domain::ports::{Clock, MessageError, Recipient, StoreError};
use steersman_domain::{Key, Resource, Stored};

/// Who writes, as the metadata of objects and the API's conflicts name it.
pub(crate) const FIELD_MANAGER: &str = "steersman";

/// How often a write is tried again when others write at the same time: each of them must be faster every time.
const TRIES: usize = 20;

/// A cluster as its users see it. Cheap to clone; clones are about the same cluster, and may outlive what runs it: they still
/// answer then, but nothing acts on what is written. [`Cluster`](crate::Cluster) and
/// [`SimulatedCluster`](crate::simulation::SimulatedCluster) dereference to one.
///
/// Names are those of the API: a namespace that is empty means `default`, and objects without a namespace (nodes, say) leave
/// it out. Typed objects are those of [`domain`](crate::domain); whatever else a manifest says rides along.
#[derive(Clone)]
pub struct Handle {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    board: Option<Switchboard>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("functions", &self.board.is_some()).finish_non_exhaustive()
    }
}

/// The key of a typed object; cluster-wide kinds have no namespace.
fn key<T: Resource>(namespace: &str, name: &str) -> Key {
    match (T::KIND.info().namespaced, namespace) {
        (false, _) => Key::cluster(T::KIND, name),
        (true, "") => Key::new(T::KIND, "default", name),
        (true, namespace) => Key::new(T::KIND, namespace, name),
    }
}

fn typed<T: Resource>(stored: &Stored) -> Result<Arc<T>, ApiError> {
    let wrong = || ApiError::Unavailable(format!("the server answered another kind than {}: {}", T::KIND, stored.key));
    stored.typed().cloned().ok_or_else(wrong)
}

fn options() -> WriteOptions {
    WriteOptions { field_manager: FIELD_MANAGER.into(), ..WriteOptions::default() }
}

impl Handle {
    pub(crate) fn new(client: Arc<dyn Client>, clock: Arc<dyn Clock>, board: Option<Switchboard>) -> Self {
        Handle { client, clock, board }
    }

    /// The API beneath, untyped.
    pub fn client(&self) -> Arc<dyn Client> {
        self.client.clone()
    }

    /// The cluster's clock, for whatever waits.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// Applies the objects of a YAML (or JSON) stream, in its order: creates what is not there, and merges the manifest into
    /// what is, by strategic merge. Fields that a manifest no longer names stay; objects without a namespace go into
    /// `default`.
    ///
    /// # Errors
    /// When the text cannot be read, or the API refuses an object. What came before that object is applied.
    pub async fn apply(&self, manifest: &str) -> Result<Vec<Arc<Stored>>, ApplyError> {
        manifest::apply(&*self.client, manifest).await
    }

    /// Creates an object, with the defaults of its kind filled in; answers it as it is stored.
    ///
    /// # Errors
    /// [`ApiError::AlreadyExists`] when there is one of this name, [`ApiError::Invalid`] when it breaks rules of its kind, as
    /// the API has them.
    pub async fn create<T: Resource>(&self, mut object: T) -> Result<Arc<T>, ApiError> {
        if T::KIND.info().namespaced && object.meta().namespace.is_empty() {
            object.meta_mut().namespace = "default".into();
        }
        let object = manifest::with_defaults(&T::into_object(Arc::new(object)))?;
        typed(&*self.client.create(object, &options()).await?)
    }

    /// The object of this name.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when there is none.
    pub async fn get<T: Resource>(&self, namespace: &str, name: &str) -> Result<Arc<T>, ApiError> {
        typed(&*self.client.get(&key::<T>(namespace, name)).await?)
    }

    /// The object of this name, where there is one.
    ///
    /// # Errors
    /// When the API cannot be reached.
    pub async fn find<T: Resource>(&self, namespace: &str, name: &str) -> Result<Option<Arc<T>>, ApiError> {
        match self.get(namespace, name).await {
            Err(ApiError::NotFound(_)) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// The objects of a kind that a query selects, as of one revision, by namespace and name.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] when a selector cannot be read.
    pub async fn list<T: Resource>(&self, query: &Query) -> Result<Vec<Arc<T>>, ApiError> {
        let page = self.client.list(&query.selection::<T>()?).await?;
        page.items.iter().map(|stored| typed(stored)).collect()
    }

    /// Changes an object (metadata and spec, or whatever else the kind has beside its status), and does so again when another
    /// writer came in between: `change` may be called several times, each with the object as it is then. Nothing is written
    /// when it changes nothing.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when there is no such object, and as [`Handle::create`].
    pub async fn edit<T: Resource>(
        &self,
        namespace: &str,
        name: &str,
        change: impl Fn(&mut T),
    ) -> Result<Arc<T>, ApiError> {
        self.edit_part(&key::<T>(namespace, name), Part::Main, change).await
    }

    /// Changes the status of an object, as [`Handle::edit`] does the rest.
    ///
    /// # Errors
    /// As [`Handle::edit`].
    pub async fn edit_status<T: Resource>(
        &self,
        namespace: &str,
        name: &str,
        change: impl Fn(&mut T),
    ) -> Result<Arc<T>, ApiError> {
        self.edit_part(&key::<T>(namespace, name), Part::Status, change).await
    }

    async fn edit_part<T: Resource>(&self, key: &Key, part: Part, change: impl Fn(&mut T)) -> Result<Arc<T>, ApiError> {
        let mut last = ApiError::NotFound(key.clone());
        for _ in 0..TRIES {
            let before = typed::<T>(&*self.client.get(key).await?)?;
            let mut after = T::clone(&before);
            change(&mut after);
            if after == *before {
                return Ok(before);
            }
            match self.client.update(T::into_object(Arc::new(after)), part, &options()).await {
                Err(error @ ApiError::Conflict { .. }) => last = error,
                answer => return typed(&*answer?),
            }
        }
        Err(last)
    }

    /// Deletes an object, or begins to: pods get their grace, and finalizers are waited for. What it owns goes with it.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when there is no such object.
    pub async fn delete<T: Resource>(&self, namespace: &str, name: &str) -> Result<(), ApiError> {
        self.client.delete(&key::<T>(namespace, name), &DeleteOptions::default()).await.map(drop)
    }

    /// The objects that a query selects, and every change of them from then on.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] when a selector cannot be read.
    pub fn watch<T: Resource>(&self, query: &Query) -> Result<Watch<T>, ApiError> {
        Ok(Watch::new(self.client.clone(), query.selection::<T>()?))
    }

    /// Waits until something holds for one object, be it there (`Some`) or not, looking after every change of it, for at
    /// most `within` by the cluster's clock. Answers the object as it was then.
    ///
    /// # Errors
    /// [`WaitError::Timeout`], which tells what was waited for and shows the cluster as it is; [`WaitError::Api`] when the
    /// API cannot be reached.
    pub async fn wait_for<T: Resource>(
        &self,
        (namespace, name): (&str, &str),
        within: Duration,
        holds: impl Fn(Option<&T>) -> bool,
    ) -> Result<Option<Arc<T>>, WaitError> {
        let key = key::<T>(namespace, name);
        let end = self.clock.monotonic() + within;
        let query = Query::namespace(&key.namespace);
        let mut watch: Watch<T> = self.watch(&query.field(&format!("metadata.name={name}")))?;
        loop {
            let left = end.saturating_sub(self.clock.monotonic());
            watch.listed().await?;
            let now = watch.known().next().cloned();
            if holds(now.as_deref()) {
                return Ok(now);
            }
            tokio::select! {
                biased;
                changed = watch.next() => drop(changed?),
                () = self.clock.sleep(left) => {
                    let what = format!("the condition on {} {}", T::KIND.info().singular, key.name);
                    return Err(Timeout::new(&what, within, &self.world().await?, "").into());
                }
            }
        }
    }

    /// Everything there is, at one revision.
    ///
    /// # Errors
    /// When the API cannot be reached.
    pub async fn world(&self) -> Result<World, ApiError> {
        let page = self.client.list(&Selection::default()).await?;
        let mut world = World::default();
        page.items.iter().for_each(|stored| world.put(stored));
        world.advance(page.revision);
        Ok(world)
    }

    /// Waits until something holds for the whole cluster, looking after every change of anything, for at most `within` by the
    /// cluster's clock; answers the world in which it did. `what` names it for the error. It costs a list of everything;
    /// [`Handle::wait_for`] looks at one object.
    ///
    /// # Errors
    /// As [`Handle::wait_for`].
    pub async fn until(
        &self,
        what: &str,
        within: Duration,
        holds: impl Fn(&World) -> bool,
    ) -> Result<World, WaitError> {
        let end = self.clock.monotonic() + within;
        loop {
            let mut world = self.world().await?;
            let mut changes = self.client.watch(&Selection::default(), world.revision()).await?;
            loop {
                if holds(&world) {
                    return Ok(world);
                }
                let left = end.saturating_sub(self.clock.monotonic());
                let changed = tokio::select! {
                    biased;
                    changed = changes.next() => changed,
                    () = self.clock.sleep(left) => return Err(Timeout::new(what, within, &world, "").into()),
                };
                match changed {
                    Ok(changed) => changed.iter().for_each(|change| world.apply(change)),
                    Err(StoreError::Compacted { .. }) => break,
                    Err(error) => return Err(ApiError::from(error).into()),
                }
            }
        }
    }

    /// The address of a pod (`NAME` or `pod/NAME`) or service (`service/NAME`) whose pods are functions. Look it up once, keep
    /// it, and use it often; it stays good whatever happens to them.
    ///
    /// # Errors
    /// [`MessageError::Form`] when the text is no such name, or the cluster has no functions.
    pub fn reach(&self, to: &str, namespace: &str) -> Result<Address, MessageError> {
        let recipient = Recipient::parse(to, namespace).map_err(MessageError::Form)?;
        let none = || MessageError::Form("this cluster was built without functions".into());
        Ok(self.board.as_ref().ok_or_else(none)?.address(&recipient))
    }
}

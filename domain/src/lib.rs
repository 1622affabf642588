//! The heart of Steersman: entities in Kubernetes' own shape, the value types they are made of, the rules that
//! live on them, and the ports through which everything outside is reached. No IO, no runtime, no clock: time and
//! chance are arguments.

#![warn(missing_docs)]

pub mod cron;
mod entity;
pub mod indexes;
pub mod kinds;
pub mod ledger;
pub mod map;
pub mod meta;
pub mod names;
pub mod object;
pub mod ports;
pub mod quantity;
pub mod repository;
pub mod selector;
pub mod sharing;
pub mod spans;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
pub mod usage;
pub mod validate;

pub use entity::Extra;
pub use kinds::*;
pub use map::Map;
pub use meta::{Condition, LabelSelector, LabelSelectorRequirement, ObjectMeta, OwnerReference, Uid};
pub use object::{Key, Kind, KindInfo, Object, Resource, Revision, Stored};
pub use quantity::Quantity;
pub use time::{MicroTime, Time};

/// A short immutable text: names, namespaces, labels. Cheap to clone; up to 23 bytes live inline.
pub type Str = smol_str::SmolStr;

/// A subtree that equal objects share (containers, tolerations, affinities): cheap to clone, copied on write.
pub type Shared<T> = std::sync::Arc<T>;

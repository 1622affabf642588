//! Kubernetes' wire rules as pure functions over JSON: field validation, defaults, patches, tables,
//! protobuf bodies, OpenAPI, and YAML. No IO, no clock, no knowledge of the domain's entities.

pub mod check;
mod defaults;
mod duration;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod schema;
pub mod table;
mod yaml;

pub use check::{FieldProblem, ProblemKind, carried_fields, check_fields, duplicate_fields, missing_fields};
pub use defaults::apply_defaults;
pub use duration::human_duration;
pub use patch::{PatchError, PatchType, json_patch, merge_patch, strategic_merge};
pub use schema::Gvk;
pub use yaml::{YamlError, flatten_lists, yaml_documents};

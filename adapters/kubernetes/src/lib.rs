//! Kubernetes' wire rules as pure functions over JSON: field validation, defaults, patches, tables, protobuf bodies,
//! OpenAPI, and YAML. No IO, no clock, no knowledge of the domain's entities; what a value may be (names, ranges,
//! combinations) is the entities' business.
//!
//! A server takes a written object through these steps:
//!
//! ```
//! use steersman_kubernetes::{Gvk, apply_defaults, carried_fields, check_fields, duplicate_fields};
//!
//! let body = br#"{"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 2, "paused": true, "bogus": 1}}"#;
//! assert!(duplicate_fields(body).is_ok_and(|d| d.is_empty()));
//! let mut object: serde_json::Value = serde_json::from_slice(body)?;
//! let kind = Gvk::new("apps", "v1", "Deployment");
//!
//! let problems = check_fields(kind, &object);
//! assert_eq!(problems[0].message, r#"unknown field "spec.bogus""#);
//! assert!(carried_fields(kind, &object).is_empty());
//!
//! apply_defaults(kind, &mut object);
//! assert_eq!(object["spec"]["strategy"]["type"], "RollingUpdate");
//! # Ok::<(), serde_json::Error>(())
//! ```

#![warn(missing_docs)]

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

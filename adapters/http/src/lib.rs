//! The Kubernetes API of Steersman over HTTPS, and its client.
// Being built: `pki` (CA, server and client certificates, kubeconfig) and `serve` (TLS listener loop) are written and kept
// by the lead; everything else in this crate is the API helper's.

pub mod pki;
pub mod serve;

//! adapters/kubernetes

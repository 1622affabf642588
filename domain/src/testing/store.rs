//! Conformance of stores.

//! adapters/runtime

//! adapters/runtime

pub mod proxy;

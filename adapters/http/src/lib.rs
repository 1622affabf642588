//! adapters/http

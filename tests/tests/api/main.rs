//! The API on the store in memory: the use cases as controllers and agents call them, and the HTTP service as clients do.
//! Everything runs in one process on a clock that stands still.

mod deletion;
mod discovery;
mod evictions;
mod metrics;
mod nodes;
mod objects;
mod remote;
mod requests;
mod reviews;
mod rooms;
mod services;
mod together;
mod watches;
mod world;

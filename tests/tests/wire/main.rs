//! The API through its service, in process: requests in, answers out, on the store in memory and with a clock that moves
//! when it is told to.

mod bodies;
mod discovery;
mod lists;
mod objects;
mod patches;
mod pods;
mod watches;
mod world;

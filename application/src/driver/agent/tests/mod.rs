//! Tests of the agent: the state machine by tables, and whole agents over a scripted runtime, an API in memory and a clock
//! that stands still.

mod api;
mod crash;
mod environment;
mod fixture;
mod lives;
mod machine;
mod scale;
mod takeover;
mod waiting;

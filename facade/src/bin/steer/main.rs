//! The `steer` binary.
fn main() {}

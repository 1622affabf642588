//! The programs among the examples, run as they are.

#[path = "../../../docs/examples/programs/lose_a_node.rs"]
mod lose_a_node;
#[path = "../../../docs/examples/programs/workers.rs"]
mod workers;

#[test]
fn workers_are_supervised() {
    workers::main().expect("it ends well");
}

#[test]
fn a_lost_node_is_made_up_for() {
    lose_a_node::main().expect("it ends well");
}

//! The internal ledger objects that keep rules across objects; see `crate::ledger` for how they are used.

use crate::entity::entity;
use crate::ledger::Resources;
use crate::{Kind, ObjectMeta, Str};

entity! {
    /// What is taken on one node by pods that are bound to it and have not ended. Named as the node.
    pub struct NodeLedger[Kind::NodeLedger] {
        metadata: ObjectMeta = "metadata",
        allocated: Resources = "allocated",
        /// Taken host ports as `PROTOCOL/IP/PORT`, sorted.
        host_ports: Vec<Str> = "hostPorts",
    }

    /// The virtual addresses and node ports that services hold. One object, named `services`.
    pub struct AddressLedger[Kind::AddressLedger] {
        metadata: ObjectMeta = "metadata",
        /// Taken addresses as 32-bit numbers, sorted.
        taken: Vec<u32> = "taken",
        /// Taken node ports as `PROTOCOL/PORT`, sorted.
        node_ports: Vec<Str> = "nodePorts",
    }
}

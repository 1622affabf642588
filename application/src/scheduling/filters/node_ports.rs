//! A literal host port is taken.

use crate::scheduling::{Basis, Demand, Filter, NodeInfo, Reason};
use steersman_domain::ledger::host_port_conflict;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct NodePorts;

impl Filter for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn basis(&self) -> Basis {
        Basis::Room
    }

    fn concerns(&self, pod: &Demand) -> bool {
        !pod.load.host_ports.is_empty()
    }

    fn passes(&self, pod: &Demand, node: &NodeInfo) -> bool {
        !pod.load.host_ports.iter().any(|key| host_port_conflict(&node.taken.host_ports, key))
    }

    fn explain(&self, _: &Demand, _: &NodeInfo) -> Reason {
        "node(s) didn't have free ports for the requested pod ports".into()
    }
}

//! Control groups: limits, out-of-memory counts, and ending every process of a container at once.
//!
//! `detect` finds where groups can be made on this host (version 1, version 2, or the mixture of both in which version 1
//! holds the controllers and version 2 only knows how to kill); `group` makes and uses the groups of one container.

mod detect;
mod group;

pub(super) use detect::{Detected, detect};
pub(super) use group::{Group, pod_groups, remove_groups};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Controller {
    Cpu,
    Memory,
    Pids,
}

impl Controller {
    pub(super) const ALL: [Controller; 3] = [Controller::Cpu, Controller::Memory, Controller::Pids];

    /// The kernel's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A tree of groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hierarchy {
    /// The runtime's own group, under which those of pods are made.
    pub(super) root: PathBuf,
    /// Version 2.
    pub(super) unified: bool,
    /// The controllers that work here.
    pub(super) controllers: Vec<Controller>,
}

/// Every tree that is of use on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cgroups {
    pub(super) hierarchies: Vec<Hierarchy>,
}

impl Cgroups {
    /// Whether a resource can be limited.
    pub(super) fn limits(&self, controller: Controller) -> bool {
        self.hierarchies.iter().any(|h| h.controllers.contains(&controller))
    }
}

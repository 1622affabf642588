//! The tables of daemon sets, stateful sets and their revisions.

use super::services::containers;
use super::workloads::{CONTAINERS, IMAGES, SELECTOR, selector};
use super::{AGE, NAME, NONE, Printer, age, column, count, elements, labels, name, number, text};

pub(super) const DAEMON_SET: Printer = Printer {
    columns: &[
        NAME,
        count("Desired", "How many nodes are to have a pod."),
        count("Current", "How many of them have one."),
        count("Ready", "How many of them have one that is ready."),
        count("Up-to-date", "How many of them have one of the latest template."),
        count("Available", "How many of them have one that has been ready long enough."),
        column("Node Selector", "The labels of the nodes."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |set, now| {
        let (spec, status) = (&set["spec"], &set["status"]);
        let [names, images] = containers(&spec["template"]);
        vec![
            name(set),
            number(status, "desiredNumberScheduled").into(),
            number(status, "currentNumberScheduled").into(),
            number(status, "numberReady").into(),
            number(status, "updatedNumberScheduled").into(),
            number(status, "numberAvailable").into(),
            labels(&spec["template"]["spec"]["nodeSelector"]).into(),
            age(set, now),
            names,
            images,
            selector(&spec["selector"]).into(),
        ]
    },
};

pub(super) const STATEFUL_SET: Printer = Printer {
    columns: &[NAME, column("Ready", "How many pods are ready, of how many wanted."), AGE, CONTAINERS, IMAGES],
    cells: |set, now| {
        let (spec, status) = (&set["spec"], &set["status"]);
        let [names, images] = containers(&spec["template"]);
        let ready = format!("{}/{}", number(status, "readyReplicas"), number(spec, "replicas"));
        vec![name(set), ready.into(), age(set, now), names, images]
    },
};

pub(super) const CONTROLLER_REVISION: Printer = Printer {
    columns: &[
        NAME,
        column("Controller", "Whose template it holds."),
        count("Revision", "The greater, the later."),
        AGE,
    ],
    cells: |revision, now| {
        let owners = elements(&revision["metadata"], "ownerReferences");
        let owner = owners.iter().find(|owner| owner["controller"] == true).map_or(NONE.to_owned(), |owner| {
            let kind = text(owner, "kind").to_lowercase();
            let group =
                text(owner, "apiVersion").split_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
            format!("{kind}{group}/{}", text(owner, "name"))
        });
        vec![name(revision), owner.into(), number(revision, "revision").into(), age(revision, now)]
    },
};

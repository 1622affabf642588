//! The tables of kinds with few columns.

use super::{AGE, NAME, Printer, age, column, count, elements, name, number, text, text_or};
use serde_json::Value;

pub(super) const NAMESPACE: Printer = Printer {
    columns: &[NAME, column("Status", "Active or Terminating."), AGE],
    cells: |namespace, now| vec![name(namespace), text(&namespace["status"], "phase").into(), age(namespace, now)],
};

pub(super) const CONFIG_MAP: Printer = Printer {
    columns: &[NAME, count("Data", "How many entries it has."), AGE],
    cells: |map, now| vec![name(map), (entries(map, "data") + entries(map, "binaryData")).into(), age(map, now)],
};

pub(super) const SECRET: Printer = Printer {
    columns: &[NAME, column("Type", "What the secret is for."), count("Data", "How many entries it has."), AGE],
    cells: |secret, now| {
        vec![name(secret), text(secret, "type").into(), entries(secret, "data").into(), age(secret, now)]
    },
};

pub(super) const SERVICE_ACCOUNT: Printer = Printer {
    columns: &[NAME, count("Secrets", "How many secrets it may use."), AGE],
    cells: |account, now| vec![name(account), elements(account, "secrets").len().into(), age(account, now)],
};

pub(super) const LEASE: Printer = Printer {
    columns: &[NAME, column("Holder", "Who holds the lease."), AGE],
    cells: |lease, now| vec![name(lease), text(&lease["spec"], "holderIdentity").into(), age(lease, now)],
};

pub(super) const RUNTIME_CLASS: Printer = Printer {
    columns: &[NAME, column("Handler", "The runtime that it chooses."), AGE],
    cells: |class, now| vec![name(class), text(class, "handler").into(), age(class, now)],
};

pub(super) const PRIORITY_CLASS: Printer = Printer {
    columns: &[
        NAME,
        count("Value", "The priority of its pods."),
        column("Global-Default", "Whether pods that name no class get it."),
        AGE,
        column("PreemptionPolicy", "Whether its pods take the place of others."),
    ],
    cells: |class, now| {
        vec![
            name(class),
            number(class, "value").into(),
            class["globalDefault"].as_bool().unwrap_or(false).to_string().into(),
            age(class, now),
            text_or(class, "preemptionPolicy", "PreemptLowerPriority").into(),
        ]
    },
};

pub(super) const POD_DISRUPTION_BUDGET: Printer = Printer {
    columns: &[
        NAME,
        column("Min Available", "How many pods must be healthy."),
        column("Max Unavailable", "How many pods may be missing."),
        count("Allowed Disruptions", "How many pods may be evicted now."),
        AGE,
    ],
    cells: |budget, now| {
        let bound = |field: &str| match &budget["spec"][field] {
            Value::Null => "N/A".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let allowed = number(&budget["status"], "disruptionsAllowed");
        vec![
            name(budget),
            bound("minAvailable").into(),
            bound("maxUnavailable").into(),
            allowed.into(),
            age(budget, now),
        ]
    },
};

fn entries(object: &Value, field: &str) -> usize {
    object[field].as_object().map_or(0, serde_json::Map::len)
}

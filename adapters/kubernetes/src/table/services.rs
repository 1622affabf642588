//! The tables of services and their endpoints.

use super::{
    AGE, NAME, NONE, Printer, age, column, elements, first_three, joined, labels, name, number, text, text_or, wide,
};
use serde_json::Value;

pub(super) const SERVICE: Printer = Printer {
    columns: &[
        NAME,
        column("Type", "How the service is reached."),
        column("Cluster-IP", "The virtual address."),
        column("External-IP", "Addresses outside the cluster."),
        column("Port(s)", "The ports, with node ports after a colon."),
        AGE,
        wide("Selector", "The labels of the pods behind it."),
    ],
    cells: |service, now| {
        let spec = &service["spec"];
        let cluster_ip = match elements(spec, "clusterIPs").first().and_then(Value::as_str) {
            Some(ip) if !ip.is_empty() => ip,
            _ => text_or(spec, "clusterIP", NONE),
        };
        vec![
            name(service),
            text(spec, "type").into(),
            cluster_ip.into(),
            external_ip(service).into(),
            ports(spec).into(),
            age(service, now),
            labels(&spec["selector"]).into(),
        ]
    },
};

fn external_ip(service: &Value) -> String {
    let spec = &service["spec"];
    let mut addresses: Vec<&str> = Vec::new();
    let mut absent = NONE;
    match text(spec, "type") {
        "ExternalName" => return text(spec, "externalName").to_owned(),
        "LoadBalancer" => {
            absent = "<pending>";
            let ingress = elements(&service["status"]["loadBalancer"], "ingress");
            addresses.extend(ingress.iter().map(|i| text_or(i, "ip", text(i, "hostname"))));
        }
        _ => {}
    }
    addresses.extend(elements(spec, "externalIPs").iter().filter_map(Value::as_str));
    if addresses.is_empty() { absent.to_owned() } else { addresses.join(",") }
}

fn ports(spec: &Value) -> String {
    let ports = elements(spec, "ports").iter().map(|p| {
        let (port, protocol) = (number(p, "port"), text(p, "protocol"));
        match number(p, "nodePort") {
            0 => format!("{port}/{protocol}"),
            node => format!("{port}:{node}/{protocol}"),
        }
    });
    let ports: Vec<String> = ports.collect();
    if ports.is_empty() { NONE.to_owned() } else { ports.join(",") }
}

pub(super) const ENDPOINTS: Printer = Printer {
    columns: &[NAME, column("Endpoints", "The addresses that are ready."), AGE],
    cells: |endpoints, now| {
        let mut list = Vec::new();
        for subset in elements(endpoints, "subsets") {
            let addresses: Vec<&str> = elements(subset, "addresses").iter().map(|a| text(a, "ip")).collect();
            let ports = elements(subset, "ports");
            // A headless service may have no ports.
            if ports.is_empty() {
                list.extend(addresses.iter().map(|a| (*a).to_owned()));
            }
            for port in ports {
                list.extend(addresses.iter().map(|a| host_port(a, number(port, "port"))));
            }
        }
        vec![name(endpoints), first_three(&list, NONE).into(), age(endpoints, now)]
    },
};

fn host_port(address: &str, port: i64) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

pub(super) const ENDPOINT_SLICE: Printer = Printer {
    columns: &[
        NAME,
        column("AddressType", "What kind of addresses these are."),
        column("Ports", "The ports of every endpoint."),
        column("Endpoints", "The addresses."),
        AGE,
    ],
    cells: |slice, now| {
        let port = |p: &Value| match p["port"].as_i64() {
            Some(port) => port.to_string(),
            None => text_or(p, "name", "*").to_owned(),
        };
        let ports: Vec<String> = elements(slice, "ports").iter().map(port).collect();
        let addresses = elements(slice, "endpoints").iter().flat_map(|e| elements(e, "addresses"));
        let addresses: Vec<String> = addresses.filter_map(Value::as_str).map(str::to_owned).collect();
        vec![
            name(slice),
            text(slice, "addressType").into(),
            first_three(&ports, "<unset>").into(),
            first_three(&addresses, "<unset>").into(),
            age(slice, now),
        ]
    },
};

/// Names and images of the containers of a pod template, for the wide tables of workloads.
pub(super) fn containers(template: &Value) -> [Value; 2] {
    let containers = elements(&template["spec"], "containers");
    [joined(containers, "name").into(), joined(containers, "image").into()]
}

//! `steer simulate` and what people give it. It needs no cluster.

use std::path::Path;

use crate::{steer, steer_fails};

/// The folder of the examples for simulations.
fn examples() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/simulate").to_owned()
}

fn nowhere() -> &'static Path {
    Path::new("/nowhere")
}

#[test]
fn a_simulation_answers_in_tables_json_and_a_picture() {
    let (folder, dir) = (examples(), tempfile::tempdir().expect("a temporary folder"));
    let picture = dir.path().join("timeline.svg");
    let file = |name: &str| format!("{folder}/{name}");
    let (web, nodes, jobs) = (file("web.yaml"), file("nodes.yaml"), file("jobs.csv"));
    let common =
        ["simulate", "-f", &web, "--nodes", &nodes, "--trace", &jobs, "--fail", "large-1@30m+1h", "--seed", "7"];
    let svg = picture.display().to_string();
    let table = steer(nowhere(), &[&common[..], &["--svg", &svg]].concat());
    for said in ["Simulated   95m", "large-1   30m", "6 Insufficient cpu", "seed 7"] {
        assert!(table.stdout.contains(said), "{said}: {table}");
    }
    let picture = std::fs::read_to_string(&picture).expect("a picture");
    assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"), "{picture}");
    let again = steer(nowhere(), &[&common[..], &["-o", "json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&again.stdout).expect("JSON");
    let checksum = json["placementChecksum"].as_str().expect("a checksum");
    assert!(table.stdout.contains(checksum), "the same seed, the same placement: {checksum}\n{}", table.stdout);
    assert_eq!((&json["pods"]["waiting"], &json["failures"][0]["node"]), (&1.into(), &"large-1".into()));
}

#[test]
fn what_cannot_be_simulated_is_refused_with_its_place() {
    let (folder, dir) = (examples(), tempfile::tempdir().expect("a temporary folder"));
    let file = |name: &str| format!("{folder}/{name}");
    let (web, nodes, jobs) = (file("web.yaml"), file("nodes.yaml"), file("jobs.csv"));
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let torn = write("torn.yaml", "nodes:\n- {name: a, cpu: 4");
    let empty = write("empty.yaml", "nodes: []\n");
    let manifest = write("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: 7}\n");
    let late = write("late.csv", "name,creation_time\na,0\nb,soon\n");
    for (args, words) in [
        (&["--nodes", &nodes][..], &["--filename"][..]),
        (&["-f", &web], &["--nodes"]),
        (&["-f", &web, "--nodes", "/nowhere/nodes.yaml"], &["/nowhere/nodes.yaml"]),
        (&["-f", &web, "--nodes", &torn], &["torn.yaml", "line 2"]),
        (&["-f", &web, "--nodes", &empty], &["empty.yaml", "there is no node"]),
        (&["-f", &web, "--nodes", &web], &["neither a Node nor a list `nodes:`"]),
        (&["-f", &manifest, "--nodes", &nodes], &["pod.yaml", "spec.containers"]),
        (&["--trace", &late, "--nodes", &nodes], &["late.csv", "line 3", "creation_time is \"soon\""]),
        (&["--trace", &jobs, "--nodes", &nodes, "--fail", "large-9@1m"], &["no such node; there are gpu, large-1"]),
        (&["--trace", &jobs, "--nodes", &nodes, "--fail", "large-1"], &["NODE@TIME"]),
        (&["--trace", &jobs, "--nodes", &nodes, "--for", "0"], &["nothing can happen in no time"]),
        (&["--trace", &jobs, "--nodes", &nodes, "--svg", "/nowhere/t.svg"], &["cannot write /nowhere/t.svg"]),
    ] {
        steer_fails(nowhere(), &[&["simulate"], args].concat(), words);
    }
}

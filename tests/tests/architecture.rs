//! Holds the rules of the house over the tree as it is. That each rule fails when it is broken is tested beside it.

use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use steersman_tests::tree::{self, File};
use steersman_tests::{arrows, tree::root};

fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--locked", "--format-version", "1"])
            .current_dir(root())
            .output()
            .expect("cargo starts");
        assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
    })
}

fn files() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| tree::files(&root()).expect("the tree is readable"))
}

#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_crates_keep_the_arrows() {
    assert_none(&arrows::wrong_arrows(metadata()));
}

#[test]
fn the_domain_reaches_no_executor_and_no_system() {
    assert_none(&arrows::domain_reach(metadata()));
}

#[test]
fn every_crate_has_the_licence_and_says_what_it_is() {
    assert_none(&arrows::wrong_manifests(metadata()));
}

#[test]
fn every_crate_takes_the_lints() {
    assert_none(&tree::without_lints(files()));
}

#[test]
fn the_top_level_holds_only_what_the_design_names() {
    assert_none(&tree::strangers(&tree::top_names(&root()).expect("the root is readable")));
}

#[test]
fn no_file_is_too_long() {
    assert_none(&tree::too_long(files()));
}

#[test]
fn unsafe_stands_only_in_the_runtime() {
    assert_none(&tree::stray_unsafe(files()));
}

#[test]
fn no_test_is_left_out_but_for_root() {
    assert_none(&tree::skipped_tests(files()));
}

#[test]
fn every_example_is_a_list_of_objects() {
    assert_none(&tree::wrong_examples(files()));
}

#[test]
fn the_code_map_is_true() {
    let map = files().iter().find(|file| file.path == "docs/ARCHITECTURE.md").expect("docs/ARCHITECTURE.md is there");
    assert_none(&tree::untrue_map(&map.text, |path| root().join(path).exists()));
}

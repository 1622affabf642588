//! Tools that are built or fetched once, into `target/tools`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{capture, cargo, run, target_dir};

/// The version of cargo-deny that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// The folder for fetched tools, made if it is not there.
///
/// # Errors
/// When the folder cannot be made.
pub(crate) fn tools_dir() -> Result<PathBuf> {
    let dir = target_dir()?.join("tools");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// A cargo-deny of the pinned version: the one on `PATH` if it is that, else one built once into `target/tools`.
///
/// # Errors
/// When it must be built and cannot be.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    let own = tools_dir()?.join("bin/cargo-deny");
    for candidate in [PathBuf::from("cargo-deny"), own.clone()] {
        let version = capture(Command::new(&candidate).arg("--version")).unwrap_or_default();
        if version.split_whitespace().nth(1) == Some(CARGO_DENY) {
            return Ok(candidate);
        }
    }
    println!("   building cargo-deny {CARGO_DENY} once into {}", own.display());
    let tools = tools_dir()?;
    let mut install = cargo(&["install", "--quiet", "--locked", "cargo-deny", "--version", CARGO_DENY, "--force"])?;
    // Its own target folder, so that the build neither waits for the workspace's lock nor fills its cache.
    install.arg("--root").arg(&tools).arg("--target-dir").arg(tools.join("build"));
    run(&mut install)
        .context("cargo-deny cannot be built; install it by hand, or give this machine a crate registry")?;
    std::fs::remove_dir_all(tools.join("build")).context("cannot remove the build folder of cargo-deny")?;
    Ok(own)
}

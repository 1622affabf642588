//! Steersman's tasks: `cargo xtask verify | fix | test | vm | schema`.
//!
//! `verify` only reads the tree, `fix` only writes what a tool can write, `test` fetches the tools that the tests drive
//! and runs every test of the workspace, `vm` runs some of them in an emulated machine, `schema` generates the field tables. Nothing here needs more than cargo, and on
//! a machine without kubectl 1.20 Debian's `apt-get` and `dpkg-deb`.
//!
//! It does not decide what is right: rules about the tree live in `tests/tests/architecture.rs` and in the lint files.

// A task runner speaks on stdout.
#![allow(clippy::print_stdout)]

mod kubectl;
mod run;
mod schema;
mod suite;
mod tally;
mod tools;
mod verify;
mod vm;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK

  verify            format, lints, small crate, documentation, licences, field tables: reads only
  fix               generate the field tables, format, and mend what the tools can mend
  test [--filter NAME]
                    fetch kubectl, build `steer`, run every unit, integration and documentation test
  vm                run the tests of the process runtime in an emulated machine with control groups of version 2
  schema [--check]  generate the field tables of the served kinds, or only say whether they are up to date";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["verify"] => verify::verify(),
        ["fix"] => verify::fix(),
        ["test"] => suite::test(None),
        ["test", "--filter", name] => suite::test(Some(name)),
        ["vm"] => vm::vm(),
        ["schema"] => schema::run(false),
        ["schema", "--check"] => schema::run(true),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [] => Err(anyhow::anyhow!("no task named\n{USAGE}")),
        other => Err(anyhow::anyhow!("cannot read {:?}\n{USAGE}", other.join(" "))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! The `steer` binary.

mod client;
mod example;

use clap::Parser as _;
use std::process::ExitCode;

#[derive(Debug, clap::Parser)]
#[command(name = "steer", version, about = "An orchestrator in one binary")]
enum Steer {
    /// Run a small built-in workload
    #[command(subcommand)]
    Example(example::Example),
}

fn main() -> ExitCode {
    let Steer::Example(example) = Steer::parse();
    match example::run(example) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! The command line.

use crate::{
    agent, apply, delete, describe, events, example, get, logs, message, rollout, scale, server, simulate, token, top,
    up, version, why,
};
use clap::{Parser, Subcommand};
use clap_complete::Shell;

/// An orchestrator in one binary: it speaks the Kubernetes API, and runs functions, processes and containers as pods
#[derive(Debug, Parser)]
#[command(name = "steer", version, propagate_version = false, max_term_width = 100, subcommand_required = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole cluster in this process
    Up(Box<up::Up>),
    /// Run the API and the controllers, without a node
    Server(server::Server),
    /// Run a node that joins a cluster
    Agent(Box<agent::Agent>),
    /// Make join tokens for nodes
    #[command(subcommand)]
    Token(token::Token),
    /// Bring the cluster to what manifests say
    Apply(Box<apply::Apply>),
    /// Show objects
    Get(Box<get::Get>),
    /// Show all of an object, for people
    Describe(Box<describe::Describe>),
    /// Delete objects
    Delete(Box<delete::Delete>),
    /// Say how many replicas there should be
    Scale(Box<scale::Scale>),
    /// Follow, list and steer rollouts
    #[command(subcommand)]
    Rollout(Box<rollout::Rollout>),
    /// Send a value to a pod or service of functions and print the answer
    Ask(Box<message::Message>),
    /// Send a value to a pod or service of functions
    Send(Box<message::Message>),
    /// Show what containers print
    Logs(Box<logs::Logs>),
    /// Show what happened
    Events(Box<events::Events>),
    /// Show what pods or nodes use
    Top(Box<top::Top>),
    /// Tell why an object is as it is
    Why(Box<why::Why>),
    /// Tell what would happen: run manifests, jobs and failures on nodes that are not there, in virtual time
    Simulate(Box<simulate::Simulate>),
    /// Show the versions of this program and of the server
    Version(version::Version),
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Run a small built-in workload
    #[command(subcommand)]
    Example(Box<example::Example>),
}

/// A completion script.
pub(crate) fn completion(shell: Shell) -> String {
    use clap::CommandFactory as _;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "steer", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use clap::ValueEnum as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_shell_has_its_completion() {
        for shell in Shell::value_variants() {
            let script = completion(*shell);
            assert!(script.contains("rollout"), "{shell}");
        }
    }

    #[test]
    fn usual_lines_are_understood() {
        for line in [
            "up -f a.yaml --nodes 2",
            "get deploy,rs,pod -A -o wide -l a=b",
            "get pods -w",
            "describe pod web",
            "delete pod web --grace-period=0 --wait=false --cascade orphan",
            "delete -f a.yaml --wait",
            "scale deploy/web --replicas=3",
            "rollout undo deploy/web --to-revision=2",
            "rollout status deploy/web --timeout 30s --watch=false",
            "logs -f web --tail=-1 -c c",
            "logs -l app=web --prefix",
            "events --for pod/web",
            "why pod/web",
            "ask service/echo {} --timeout 500ms",
            "send echo -5 -n other",
            "simulate -f a.yaml --nodes n.yaml --trace j.csv --fail n-1@10m --fail n-2@1m+30s --for 2h -o json --svg t.svg",
            "version --client",
            "completion bash",
            "agent --server https://h:1 --token a.b.c",
            "token create --ttl 1h",
            "example http --port 8080",
        ] {
            let words = std::iter::once("steer").chain(line.split_whitespace());
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn bad_lines_are_refused_with_code_2() {
        for line in [
            "",
            "get",
            "get pods -A -n x",
            "scale deploy/web",
            "scale deploy/web --replicas=-1",
            "apply",
            "logs",
            "delete pod a -f b",
            "example crash",
            "example http --port 70000",
            "example burn-cpu --threads 0",
            "example crash --after -1",
            "simulate -f a.yaml",
            "simulate --nodes n.yaml",
            "simulate -f a.yaml --nodes n.yaml --fail n-1",
            "simulate -f a.yaml --nodes n.yaml --heartbeat 10ms",
            "completion sh",
        ] {
            let words = std::iter::once("steer").chain(line.split_whitespace());
            match Cli::try_parse_from(words) {
                Ok(parsed) => panic!("{line}: {parsed:?}"),
                Err(error) => assert_eq!(error.exit_code(), 2, "{line}"),
            }
        }
    }

    #[test]
    fn a_number_below_zero_is_a_number_not_an_option() {
        for line in ["--replicas -1", "--replicas 1 --current-replicas -1"] {
            let words = ["steer", "scale", "deploy/web"].into_iter().chain(line.split_whitespace());
            let error = Cli::try_parse_from(words).expect_err("below zero").to_string();
            assert!(error.contains("-1 is not in 0.."), "{error}");
        }
    }

    /// Every list of containers in an object, at any depth.
    fn containers(value: &serde_json::Value, found: &mut Vec<serde_json::Value>) {
        for (name, inner) in value.as_object().into_iter().flatten() {
            if name == "containers" || name == "initContainers" {
                found.extend(inner.as_array().into_iter().flatten().cloned());
            }
            containers(inner, found);
        }
    }

    #[test]
    fn the_examples_name_known_fields_and_run_known_workloads() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
        let documents = crate::files::read(&[folder], false).expect("the examples can be read");
        let mut workloads = 0;
        for document in &documents {
            let gvk = steersman_kubernetes::Gvk::of(&document.object);
            let problems = steersman_kubernetes::check_fields(gvk, &document.object);
            assert!(problems.is_empty(), "{}: {problems:?}", document.from);
            let mut found = Vec::new();
            containers(&document.object, &mut found);
            for container in found {
                let words = |field: &str| container[field].as_array().cloned().unwrap_or_default();
                let line: Vec<_> = [words("command"), words("args")].concat();
                let line = line.iter().map(|word| word.as_str().expect("words are text"));
                // As the node does it before it starts the program.
                let line: Vec<_> = line.map(|word| word.replace("$(SHOP_API_SERVICE_HOST)", "127.0.0.1")).collect();
                let line: Vec<_> = line.iter().map(|word| word.replace("$(SHOP_API_SERVICE_PORT)", "8080")).collect();
                if line[0] == "steer" {
                    workloads += 1;
                    let read = Cli::try_parse_from(&line);
                    assert!(read.is_ok(), "{}: {line:?}: {}", document.from, read.expect_err("refused"));
                }
            }
        }
        assert!(workloads >= 8, "only {workloads} workloads were found");
    }
}

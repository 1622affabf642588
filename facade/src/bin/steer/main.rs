//! The `steer` binary: a cluster, and a client for people.

// A closed standard error must end nothing: see `out::note`.
#![warn(clippy::print_stderr)]

mod agent;
mod apply;
mod cli;
mod client;
mod delete;
mod describe;
mod events;
mod example;
mod files;
mod get;
mod logs;
mod message;
mod out;
mod rollout;
mod scale;
mod server;
mod simulate;
mod stop;
mod table;
mod token;
mod top;
mod up;
mod version;
mod why;

use clap::Parser as _;
use cli::{Cli, Command};
use std::fmt;
use std::future::Future;
use std::process::ExitCode;

/// A failure that was told already.
#[derive(Debug)]
struct Told(usize);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failures", self.0)
    }
}

impl std::error::Error for Told {}

/// Tells all failures but a single one, which is given back to be told by `main`.
///
/// # Errors
/// When there is any failure.
fn fail_with(mut failures: Vec<anyhow::Error>) -> anyhow::Result<()> {
    if failures.len() > 1 {
        failures.iter().for_each(|failure| out::note(words(failure)));
        return Err(Told(failures.len()).into());
    }
    failures.pop().map_or(Ok(()), Err)
}

/// A failure in one line; refusals by the server as kubectl words them.
fn words(error: &anyhow::Error) -> String {
    match error.downcast_ref::<client::Refused>() {
        Some(refused) => {
            let refused = refused.to_string();
            let around: Vec<_> = error.chain().map(ToString::to_string).filter(|text| *text != refused).collect();
            if around.is_empty() { refused } else { format!("{refused} ({})", around.join(": ")) }
        }
        None => format!("error: {}", causes(error)),
    }
}

/// An error and its causes in one line; a cause that an outer message tells already is not told again.
fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Whether whoever read the output has enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    };
    error.chain().any(broken)
}

fn main() -> ExitCode {
    // First, while there is one thread: this program is also what holds the processes of pods.
    steersman::init();
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<Told>() {
                out::note(words(&error));
            }
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Example(example) => return example::run(*example),
        Command::Up(up) => up::run_up(up.options()?),
        Command::Server(server) => server::run_server(&server.options()?),
        Command::Agent(agent) => agent::run_agent(agent.options()?),
        Command::Token(token::Token::Create(create)) => out::say(token::create_token(&create.options()?)?),
        Command::Simulate(what) => simulate::run(*what),
        Command::Completion { shell } => out::print(&cli::completion(shell)),
        Command::Apply(apply) => client(apply::run(*apply)),
        Command::Get(get) => client(get::run(*get)),
        Command::Describe(describe) => client(describe::run(*describe)),
        Command::Delete(delete) => client(delete::run(*delete)),
        Command::Scale(scale) => client(scale::run(*scale)),
        Command::Rollout(rollout) => client(rollout::run(*rollout)),
        Command::Ask(message) => client(message::ask(*message)),
        Command::Send(message) => client(message::send(*message)),
        Command::Logs(logs) => client(logs::run(*logs)),
        Command::Events(events) => client(events::run(*events)),
        Command::Top(top) => client(top::run(*top)),
        Command::Why(why) => client(why::run(*why)),
        Command::Version(version) => client(version::run(version)),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a command of the client on this thread.
fn client(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(Box::pin(work))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    fn refused() -> anyhow::Error {
        client::Refused { code: 404, reason: "NotFound".to_owned(), message: "pods \"a\" not found".to_owned() }.into()
    }

    #[test]
    fn refusals_come_first_and_errors_whole() {
        assert_eq!(words(&refused()), "Error from server (NotFound): pods \"a\" not found");
        let within = Err::<(), _>(refused()).context("applying a.yaml").expect_err("refused");
        assert_eq!(words(&within), "Error from server (NotFound): pods \"a\" not found (applying a.yaml)");
        assert_eq!(words(&anyhow::anyhow!("cause").context("what")), "error: what: cause");
        assert_eq!(words(&anyhow::anyhow!("cause").context("what: cause")), "error: what: cause");
    }

    #[test]
    fn one_failure_is_itself_and_several_are_counted() {
        assert!(fail_with(Vec::new()).is_ok());
        assert!(fail_with(vec![refused()]).expect_err("failed").is::<client::Refused>());
        assert!(fail_with(vec![refused(), refused()]).expect_err("failed").is::<Told>());
    }

    #[test]
    fn a_reader_that_has_enough_is_no_failure() {
        let broken = anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(is_broken_pipe(&broken.context("printing")) && !is_broken_pipe(&refused()));
    }
}

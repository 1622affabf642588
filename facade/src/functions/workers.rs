//! Small functions that come with Steersman: to try things out, and as examples of how functions are written.

use super::{Context, RegisterError, Registry};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use steersman_domain::ports::MessageError;

/// Registers `workers/echo_worker`, `processor_worker`, `aggregator_worker`, `generator_worker` and `calculator_worker`.
///
/// # Errors
/// When one of the names is taken.
pub fn register(registry: &Registry) -> Result<(), RegisterError> {
    registry.register("workers/echo_worker", echo)?;
    registry.register("workers/processor_worker", process)?;
    registry.register("workers/aggregator_worker", aggregate)?;
    registry.register("workers/generator_worker", generate)?;
    registry.register("workers/calculator_worker", calculate)
}

/// A value as people read it: texts without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Echo {
    prefix: String,
}

impl Default for Echo {
    fn default() -> Self {
        Echo { prefix: "ECHO".into() }
    }
}

/// Answers `PREFIX: VALUE`.
async fn echo(mut ctx: Context, parameters: Echo) {
    let prefix = parameters.prefix;
    ctx.answer_each(|value: Value| {
        let answer = format!("{prefix}: {}", plain(&value));
        async move { Ok::<String, String>(answer) }
    })
    .await;
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    #[default]
    Uppercase,
    Lowercase,
    Reverse,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Process {
    operation: Operation,
    /// A pod, or else a service.
    forward_to: Option<String>,
}

/// Changes texts, answers them, and sends them on.
async fn process(mut ctx: Context, parameters: Process) {
    while let Some(message) = ctx.next().await {
        let (value, reply) = match message.open::<Value>() {
            Ok(opened) => opened,
            Err(error) => {
                ctx.log(error);
                continue;
            }
        };
        let text = plain(&value);
        let changed = match parameters.operation {
            Operation::Uppercase => text.to_uppercase(),
            Operation::Lowercase => text.to_lowercase(),
            Operation::Reverse => text.chars().rev().collect(),
        };
        if let Some(to) = &parameters.forward_to
            && let Err(error) = forward(&ctx, to, &changed).await
        {
            ctx.log(format!("{changed:?} is lost: {error}"));
        }
        reply.answer(changed);
    }
}

/// Sends to a pod of this name, or where there is none, to a service.
async fn forward(ctx: &Context, to: &str, value: &str) -> Result<(), MessageError> {
    if to.contains('/') {
        return ctx.send(to, value.to_owned()).await;
    }
    match ctx.send(&format!("pod/{to}"), value.to_owned()).await {
        Err(MessageError::NotFound(_)) => ctx.send(&format!("service/{to}"), value.to_owned()).await,
        done => done,
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Aggregate {
    window_size: usize,
}

impl Default for Aggregate {
    fn default() -> Self {
        Aggregate { window_size: 5 }
    }
}

/// Gathers values; with each full window it reports how many there were, which, and a sample.
async fn aggregate(mut ctx: Context, parameters: Aggregate) -> Result<(), String> {
    if parameters.window_size == 0 {
        return Err("window_size is 0: a window holds at least one message".into());
    }
    let mut window: Vec<Value> = Vec::new();
    while let Some(message) = ctx.next().await {
        let Ok((value, reply)) = message.open::<Value>() else { continue };
        window.push(value);
        if window.len() < parameters.window_size {
            reply.answer(Value::Null);
            continue;
        }
        let messages = std::mem::take(&mut window);
        let report = json!({"count": messages.len(), "sample": messages.first(), "messages": messages});
        ctx.log(&report);
        reply.answer(report);
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Generate {
    /// A service, or else a pod.
    target: String,
    /// Seconds between two messages.
    #[serde(default = "two")]
    interval: f64,
    #[serde(default = "ten")]
    count: u64,
}

fn two() -> f64 {
    2.0
}

fn ten() -> u64 {
    10
}

/// Sends `message-N-RANDOM` to a service or pod.
async fn generate(ctx: Context, parameters: Generate) -> Result<(), String> {
    let interval = Duration::try_from_secs_f64(parameters.interval);
    let interval = interval.map_err(|error| format!("interval is {}: {error}", parameters.interval))?;
    for number in 0..parameters.count {
        let text = format!("message-{number}-{}", 1000 + ctx.random() % 9000);
        let target = &parameters.target;
        let sent = match ctx.send(&format!("service/{target}"), text.clone()).await {
            Err(MessageError::NotFound(_)) => ctx.send(&format!("pod/{target}"), text.clone()).await,
            done => done,
        };
        match sent {
            Ok(()) => ctx.log(format!("sent {text} to {target}")),
            Err(error) => ctx.log(format!("{text} is lost: {error}")),
        }
        if !ctx.sleep(interval).await {
            break;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Sum {
    operation: String,
    operands: Vec<f64>,
}

/// Answers the sum, product or average of numbers; `null` for what it cannot work out.
async fn calculate(mut ctx: Context, (): ()) {
    ctx.answer_each(|asked: Sum| async move {
        let operands = &asked.operands;
        let answer = match asked.operation.as_str() {
            "sum" => Some(operands.iter().sum::<f64>()),
            "product" => Some(operands.iter().product()),
            "average" if !operands.is_empty() => Some(operands.iter().sum::<f64>() / operands.len() as f64),
            _ => None,
        };
        Ok::<Option<f64>, String>(answer)
    })
    .await;
}

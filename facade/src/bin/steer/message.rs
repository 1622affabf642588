//! `steer ask` and `steer send`: messages to pods that are functions, and to services of them.

use crate::client::{Api, Call, TargetFlags};
use crate::out;
use anyhow::Context as _;
use clap::Args;
use serde_json::Value;
use std::io::Read as _;
use std::time::Duration;
use steersman::domain::ports::{Recipient, RecipientKind};

/// The arguments of `ask` and `send`.
#[derive(Debug, Args)]
pub(crate) struct Message {
    /// NAME, pod/NAME or service/NAME
    #[arg(value_name = "WHOM")]
    to: String,
    /// A JSON value; what is none is taken as a text, `-` reads it from standard input, and without it `null` is sent
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: Option<String>,
    /// How long it may take, such as `500ms`, `30s` or `2m`
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = steersman::domain::spans::read)]
    timeout: Duration,
    #[command(flatten)]
    target: TargetFlags,
}

/// Asks, and prints the answer; texts as they are.
///
/// # Errors
/// As the server refuses, and when there is no answer in time.
pub(crate) async fn ask(message: Message) -> anyhow::Result<()> {
    let answer = deliver(&message, "ask").await?;
    out::say(match &answer {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other)?,
    })
}

/// Sends; says so once the message is in the mailbox.
///
/// # Errors
/// As the server refuses, and when there is no room in time.
pub(crate) async fn send(message: Message) -> anyhow::Result<()> {
    deliver(&message, "send").await?;
    out::say(format!("sent to {}", message.to))
}

async fn deliver(message: &Message, how: &'static str) -> anyhow::Result<Value> {
    let api = Api::new(&message.target.client)?;
    let namespace = message.target.namespace(&api.namespace);
    let to = Recipient::parse(&message.to, &namespace).map_err(anyhow::Error::msg)?;
    let plural = if to.kind == RecipientKind::Service { "services" } else { "pods" };
    let path = format!("/api/v1/namespaces/{namespace}/{plural}/{}/{how}", to.name);
    let call = Call::post(path, &value(message.value.as_deref())?);
    api.json(call.query("withinMilliseconds", message.timeout.as_millis().to_string())).await
}

/// The value as it is meant.
fn value(text: Option<&str>) -> anyhow::Result<Value> {
    let mut read = String::new();
    let text = match text {
        None => return Ok(Value::Null),
        Some("-") => {
            std::io::stdin().read_to_string(&mut read).context("standard input")?;
            read.trim_end_matches('\n')
        }
        Some(text) => text,
    };
    Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_json_or_else_texts() {
        for (text, wanted) in [
            ("7", json!(7)),
            ("hello", json!("hello")),
            ("{\"a\": 1}", json!({"a": 1})),
            ("{a}", json!("{a}")),
            ("\"7\"", json!("7")),
            ("-5", json!(-5)),
        ] {
            assert_eq!(value(Some(text)).expect("a value"), wanted);
        }
        assert_eq!(value(None).expect("a value"), Value::Null);
    }
}

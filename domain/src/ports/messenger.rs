//! Messages to pods that are functions of this process: a value goes in, and where one was asked for, an answer comes out.

use crate::Str;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// What a message can be addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecipientKind {
    /// One pod by name.
    Pod,
    /// One of the service's ready pods takes the message.
    Service,
}

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recipient {
    /// Whether it is a pod or a service.
    pub kind: RecipientKind,
    /// Its namespace.
    pub namespace: Str,
    /// Its name.
    pub name: Str,
}

impl Recipient {
    /// A pod.
    pub fn pod(namespace: &str, name: &str) -> Self {
        Recipient { kind: RecipientKind::Pod, namespace: namespace.into(), name: name.into() }
    }

    /// A service.
    pub fn service(namespace: &str, name: &str) -> Self {
        Recipient { kind: RecipientKind::Service, namespace: namespace.into(), name: name.into() }
    }

    /// Reads `NAME`, `pod/NAME` or `service/NAME` (`po`, `pods`, `svc` and `services` too), in this namespace.
    ///
    /// # Errors
    /// What is wrong with the text, and what would be right.
    pub fn parse(text: &str, namespace: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once('/') {
            None => (RecipientKind::Pod, text),
            Some(("pod" | "pods" | "po", name)) => (RecipientKind::Pod, name),
            Some(("service" | "services" | "svc", name)) => (RecipientKind::Service, name),
            Some((other, _)) => {
                return Err(format!("a message cannot be sent to a {other:?}: write NAME, pod/NAME or service/NAME"));
            }
        };
        if name.is_empty() || name.contains('/') {
            return Err(format!("{text:?} names nobody: write NAME, pod/NAME or service/NAME"));
        }
        Ok(Recipient { kind, namespace: namespace.into(), name: name.into() })
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            RecipientKind::Pod => "pod",
            RecipientKind::Service => "service",
        };
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}

/// Why a message was not delivered, or not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// No function of this process goes by that name.
    #[error("{0} is not known to the functions of this process")]
    NotFound(Recipient),
    /// It is known, but does not take messages now: it starts, ends, or waits for its next start.
    #[error("{0} takes no messages now: no function of it is running in this process")]
    NotReady(Recipient),
    /// The service has no ready pod that is a function of this process.
    #[error("{0} has no ready function in this process")]
    NoEndpoint(Recipient),
    /// The mailbox had no room in time.
    #[error("the mailbox of {to} was full for {} ms: it works too slowly, or is stuck", .waited.as_millis())]
    Full {
        /// Who was to be told.
        to: Recipient,
        /// How long it was tried.
        waited: Duration,
    },
    /// The answer did not come in time.
    #[error("{to} did not answer within {} ms", .waited.as_millis())]
    Deadline {
        /// Who was asked.
        to: Recipient,
        /// How long it was waited.
        waited: Duration,
    },
    /// Asking itself, a function would wait for itself for ever.
    #[error("{0} cannot ask itself: it would wait for its own answer")]
    ToItself(Recipient),
    /// The function ended before it took the message.
    #[error("the function ended before it took the message")]
    Ended,
    /// The function panicked over it.
    #[error("the function panicked while it held the message; its log and its last state tell where")]
    Panicked,
    /// The function let the message go without an answer, or ended while it held it.
    #[error("the function let the message go without an answer")]
    Unanswered,
    /// The function answered with an error.
    #[error("{0}")]
    Refused(String),
    /// The value, or the answer, has not the form that the other side wants.
    #[error("{0}")]
    Form(String),
}

/// Delivers messages to functions.
///
/// `within` bounds the whole call: the wait for room in the mailbox and for the answer. A message that was taken may have
/// had its effect although the call failed; nothing is delivered twice. Messages of one caller to one pod arrive in the
/// order in which they were sent. Dropping the future of `ask` gives up the answer, not the work.
#[async_trait::async_trait]
pub trait Messenger: fmt::Debug + Send + Sync + 'static {
    /// Delivers a value and waits for the answer.
    async fn ask(&self, to: &Recipient, value: Value, within: Duration) -> Result<Value, MessageError>;

    /// Delivers a value; answers once it is in the mailbox.
    async fn send(&self, to: &Recipient, value: Value, within: Duration) -> Result<(), MessageError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_read_as_people_write_them() {
        for (text, expected) in [
            ("echo", Ok(Recipient::pod("d", "echo"))),
            ("po/echo", Ok(Recipient::pod("d", "echo"))),
            ("svc/echo", Ok(Recipient::service("d", "echo"))),
            ("service/echo", Ok(Recipient::service("d", "echo"))),
        ] {
            assert_eq!(Recipient::parse(text, "d"), expected, "{text}");
        }
        for bad in ["", "deployment/echo", "service/", "pod/a/b"] {
            let error = Recipient::parse(bad, "d").expect_err(bad);
            assert!(error.contains("service/NAME"), "{error}");
        }
    }
}

//! What travels between functions: a value of any type that can be written as JSON. Where both sides mean the same type it
//! is handed over as it is; only where they differ, or one side is the API, does it become JSON. Nothing here waits.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::any::{Any, type_name};
use std::fmt;
use steersman_domain::ports::MessageError;
use tokio::sync::oneshot;

/// What can be a message or an answer.
trait Payload: Any + Send {
    fn json(&self) -> Result<Value, serde_json::Error>;
}

impl<T: Serialize + Any + Send> Payload for T {
    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

/// A value on its way.
pub(crate) struct Body(Box<dyn Payload>);

impl Body {
    pub(crate) fn new<T: Serialize + Any + Send>(value: T) -> Self {
        Body(Box::new(value))
    }

    fn is<T: Any>(&self) -> bool {
        let any: &dyn Any = &*self.0;
        any.is::<T>()
    }

    /// The value as another type; `what` names it in the error.
    pub(crate) fn open<T: DeserializeOwned + Any>(self, what: &str) -> Result<T, MessageError> {
        let form = |error: &dyn fmt::Display| MessageError::Form(format!("{what} is no {}: {error}", short::<T>()));
        let value = if self.is::<T>() || self.is::<Value>() {
            let any: Box<dyn Any> = self.0;
            match any.downcast::<T>() {
                Ok(value) => return Ok(*value),
                Err(any) => *any.downcast::<Value>().expect("it is one of the two"),
            }
        } else {
            self.0.json().map_err(|error| form(&error))?
        };
        serde_path_to_error::deserialize(value).map_err(|error| form(&error))
    }

    fn json(&self) -> Result<Value, MessageError> {
        self.0.json().map_err(|error| MessageError::Form(format!("the value cannot be written as JSON: {error}")))
    }
}

/// The name of a type without the path to it.
pub(crate) fn short<T>() -> &'static str {
    let name = type_name::<T>();
    let path = name.split('<').next().unwrap_or(name);
    path.rfind("::").map_or(name, |at| &name[at + 2..])
}

pub(crate) type Answer = Result<Body, MessageError>;

/// A message in the hands of the function that took it.
///
/// Dropping one that wants an answer answers with an error.
pub struct Message {
    body: Body,
    reply: Reply,
}

impl Message {
    pub(crate) fn new(body: Body, sender: Option<oneshot::Sender<Answer>>) -> Self {
        Message { body, reply: Reply { sender, taken: false } }
    }

    pub(crate) fn taken(mut self) -> Self {
        self.reply.taken = true;
        self
    }

    /// Whether somebody waits for an answer.
    pub fn wants_answer(&self) -> bool {
        self.reply.is_wanted()
    }

    /// Takes the message apart. No copy is made when it was sent as a `T`; from other types it goes by way of JSON.
    ///
    /// # Errors
    /// [`MessageError::Form`] when the value is no `T`: which field, and why. Whoever asked has been answered so already.
    pub fn open<T: DeserializeOwned + Any>(self) -> Result<(T, Reply), MessageError> {
        let Message { body, mut reply } = self;
        match body.open("the message") {
            Ok(value) => Ok((value, reply)),
            Err(error) => {
                reply.finish(Err(error.clone()));
                Err(error)
            }
        }
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// [`MessageError::Form`] when it cannot be written so (a map whose keys are no texts, say).
    pub fn json(&self) -> Result<Value, MessageError> {
        self.body.json()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("value", &self.json()).field("wants_answer", &self.wants_answer()).finish()
    }
}

/// Where the answer goes. Dropping it unused answers with an error.
pub struct Reply {
    /// `None`: nobody asked, or it was answered.
    sender: Option<oneshot::Sender<Answer>>,
    /// A function has taken the message out of its mailbox.
    taken: bool,
}

impl Reply {
    /// Whether somebody still waits for an answer.
    pub fn is_wanted(&self) -> bool {
        self.sender.as_ref().is_some_and(|sender| !sender.is_closed())
    }

    /// Answers. What nobody waits for is dropped.
    pub fn answer<T: Serialize + Any + Send>(mut self, value: T) {
        if self.sender.is_some() {
            self.finish(Ok(Body::new(value)));
        }
    }

    /// Answers with an error, which the one who asked gets as [`MessageError::Refused`].
    pub fn refuse(mut self, why: impl fmt::Display) {
        if self.sender.is_some() {
            self.finish(Err(MessageError::Refused(why.to_string())));
        }
    }

    fn finish(&mut self, answer: Answer) {
        if let Some(sender) = self.sender.take() {
            // Whoever asked may have given up.
            let _given_up = sender.send(answer);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.sender.is_some() {
            let error = match (std::thread::panicking(), self.taken) {
                (true, true) => MessageError::Panicked,
                (false, true) => MessageError::Unanswered,
                (_, false) => MessageError::Ended,
            };
            self.finish(Err(error));
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("wanted", &self.is_wanted()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sum {
        operands: Vec<f64>,
    }

    /// Equal in form to `Sum`, and another type.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Other {
        operands: Vec<f64>,
    }

    #[test]
    fn the_same_type_is_handed_over_and_others_go_by_json() {
        let sum = Sum { operands: vec![1.0, 2.0] };
        let address = sum.operands.as_ptr();
        let same: Sum = Body::new(sum).open("x").expect("the same type");
        assert_eq!(same.operands.as_ptr(), address, "nothing was copied");
        let other: Other = Body::new(same).open("x").expect("the same form");
        let json: Value = Body::new(other).open("x").expect("JSON");
        assert_eq!(Body::new(json).open::<Sum>("x").expect("the form").operands, [1.0, 2.0]);
    }

    #[test]
    fn a_wrong_form_names_the_field_and_answers_the_asker() {
        let (sender, mut answer) = oneshot::channel();
        let message = Message::new(Body::new(serde_json::json!({"operands": [1, "two"]})), Some(sender)).taken();
        let error = message.open::<Sum>().expect_err("no number");
        assert!(error.to_string().contains("operands[1]") && error.to_string().contains("Sum"), "{error}");
        assert_eq!(answer.try_recv().expect("answered").err(), Some(error));
    }

    #[test]
    fn what_is_let_go_is_answered_with_an_error() {
        let asked = || {
            let (sender, answer) = oneshot::channel();
            (Message::new(Body::new(1), Some(sender)), answer)
        };
        let (message, mut answer) = asked();
        drop(message);
        assert_eq!(answer.try_recv().expect("answered").err(), Some(MessageError::Ended));
        let (message, mut answer) = asked();
        drop(message.taken());
        assert_eq!(answer.try_recv().expect("answered").err(), Some(MessageError::Unanswered));
        let (message, mut answer) = asked();
        let message = message.taken();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = message;
            std::panic::resume_unwind(Box::new("boom"));
        }));
        assert!(panicked.is_err());
        assert_eq!(answer.try_recv().expect("answered").err(), Some(MessageError::Panicked));
    }

    #[test]
    fn types_are_named_without_their_paths() {
        assert_eq!((short::<Sum>(), short::<String>(), short::<u32>()), ("Sum", "String", "u32"));
        assert!(short::<Vec<std::string::String>>().starts_with("Vec<"));
    }
}

//! What travels between functions: a value of any type that can be written as JSON. Where both sides mean the same type it
//! is handed over as it is; only where they differ, or one side is the API, does it become JSON. Nothing here waits.

use super::exchange::Asked;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::any::{Any, type_name};
use std::fmt;
use std::sync::Arc;
use steersman_domain::ports::MessageError;

/// What can be a message or an answer.
pub(super) trait Payload: Any + Send {
    fn json(&self) -> Result<Value, serde_json::Error>;
}

impl<T: Serialize + Any + Send> Payload for T {
    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

/// Moves a value out of its place when it is of that type.
pub(super) fn moved<T: Any>(place: &mut dyn Any) -> Option<T> {
    place.downcast_mut::<Option<T>>().and_then(Option::take)
}

/// Reads a value from JSON; `what` names it in the error.
pub(super) fn read<T: DeserializeOwned>(value: Value, what: &str) -> Result<T, MessageError> {
    serde_path_to_error::deserialize(value).map_err(|error| no::<T>(what, &error))
}

fn no<T>(what: &str, error: &dyn fmt::Display) -> MessageError {
    MessageError::Form(format!("{what} is no {}: {error}", short::<T>()))
}

/// The name of a type without the path to it.
pub(crate) fn short<T>() -> &'static str {
    let name = type_name::<T>();
    let path = name.split('<').next().unwrap_or(name);
    path.rfind("::").map_or(name, |at| &name[at + 2..])
}

enum Body {
    /// Sent: it belongs to nobody else.
    Sent(Box<dyn Payload>),
    /// Asked: it is with the place of the answer.
    Asked,
    /// Nothing but whether it arrives.
    Ping,
}

/// A message in the hands of the function that took it.
///
/// Dropping one that wants an answer answers with an error.
pub struct Message {
    body: Body,
    reply: Reply,
}

impl Message {
    pub(super) fn sent<T: Serialize + Any + Send>(value: T) -> Self {
        Message { body: Body::Sent(Box::new(value)), reply: Reply { asked: None, taken: false } }
    }

    pub(super) fn asked(asked: Arc<dyn Asked>) -> Self {
        Message { body: Body::Asked, reply: Reply { asked: Some(asked), taken: false } }
    }

    /// A question whose answer is that a function took it out of its mailbox.
    pub(super) fn ping(asked: Arc<dyn Asked>) -> Self {
        Message { body: Body::Ping, reply: Reply { asked: Some(asked), taken: false } }
    }

    /// Answers a ping; gives back what is none.
    pub(super) fn unless_ping(self) -> Option<Self> {
        match self.body {
            Body::Sent(_) | Body::Asked => Some(self),
            Body::Ping => {
                self.reply.answer(());
                None
            }
        }
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
        let value = match (body, &reply.asked) {
            (Body::Sent(payload), _) => open(payload),
            (Body::Asked, Some(asked)) => open_question(&**asked),
            (Body::Asked | Body::Ping, _) => Err(MessageError::Ended),
        };
        match value {
            Ok(value) => Ok((value, reply)),
            Err(error) => {
                reply.refuse_with(error.clone());
                Err(error)
            }
        }
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// [`MessageError::Form`] when it cannot be written so (a map whose keys are no texts, say).
    pub fn json(&self) -> Result<Value, MessageError> {
        let json = match (&self.body, &self.reply.asked) {
            (Body::Sent(payload), _) => payload.json(),
            (Body::Asked, Some(asked)) => asked.json(),
            (Body::Asked | Body::Ping, _) => Ok(Value::Null),
        };
        json.map_err(|error| MessageError::Form(format!("the value cannot be written as JSON: {error}")))
    }
}

const MESSAGE: &str = "the message";

fn open<T: DeserializeOwned + Any>(payload: Box<dyn Payload>) -> Result<T, MessageError> {
    let any: &dyn Any = &*payload;
    if !any.is::<T>() && !any.is::<Value>() {
        return read(payload.json().map_err(|error| no::<T>(MESSAGE, &error))?, MESSAGE);
    }
    let any: Box<dyn Any> = payload;
    match any.downcast::<T>() {
        Ok(value) => Ok(*value),
        Err(any) => read(*any.downcast::<Value>().expect("it is one of the two"), MESSAGE),
    }
}

fn open_question<T: DeserializeOwned + Any>(asked: &dyn Asked) -> Result<T, MessageError> {
    let mut same = None::<T>;
    if asked.question(&mut same)
        && let Some(value) = same
    {
        return Ok(value);
    }
    let mut json = None::<Value>;
    let value = match asked.question(&mut json) {
        true => json.unwrap_or(Value::Null),
        false => asked.json().map_err(|error| no::<T>(MESSAGE, &error))?,
    };
    read(value, MESSAGE)
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("value", &self.json()).field("wants_answer", &self.wants_answer()).finish()
    }
}

/// Where the answer goes. Dropping it unused answers with an error.
pub struct Reply {
    /// `None`: nobody asked, or it was answered.
    asked: Option<Arc<dyn Asked>>,
    /// A function has taken the message out of its mailbox.
    taken: bool,
}

impl Reply {
    /// Whether somebody still waits for an answer.
    pub fn is_wanted(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.is_wanted())
    }

    /// Answers. What nobody waits for is dropped.
    pub fn answer<T: Serialize + Any + Send>(mut self, value: T) {
        let Some(asked) = self.asked.take() else { return };
        let mut value = Some(value);
        if asked.answer(&mut value) {
            return;
        }
        match moved::<Value>(&mut value) {
            Some(json) => asked.answer_json(json),
            None => match value.json() {
                Ok(json) => asked.answer_json(json),
                Err(error) => {
                    asked.refuse(MessageError::Form(format!("the answer cannot be written as JSON: {error}")));
                }
            },
        }
    }

    /// Answers with an error, which the one who asked gets as [`MessageError::Refused`].
    pub fn refuse(mut self, why: impl fmt::Display) {
        if self.asked.is_some() {
            self.refuse_with(MessageError::Refused(why.to_string()));
        }
    }

    fn refuse_with(&mut self, error: MessageError) {
        if let Some(asked) = self.asked.take() {
            asked.refuse(error);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.asked.is_some() {
            let error = match (std::thread::panicking(), self.taken) {
                (true, true) => MessageError::Panicked,
                (false, true) => MessageError::Unanswered,
                (_, false) => MessageError::Ended,
            };
            self.refuse_with(error);
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
    use super::super::context::block_on;
    use super::super::exchange::{Answer, Asking};
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

    fn sent<T: DeserializeOwned + Any>(value: impl Serialize + Any + Send) -> Result<T, MessageError> {
        Message::sent(value).open().map(|(value, _)| value)
    }

    /// Asks with one type and answers `with`, after the question was opened as `T`.
    fn asked<T, R>(question: impl Serialize + Any + Send, with: impl FnOnce(T, Reply)) -> Answer<R>
    where
        T: DeserializeOwned + Any,
        R: DeserializeOwned + Any + Send,
    {
        let asking = Asking::<_, R>::new(question);
        let (value, reply) = Message::asked(asking.asked()).taken().open().expect("the form");
        with(value, reply);
        block_on(asking)
    }

    #[test]
    fn the_same_type_is_handed_over_and_others_go_by_json() {
        let sum = Sum { operands: vec![1.0, 2.0] };
        let address = sum.operands.as_ptr();
        let same: Sum = sent(sum).expect("the same type");
        assert_eq!(same.operands.as_ptr(), address, "nothing was copied");
        let other: Other = sent(same).expect("the same form");
        let json: Value = sent(other).expect("JSON");
        assert_eq!(sent::<Sum>(json).expect("the form").operands, [1.0, 2.0]);
    }

    #[test]
    fn questions_and_answers_are_handed_over_and_others_go_by_json() {
        let sum = || Sum { operands: vec![1.0, 2.0] };
        let (question, address) = (sum(), std::cell::Cell::new(std::ptr::null()));
        address.set(question.operands.as_ptr());
        let echo = |sum: Sum, reply: Reply| {
            assert_eq!(sum.operands.as_ptr(), address.get(), "nothing was copied");
            reply.answer(sum);
        };
        let Answer::Same(same) = asked::<Sum, Sum>(question, echo) else { panic!("the same type") };
        assert_eq!(same.operands.as_ptr(), address.get(), "nothing was copied");
        let json = serde_json::json!({"operands": [1.0, 2.0]});
        let echo = |value: Value, reply: Reply| reply.answer(value);
        let Answer::Json(value) = asked::<Value, Sum>(sum(), echo) else { panic!("JSON") };
        assert_eq!(value, json);
        let Answer::Json(value) = asked::<Sum, Value>(json.clone(), |sum, reply| reply.answer(sum)) else {
            panic!("JSON")
        };
        assert_eq!(value, json);
        let Answer::Json(value) = asked::<Other, Sum>(sum(), |other, reply| reply.answer(other)) else {
            panic!("JSON")
        };
        assert_eq!(read::<Sum>(value, "it").expect("the form"), sum());
    }

    #[test]
    fn a_wrong_form_names_the_field_and_answers_the_asker() {
        let asking = Asking::<_, Value>::new(serde_json::json!({"operands": [1, "two"]}));
        let error = Message::asked(asking.asked()).taken().open::<Sum>().expect_err("no number");
        assert!(error.to_string().contains("operands[1]") && error.to_string().contains("Sum"), "{error}");
        assert_eq!(refused(asking), error);
    }

    fn refused<Q: Serialize + Any + Send>(asking: Asking<Q, Value>) -> MessageError {
        match block_on(asking) {
            Answer::Error(error) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_that_cannot_be_written_is_an_error() {
        let table = std::collections::BTreeMap::from([((1, 2), 3)]);
        let asking = Asking::<_, Value>::new(1);
        let (_, reply) = Message::asked(asking.asked()).open::<i32>().expect("a number");
        reply.answer(table);
        assert!(matches!(refused(asking), MessageError::Form(text) if text.contains("JSON")));
    }

    #[test]
    fn what_is_let_go_is_answered_with_an_error() {
        let asked = || {
            let asking = Asking::<_, Value>::new(1);
            (Message::asked(asking.asked()), asking)
        };
        let (message, asking) = asked();
        drop(message);
        assert_eq!(refused(asking), MessageError::Ended);
        let (message, asking) = asked();
        drop(message.taken());
        assert_eq!(refused(asking), MessageError::Unanswered);
        let (message, asking) = asked();
        let message = message.taken();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = message;
            std::panic::resume_unwind(Box::new("boom"));
        }));
        assert!(panicked.is_err());
        assert_eq!(refused(asking), MessageError::Panicked);
    }

    #[test]
    fn who_gives_up_wants_no_answer() {
        let asking = Asking::<_, Value>::new(1);
        let message = Message::asked(asking.asked());
        assert!(message.wants_answer());
        drop(asking);
        assert!(!message.wants_answer());
        let (value, reply) = message.open::<i32>().expect("it is still there");
        assert_eq!(value, 1);
        reply.answer(2);
    }

    #[test]
    fn types_are_named_without_their_paths() {
        assert_eq!((short::<Sum>(), short::<String>(), short::<u32>()), ("Sum", "String", "u32"));
        assert!(short::<Vec<std::string::String>>().starts_with("Vec<"));
    }
}

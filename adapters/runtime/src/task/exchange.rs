//! A question and its answer: one piece of memory that both sides share, with room for either and for who waits. Where both
//! sides mean the same types, values move through it as they are.

use super::message::Payload;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use steersman_domain::ports::MessageError;

/// What comes back.
#[derive(Debug)]
pub(super) enum Answer<R> {
    /// An answer of the type that was asked for.
    Same(R),
    /// An answer of another type.
    Json(Value),
    Error(MessageError),
    /// None came in time.
    Late,
}

struct State<Q, R> {
    question: Option<Q>,
    answer: Option<Answer<R>>,
    asker: Option<Waker>,
    /// Nobody waits any more.
    given_up: bool,
}

/// A question on its way and the place of its answer.
pub(super) struct Exchange<Q, R>(Mutex<State<Q, R>>);

impl<Q, R> Exchange<Q, R> {
    fn finish(&self, answer: Answer<R>) {
        let mut state = self.0.lock();
        let open = state.answer.is_none() && !state.given_up;
        let (asker, surplus) = if open {
            state.answer = Some(answer);
            (state.asker.take(), None)
        } else {
            (None, Some(answer))
        };
        // Wakers and values are others' code: nothing of it runs under the lock.
        drop(state);
        if let Some(asker) = asker {
            asker.wake();
        }
        drop(surplus);
    }
}

/// An exchange as the one who answers sees it, who knows other types, or none.
pub(super) trait Asked: Send + Sync {
    /// Moves the question into an `Option` of its type; `false`: the place is of another type.
    fn question(&self, place: &mut dyn Any) -> bool;
    /// The question as JSON.
    fn json(&self) -> Result<Value, serde_json::Error>;
    /// Moves an answer out of an `Option` of its type; `false`: an answer of another type is wanted.
    fn answer(&self, place: &mut dyn Any) -> bool;
    fn answer_json(&self, value: Value);
    fn refuse(&self, error: MessageError);
    fn expire(&self);
    /// Whether somebody still waits for the answer.
    fn is_wanted(&self) -> bool;
}

impl<Q: Serialize + Any + Send, R: Any + Send> Asked for Exchange<Q, R> {
    fn question(&self, place: &mut dyn Any) -> bool {
        let Some(place) = place.downcast_mut::<Option<Q>>() else { return false };
        *place = self.0.lock().question.take();
        true
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        self.0.lock().question.as_ref().map_or(Ok(Value::Null), Payload::json)
    }

    fn answer(&self, place: &mut dyn Any) -> bool {
        let Some(place) = place.downcast_mut::<Option<R>>() else { return false };
        if let Some(value) = place.take() {
            self.finish(Answer::Same(value));
        }
        true
    }

    fn answer_json(&self, value: Value) {
        self.finish(Answer::Json(value));
    }

    fn refuse(&self, error: MessageError) {
        self.finish(Answer::Error(error));
    }

    fn expire(&self) {
        self.finish(Answer::Late);
    }

    fn is_wanted(&self) -> bool {
        let state = self.0.lock();
        state.answer.is_none() && !state.given_up
    }
}

/// Waits for the answer. Dropping it gives up.
pub(super) struct Asking<Q, R> {
    exchange: Arc<Exchange<Q, R>>,
    answered: bool,
}

impl<Q: Serialize + Any + Send, R: DeserializeOwned + Any + Send> Asking<Q, R> {
    pub(super) fn new(question: Q) -> Self {
        let state = State { question: Some(question), answer: None, asker: None, given_up: false };
        Asking { exchange: Arc::new(Exchange(Mutex::new(state))), answered: false }
    }

    /// The side of the one who answers.
    pub(super) fn asked(&self) -> Arc<dyn Asked> {
        self.exchange.clone()
    }
}

impl<Q, R> Future for Asking<Q, R> {
    type Output = Answer<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer<R>> {
        let this = &mut *self;
        let mut state = this.exchange.0.lock();
        if let Some(answer) = state.answer.take() {
            // Taken once: what comes now is too late.
            state.given_up = true;
            this.answered = true;
            return Poll::Ready(answer);
        }
        let before = match &state.asker {
            Some(asker) if asker.will_wake(context.waker()) => None,
            _ => state.asker.replace(context.waker().clone()),
        };
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl<Q, R> Drop for Asking<Q, R> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let mut state = self.exchange.0.lock();
        state.given_up = true;
        let left = (state.answer.take(), state.asker.take());
        drop(state);
        drop(left);
    }
}

//! One run of a function: polled with its panics caught and its turns counted, or on a thread of its own.

use super::context::Context;
use super::gauge::Gauge;
use super::registry::{BeginAsync, BeginBlocking, Running};
use super::runtime::{Inner, TaskRuntime};
use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context as TaskContext, Poll};
use steersman_domain::ports::{RuntimeError, Task};
use steersman_domain::{Str, Uid};

/// The exit code of a function that returns an error.
const FAILED: i32 = 1;
/// The exit code of a function that panics, as Rust programs have it.
const PANICKED: i32 = 101;
/// The exit code of a function that was killed: 128 + 9.
pub(super) const KILLED: i32 = 137;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) message: String,
}

/// Whose run it is.
pub(super) struct Place {
    pub(super) inner: Weak<Inner>,
    pub(super) pod: Uid,
    pub(super) name: Str,
    pub(super) attempt: u32,
}

impl Place {
    fn end(&self, outcome: Result<Result<(), String>, Box<dyn Any + Send>>) {
        let ended = match outcome {
            Ok(Ok(())) => Ended { code: 0, message: String::new() },
            Ok(Err(message)) => Ended { code: FAILED, message },
            Err(panic) => Ended { code: PANICKED, message: format!("panicked: {}", text(&*panic)) },
        };
        if let Some(inner) = self.inner.upgrade() {
            TaskRuntime::end(&inner, &self.pod, (&self.name, self.attempt), ended);
        }
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Runs an async function to its end, and says how it ended.
pub(super) fn asynchronous(
    begin: BeginAsync,
    context: Context,
    place: Place,
    (gauge, measured): (Arc<Gauge>, bool),
) -> Task {
    Box::pin(async move {
        let outcome = match catch_unwind(AssertUnwindSafe(|| begin(context))) {
            Ok(future) => Caught { future: Some(future), gauge, measured }.await,
            Err(panic) => Err(panic),
        };
        place.end(outcome);
    })
}

/// A future whose panics are its output, and whose polls are counted.
struct Caught {
    future: Option<Running>,
    gauge: Arc<Gauge>,
    /// In virtual time nothing takes any.
    measured: bool,
}

/// The clock that the kernel moves on at its ticks, in nanoseconds: a tenth of the price of the exact one. A turn that is
/// shorter than a tick counts as one, or as none, by whether a tick falls into it, so that many of them sum up to what
/// they took.
fn coarse_nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

impl Future for Caught {
    type Output = Result<Result<(), String>, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(future) = &mut this.future else { return Poll::Pending };
        this.gauge.turn();
        let began = this.measured.then(coarse_nanos);
        // What a panic leaves of the future is dropped at once, never polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        if let Some(began) = began {
            this.gauge.held(coarse_nanos().saturating_sub(began));
        }
        let outcome = match polled {
            Ok(Poll::Pending) => {
                this.gauge.turn();
                return Poll::Pending;
            }
            Ok(Poll::Ready(outcome)) => Ok(outcome),
            Err(panic) => Err(panic),
        };
        // Its destructors may panic as well.
        let rest = this.future.take();
        let dropped = catch_unwind(AssertUnwindSafe(move || drop(rest)));
        this.gauge.turn();
        Poll::Ready(outcome.and_then(|outcome| dropped.map(|()| outcome)))
    }
}

/// Runs a blocking function on a thread of its own.
pub(super) fn blocking(begin: BeginBlocking, context: Context, place: Place) -> Result<(), RuntimeError> {
    let inner = place.inner.clone();
    let (pod, container, attempt) = (place.pod.clone(), place.name.clone(), place.attempt);
    let name: String = format!("fn-{container}").chars().take(15).collect();
    let body = move || place.end(catch_unwind(AssertUnwindSafe(|| begin(context))));
    if let Err(error) = std::thread::Builder::new().name(name).spawn(body) {
        let message = format!("the host has no room for a thread: {error}");
        if let Some(inner) = inner.upgrade() {
            TaskRuntime::end(&inner, &pod, (&container, attempt), Ended { code: FAILED, message: message.clone() });
        }
        return Err(RuntimeError::Unavailable(message));
    }
    Ok(())
}

//! Which functions a host offers, by name. A registry is a value: two clusters of one process can offer different ones.

use super::context::Context;
use super::message::short;
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// An error of any kind, as functions return it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a function was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The name is taken.
    #[error("a function is registered as {0:?} already: choose another name")]
    AlreadyRegistered(String),
    /// This cannot be a name.
    #[error(
        "{0:?} cannot be the name of a function: use letters, digits, '-', '_' and '.', in parts with '/' between them, \
         as in \"workers/echo_worker\""
    )]
    InvalidName(String),
}

/// What a function may end with: nothing, or a result whose error ends the container with exit code 1 and its text.
pub trait Outcome {
    /// As the runtime needs it: the text of the error with its causes.
    fn outcome(self) -> Result<(), String>;
}

impl Outcome for () {
    fn outcome(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Into<BoxError>> Outcome for Result<(), E> {
    fn outcome(self) -> Result<(), String> {
        self.map_err(|error| {
            let error: BoxError = error.into();
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(next) = cause {
                let next_text = next.to_string();
                if !text.contains(&next_text) {
                    text = format!("{text}: {next_text}");
                }
                cause = next.source();
            }
            text
        })
    }
}

/// A function as it goes on.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
/// An async function that is ready to begin.
pub(crate) type BeginAsync = Box<dyn FnOnce(Context) -> Running + Send>;
/// A blocking function that is ready to begin.
pub(crate) type BeginBlocking = Box<dyn FnOnce(Context) -> Result<(), String> + Send>;

/// A function that is ready to begin, with its parameters read.
pub(crate) enum Prepared {
    Async(BeginAsync),
    Blocking(BeginBlocking),
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Prepared::Async(_) => "Async",
            Prepared::Blocking(_) => "Blocking",
        })
    }
}

type Prepare = dyn Fn(Option<&str>) -> Result<Prepared, String> + Send + Sync;

/// Functions by name. Clones are the same registry.
#[derive(Clone, Default)]
pub struct Registry(Arc<RwLock<BTreeMap<String, Arc<Prepare>>>>);

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.names()).finish()
    }
}

impl Registry {
    /// A registry of no function.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers an async function under `module/function`. It runs on the host's executor and must not block it; see
    /// [`Registry::register_blocking`]. Pods that were waiting for it find it at their next start.
    ///
    /// `P` is read from the JSON document of the container's parameters; where there is none, from `{}`, or else `null`, so
    /// that `()`, `Option` and types whose fields all have defaults need none.
    ///
    /// # Errors
    /// When the name is taken or is none.
    pub fn register<P, F, Fut>(&self, name: &str, function: F) -> Result<(), RegisterError>
    where
        P: DeserializeOwned + Send + 'static,
        F: Fn(Context, P) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Outcome,
    {
        let function = Arc::new(function);
        self.insert(
            name,
            Arc::new(move |document| {
                let parameters: P = parameters(document)?;
                let function = Arc::clone(&function);
                // Called within the future, so that a panic of the closure itself is caught with the rest.
                Ok(Prepared::Async(Box::new(move |context| {
                    Box::pin(async move { function(context, parameters).await.outcome() })
                })))
            }),
        )
    }

    /// Registers a function that blocks: every run has a thread of its own. It should end soon after
    /// [`super::Worker::is_stopping`] says so, or [`Context::next_blocking`] gives `None`: a thread cannot be ended from
    /// outside, so one that goes on is abandoned, and told of.
    ///
    /// # Errors
    /// As [`Registry::register`].
    pub fn register_blocking<P, F, R>(&self, name: &str, function: F) -> Result<(), RegisterError>
    where
        P: DeserializeOwned + Send + 'static,
        F: Fn(Context, P) -> R + Send + Sync + 'static,
        R: Outcome,
    {
        let function = Arc::new(function);
        self.insert(
            name,
            Arc::new(move |document| {
                let parameters: P = parameters(document)?;
                let function = Arc::clone(&function);
                Ok(Prepared::Blocking(Box::new(move |context| function(context, parameters).outcome())))
            }),
        )
    }

    fn insert(&self, name: &str, prepare: Arc<Prepare>) -> Result<(), RegisterError> {
        if !is_name(name) {
            return Err(RegisterError::InvalidName(name.to_owned()));
        }
        let mut functions = self.0.write();
        if functions.contains_key(name) {
            return Err(RegisterError::AlreadyRegistered(name.to_owned()));
        }
        functions.insert(name.to_owned(), prepare);
        Ok(())
    }

    /// The names of all functions, in order.
    pub fn names(&self) -> Vec<String> {
        self.0.read().keys().cloned().collect()
    }

    /// Reads the parameters of a function. The outer error: there is no such function.
    pub(crate) fn prepare(&self, name: &str, document: Option<&str>) -> Option<Result<Prepared, String>> {
        let prepare = self.0.read().get(name).cloned()?;
        Some(prepare(document).map_err(|error| format!("the parameters of {name} cannot be read: {error}")))
    }
}

fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    name.len() <= 253 && name.split('/').all(part)
}

/// Reads parameters; the error names the field.
fn parameters<P: DeserializeOwned>(document: Option<&str>) -> Result<P, String> {
    let read = |text: &str| {
        let mut json = serde_json::Deserializer::from_str(text);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            let field = if path == "." { String::new() } else { format!("field {path:?}: ") };
            format!("{field}{}", error.into_inner())
        })?;
        json.end().map_err(|error| error.to_string())?;
        Ok(value)
    };
    match document {
        Some(text) => read(text),
        None => read("{}").or_else(|error: String| {
            read("null").map_err(|_| format!("none were given, and {} needs some: {error}", short::<P>()))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Echo {
        prefix: String,
        #[serde(default)]
        times: Vec<u32>,
    }

    #[test]
    fn parameters_that_do_not_parse_name_the_field() {
        let good: Echo = parameters(Some(r#"{"prefix":"a","times":[1]}"#)).expect("good");
        assert_eq!(good, Echo { prefix: "a".into(), times: vec![1] });
        for (document, expected) in [
            (None, "missing field `prefix`"),
            (Some("{}"), "missing field `prefix`"),
            (Some(r#"{"prefix":"a","times":[1,-1]}"#), "field \"times[1]\""),
            (Some(r#"{"prefix":"a","colour":1}"#), "unknown field `colour`"),
            (Some(r#"{"prefix":"a"} x"#), "trailing"),
            (Some("{"), "EOF"),
        ] {
            let error = parameters::<Echo>(document).expect_err(expected);
            assert!(error.contains(expected), "{document:?}: {error}");
        }
        parameters::<()>(None).expect("none are needed");
        assert_eq!(parameters::<Option<Echo>>(None), Ok(None));
    }

    #[test]
    fn a_name_is_taken_once_and_has_a_form() {
        let registry = Registry::new();
        registry.register("workers/a", |_, (): ()| async {}).expect("free");
        let again = registry.register_blocking("workers/a", |_, (): ()| {});
        assert_eq!(again, Err(RegisterError::AlreadyRegistered("workers/a".into())));
        for bad in ["", "/a", "a/", "a b", "{}", "ä"] {
            assert!(registry.register(bad, |_, (): ()| async {}).is_err(), "{bad:?}");
        }
        assert_eq!(registry.names(), ["workers/a"]);
        assert!(registry.prepare("workers/b", None).is_none());
    }

    #[test]
    fn errors_tell_their_causes() {
        let cause = std::io::Error::other("the disk is full");
        let error = std::io::Error::other(format!("cannot write: {cause}"));
        assert_eq!(Err::<(), _>(error).outcome(), Err("cannot write: the disk is full".to_owned()));
        assert_eq!(Err::<(), _>("plain").outcome(), Err("plain".to_owned()));
    }
}

//! Finds keys that stand twice in the same object of a JSON text, which a parsed value cannot show.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;

use super::Path;

/// The text is not JSON; line and column count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct DuplicateError {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What the parser found.
    pub message: String,
}

/// The paths of all keys that stand more than once in their object, such as `spec.replicas`, in order of
/// appearance and each once; at most a hundred.
///
/// # Errors
/// When the text is not JSON, or is nested deeper than 128.
pub fn duplicate_fields(json: &[u8]) -> Result<Vec<String>, DuplicateError> {
    let mut found = Found { path: Path::default(), duplicates: Vec::new() };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Walk(&mut found)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| DuplicateError { line: error.line(), column: error.column(), message: error.to_string() })?;
    Ok(found.duplicates)
}

struct Found {
    path: Path,
    duplicates: Vec<String>,
}

/// Visits one value, remembering nothing but the keys of the objects it is inside of.
struct Walk<'a>(&'a mut Found);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Found { path, duplicates } = self.0;
        for at in 0_usize.. {
            let more = path.with_index(at, |path| {
                let mut inner = Found { path: std::mem::take(path), duplicates: std::mem::take(duplicates) };
                let more = list.next_element_seed(Walk(&mut inner));
                (*path, *duplicates) = (inner.path, inner.duplicates);
                more
            })?;
            if more.is_none() {
                return Ok(());
            }
        }
        Err(A::Error::custom("a list without end"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Found { path, duplicates } = self.0;
        let mut keys: BTreeSet<String> = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            path.with_field(&key, |path| {
                let name = path.to_string();
                if keys.contains(&key) && !duplicates.contains(&name) && duplicates.len() < super::MOST_PROBLEMS {
                    duplicates.push(name);
                }
                let mut inner = Found { path: std::mem::take(path), duplicates: std::mem::take(duplicates) };
                let seen = map.next_value_seed(Walk(&mut inner));
                (*path, *duplicates) = (inner.path, inner.duplicates);
                seen
            })?;
            keys.insert(key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_named_once_with_their_path() {
        let text = br#"{"a": 1, "spec": {"x": [{"n": 1}, {"n": 1, "m": {"n": 2}, "n": 3, "n": 4}]}, "a": 2}"#;
        assert_eq!(duplicate_fields(text), Ok(vec!["spec.x[1].n".to_owned(), "a".to_owned()]));
    }

    #[test]
    fn the_same_key_in_other_objects_is_fine() {
        assert_eq!(duplicate_fields(br#"{"a": {"a": [{"a": 1}, {"a": null}]}, "b": 1.5}"#), Ok(vec![]));
    }

    #[test]
    fn text_that_is_not_json_is_refused_with_its_place() {
        let error = duplicate_fields(b"{\n \"a\": }").expect_err("not JSON");
        assert_eq!((error.line, error.column), (2, 7));
        assert!(duplicate_fields(b"{} {}").is_err());
        assert!(duplicate_fields("[".repeat(100_000).as_bytes()).is_err());
    }
}

//! Query parameters.

use crate::error::Failure;
use std::borrow::Cow;

/// The decoded query of a request, in order.
#[derive(Debug, Default)]
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub(crate) fn parse(query: Option<&'a str>) -> Self {
        match query {
            None | Some("") => Query(Vec::new()),
            Some(text) => Query(form_urlencoded::parse(text.as_bytes()).collect()),
        }
    }

    /// The first value of a parameter; empty when there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// Every value of a parameter.
    pub(crate) fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_ref())
    }

    /// A flag as Go reads it; absent and empty are false.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Failure> {
        Ok(self.choice(name)?.unwrap_or(false))
    }

    /// A flag that may be absent.
    pub(crate) fn choice(&self, name: &str) -> Result<Option<bool>, Failure> {
        match self.get(name) {
            "" => Ok(None),
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
            other => {
                Err(Failure::bad_request(format!("the query parameter {name} must be true or false, got {other:?}")))
            }
        }
    }

    /// A whole number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        match self.get(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Failure::bad_request(format!("the query parameter {name} must be a whole number, got {text:?}"))
            }),
        }
    }

    /// Whether nothing is to be stored.
    pub(crate) fn dry_run(&self) -> Result<bool, Failure> {
        let mut dry = false;
        for value in self.all("dryRun") {
            match value {
                "All" => dry = true,
                "" => {}
                other => {
                    let message = format!("Unsupported value: {other:?}: supported values: \"All\"");
                    return Err(Failure::invalid_parameter("dryRun", message));
                }
            }
        }
        Ok(dry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_checked() {
        let query = Query::parse(Some("labelSelector=a%3Db%2Cc&watch=1&limit=x&dryRun=All&empty"));
        assert_eq!(query.get("labelSelector"), "a=b,c");
        assert_eq!(query.flag("watch"), Ok(true));
        assert!(query.number("limit").is_err());
        assert_eq!((query.get("empty"), query.get("absent")), ("", ""));
        assert_eq!(query.dry_run(), Ok(true));
        assert!(Query::parse(Some("dryRun=Some")).dry_run().is_err());
        assert!(Query::parse(Some("watch=maybe")).flag("watch").is_err());
    }
}

//! The tokens by which a list is continued: the revision it is consistent at, and the last key of the page before.

use crate::error::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use steersman_domain::{Key, Kind, Revision};

#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    /// 0: continue with whatever is there now.
    rv: u64,
    ns: String,
    name: String,
}

const VERSION: &str = "steersman/v1";

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Continuation {
    /// `None`: as things are now, no longer consistent with the pages before.
    pub(crate) at: Option<Revision>,
    pub(crate) after: Key,
}

impl Continuation {
    pub(crate) fn encode(&self) -> String {
        let (ns, name) = (self.after.namespace.to_string(), self.after.name.to_string());
        let token = Token { v: VERSION.into(), rv: self.at.map_or(0, |r| r.0), ns, name };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    pub(crate) fn decode(kind: Kind, text: &str) -> Result<Self, Failure> {
        let bad = || Failure::bad_request("continue key is not valid: start a new list without the continue parameter");
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| bad())?;
        let token: Token = serde_json::from_slice(&bytes).map_err(|_| bad())?;
        if token.v != VERSION || token.name.is_empty() {
            return Err(bad());
        }
        let at = (token.rv > 0).then_some(Revision(token.rv));
        Ok(Continuation { at, after: Key::new(kind, &token.ns, &token.name) })
    }
}

/// The answer to a continuation whose revision is gone: with a token that goes on from there, inconsistently.
pub(crate) fn expired(from: &Continuation) -> Failure {
    let mut failure = Failure::new(
        http::StatusCode::GONE,
        "Expired",
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without \
         the continue parameter, or use the continue token in this response to retrieve the remainder of the results. \
         Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
         deleted between the time the first chunk was returned and now may show up in the list.",
    );
    failure.continuation = Some(Continuation { at: None, after: from.after.clone() }.encode());
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_nonsense_is_refused() {
        let token = Continuation { at: Some(Revision(7)), after: Key::new(Kind::Pod, "d", "a") };
        assert_eq!(Continuation::decode(Kind::Pod, &token.encode()), Ok(token));
        for text in ["x", "e30", "%%%"] {
            assert!(Continuation::decode(Kind::Pod, text).is_err(), "{text}");
        }
    }
}

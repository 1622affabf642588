//! Messages to functions: `POST …/pods/NAME/ask` and `…/services/NAME/send`, with the value as the JSON body. `ask` answers
//! the answer.

use crate::body::Body;
use crate::error::{Failure, json_response};
use crate::route::Address;
use crate::service::Call;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use steersman_application::client::Client as _;
use steersman_domain::Kind;
use steersman_domain::ports::{MessageError, Recipient, RecipientKind};

/// How long a message may take unless the query says otherwise.
const WITHIN: Duration = Duration::from_secs(30);
/// The longest that it can say.
const LONGEST: Duration = Duration::from_secs(3600);

impl Call<'_> {
    /// Delivers a message, and for `ask` waits for the answer.
    pub(crate) async fn message(self, address: &Address, body: Body) -> Result<Response<Body>, Failure> {
        let key = address.key().ok_or_else(Failure::no_such_path)?;
        let kind = if key.kind == Kind::Service { RecipientKind::Service } else { RecipientKind::Pod };
        let to = Recipient { kind, namespace: key.namespace.clone(), name: key.name.clone() };
        let within = self.within()?;
        let bytes = body.read().await?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Failure::bad_request(format!("the body is no JSON value: {error}")))?;
        let messenger = self.service.config().messenger.clone();
        let messenger = messenger.ok_or_else(|| Failure::not_supported("this server runs no functions"))?;
        // An object that is not there is told of as such.
        self.api().get(&key).await?;
        let answer = match address.sub.as_str() {
            "ask" => messenger.ask(&to, value, within).await,
            _ => messenger.send(&to, value, within).await.map(|()| json!({})),
        };
        Ok(json_response(StatusCode::OK, &answer.map_err(failure)?))
    }

    fn within(&self) -> Result<Duration, Failure> {
        let Some(millis) = self.query.number("withinMilliseconds")? else { return Ok(WITHIN) };
        let within = u64::try_from(millis).ok().map(Duration::from_millis).filter(|within| *within <= LONGEST);
        within.ok_or_else(|| {
            let most = LONGEST.as_millis();
            Failure::bad_request(format!("withinMilliseconds is {millis}: it must be from 0 to {most}"))
        })
    }
}

fn failure(error: MessageError) -> Failure {
    let message = error.to_string();
    let (code, reason) = match error {
        MessageError::NotFound(_) | MessageError::NotReady(_) | MessageError::NoEndpoint(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")
        }
        MessageError::Full { .. } => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
        MessageError::Deadline { .. } => (StatusCode::GATEWAY_TIMEOUT, "Timeout"),
        MessageError::Form(_) | MessageError::ToItself(_) => (StatusCode::BAD_REQUEST, "BadRequest"),
        MessageError::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "Refused"),
        MessageError::Ended | MessageError::Panicked | MessageError::Unanswered => {
            (StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
        }
    };
    Failure::new(code, reason, message)
}

//! Logs of pods as plain text.

use crate::body::{Body, BoxError};
use crate::error::Failure;
use crate::route::Address;
use crate::service::{ApiService, Call};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, header};
use std::time::Duration;
use steersman_application::usecase::logs::LogRequest;
use steersman_domain::Time;
use steersman_domain::ports::LogStream;

impl Call<'_> {
    /// Streams a container's log.
    pub(crate) async fn log(&self, address: &Address) -> Result<Response<Body>, Failure> {
        let key = address.key().ok_or_else(Failure::no_such_path)?;
        let request = self.log_request()?;
        let source = self.api().logs(&key, &request).await?;
        let reader = Reader { service: self.service.clone(), source };
        let mut response = Response::new(Body::stream(stream::unfold(reader, Reader::step)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        Ok(response)
    }

    fn log_request(&self) -> Result<LogRequest, Failure> {
        let least = |name: &str, least: i64| match self.query.number(name)? {
            Some(n) if n < least => {
                let what = if least == 0 { "must be greater than or equal to 0" } else { "must be greater than 0" };
                Err(Failure::invalid_parameter(name, format!("Invalid value: {n}: {what}")))
            }
            other => Ok(other.map(i64::unsigned_abs)),
        };
        let since_secs = least("sinceSeconds", 1)?;
        let since = match (since_secs, self.query.get("sinceTime")) {
            (Some(_), text) if !text.is_empty() => {
                return Err(Failure::invalid_parameter(
                    "sinceTime",
                    "at most one of sinceTime or sinceSeconds may be specified",
                ));
            }
            (Some(secs), _) => {
                let now = self.api().now();
                let back = i64::try_from(Duration::from_secs(secs).as_micros()).unwrap_or(i64::MAX);
                Some(Time::from_micros(now.micros().saturating_sub(back)))
            }
            (None, "") => None,
            (None, text) => Some(Time::parse(text).map_err(|e| Failure::bad_request(e.to_string()))?),
        };
        Ok(LogRequest {
            container: self.query.get("container").into(),
            follow: self.query.flag("follow")?,
            previous: self.query.flag("previous")?,
            tail: least("tailLines", 0)?,
            since,
            timestamps: self.query.flag("timestamps")?,
            limit_bytes: least("limitBytes", 1)?,
        })
    }
}

struct Reader {
    service: ApiService,
    source: Box<dyn LogStream>,
}

impl Reader {
    async fn step(mut self) -> Option<(Result<Bytes, BoxError>, Reader)> {
        let mut stopping = self.service.stopping();
        let piece = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => return None,
            piece = self.source.next() => piece,
        };
        match piece {
            Ok(Some(piece)) => Some((Ok(piece), self)),
            Ok(None) => None,
            // The head has been sent with a good code: all that is left is to break off.
            Err(error) => Some((Err(error.into()), self)),
        }
    }
}

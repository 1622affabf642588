//! Joining nodes: a token is made for an operator, kept as a hash in a Secret, and exchanged once for the certificate of a
//! node, which the node renews while it is valid. The token carries the fingerprint of the authority, so that the agent knows
//! whom it talks to before it sends the secret.

use crate::access::User;
use crate::body::Body;
use crate::decode::{media_type, parse};
use crate::error::{Failure, json_response};
use crate::pki::Authority;
use crate::service::ApiService;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use steersman_application::client::{ApiError, Client as _, DeleteOptions, WriteOptions};
use steersman_application::usecase::Api;
use steersman_domain::{Key, Kind, Resource, Secret, Stored, Str, Time, names};

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "steersman.io/join-token";
const HASH: &str = "token-secret-sha256";
const EXPIRATION: &str = "expiration";

/// How long a token may live at most, in seconds: a year.
const MOST_SECONDS: u64 = 365 * 24 * 3600;

/// A join token: `<ca-fingerprint>.<id>.<secret>`.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// SHA-256 of the authority's certificate, in hexadecimal.
    pub fingerprint: String,
    /// Which token it is; no secret.
    pub id: String,
    pub(crate) secret: String,
}

/// A text that is not a join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a join token is written <ca-fingerprint>.<id>.<secret>: copy it whole from `steer token create`")]
pub struct InvalidToken;

impl JoinToken {
    /// Reads the written form.
    ///
    /// # Errors
    /// When the text does not have the three parts.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let mut parts = text.trim().split('.').map(str::to_owned);
        let (Some(fingerprint), Some(id), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidToken);
        };
        let hex = fingerprint.len() == 64 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit());
        if !hex || names::label(&id).is_err() || secret.len() < 16 {
            return Err(InvalidToken);
        }
        Ok(JoinToken { fingerprint: fingerprint.to_ascii_lowercase(), id, secret })
    }

    /// The written form, with the secret.
    pub fn reveal(&self) -> String {
        format!("{}.{}.{}", self.fingerprint, self.id, self.secret)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("id", &self.id).finish_non_exhaustive()
    }
}

fn hash(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

fn key(id: &str) -> Key {
    Key::new(Kind::Secret, NAMESPACE, &format!("bootstrap-token-{id}"))
}

/// Makes a token with which one node may join within `lifetime`.
///
/// # Errors
/// When it cannot be stored.
pub async fn create_join_token(api: &Api, authority: &Authority, lifetime: Duration) -> Result<JoinToken, ApiError> {
    let random = || api.entropy().random();
    let id = format!("{}{}", names::suffix(random()), names::suffix(random()));
    let bits: Vec<u8> = (0..3).flat_map(|_| random().to_be_bytes()).collect();
    // Dots separate the parts of a token; this alphabet has none.
    let token = JoinToken { fingerprint: authority.fingerprint(), id, secret: URL_SAFE_NO_PAD.encode(bits) };
    let mut secret = Secret { kind: TYPE.into(), ..Secret::default() };
    let place = key(&token.id);
    secret.metadata.name = place.name;
    secret.metadata.namespace = place.namespace;
    secret.string_data.insert(HASH, hash(&token.secret).into());
    secret.string_data.insert(EXPIRATION, api.now().after(lifetime).to_string().into());
    api.create(Secret::into_object(Arc::new(secret)), &WriteOptions::default()).await?;
    Ok(token)
}

/// Compares without telling by its duration where two texts differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}

fn entry(secret: &Secret, name: &str) -> Option<String> {
    let bytes = STANDARD.decode(secret.data.get(name)?.as_bytes()).ok()?;
    String::from_utf8(bytes).ok()
}

impl ApiService {
    /// `POST {lifetimeSeconds}` answers `{token}`, for those who may do everything.
    pub(crate) async fn new_token(&self, user: &User, parts: &Parts, body: Body) -> Result<Response<Body>, Failure> {
        if parts.method != Method::POST {
            return Err(Failure::method_not_allowed());
        }
        if !user.is_master() {
            return Err(Failure::forbidden(format!("User \"{}\" may not make join tokens", user.name)));
        }
        let Some(authority) = &self.config().authority else {
            return Err(Failure::not_supported("this server signs no certificates: nodes cannot join it"));
        };
        let bytes = body.read().await?;
        let (request, _) = parse(media_type(&parts.headers), &bytes)?;
        let seconds =
            request["lifetimeSeconds"].as_u64().filter(|s| (1..=MOST_SECONDS).contains(s)).ok_or_else(|| {
                Failure::invalid_parameter("lifetimeSeconds", format!("must be a number from 1 to {MOST_SECONDS}"))
            })?;
        let token = create_join_token(self.api(), authority, Duration::from_secs(seconds)).await?;
        Ok(json_response(StatusCode::CREATED, &json!({"token": token.reveal()})))
    }

    /// `POST {token, node, csr}` answers `{certificate, certificateAuthority}`, both PEM. `token` is `<id>.<secret>`.
    pub(crate) async fn join(&self, parts: &Parts, body: Body) -> Result<Response<Body>, Failure> {
        if parts.method != Method::POST {
            return Err(Failure::method_not_allowed());
        }
        let Some(authority) = &self.config().authority else {
            return Err(Failure::not_supported("this server signs no certificates: nodes cannot join it"));
        };
        let bytes = body.read().await?;
        let (request, _) = parse(media_type(&parts.headers), &bytes)?;
        let text = |field: &str| request[field].as_str().unwrap_or_default().to_owned();
        let (token, node, csr) = (text("token"), text("node"), text("csr"));
        let stored = self.valid_token(&token).await?;
        names::subdomain(&node).map_err(|why| Failure::invalid_parameter("node", format!("{node:?}: {why}")))?;
        if self.api().get(&Key::cluster(Kind::Node, &node)).await.is_ok() {
            let message =
                format!("a node named {node:?} has joined already: join under another name, or delete that node first");
            return Err(Failure::new(StatusCode::CONFLICT, "AlreadyExists", message));
        }
        let certificate =
            authority.sign_node(&csr, &node).map_err(|e| Failure::invalid_parameter("csr", e.to_string()))?;
        // The token is used up by whoever deletes it first.
        let once = DeleteOptions { resource_version: Some(stored.revision), ..DeleteOptions::default() };
        self.api().delete(&stored.key, &once).await.map_err(|_| wrong_token())?;
        let answer = json!({"certificate": certificate, "certificateAuthority": authority.certificate()});
        Ok(json_response(StatusCode::CREATED, &answer))
    }

    /// `POST {csr}` by a node answers `{certificate}`: a fresh one for its own name and a key of its choice.
    pub(crate) async fn renew(&self, user: &User, parts: &Parts, body: Body) -> Result<Response<Body>, Failure> {
        if parts.method != Method::POST {
            return Err(Failure::method_not_allowed());
        }
        let Some(node) = user.node() else {
            let message = format!("User \"{}\" is no node: only nodes renew their certificates", user.name);
            return Err(Failure::forbidden(message));
        };
        let Some(authority) = &self.config().authority else {
            return Err(Failure::not_supported("this server signs no certificates"));
        };
        let bytes = body.read().await?;
        let (request, _) = parse(media_type(&parts.headers), &bytes)?;
        let csr = request["csr"].as_str().unwrap_or_default();
        let certificate =
            authority.sign_node(csr, node).map_err(|e| Failure::invalid_parameter("csr", e.to_string()))?;
        Ok(json_response(StatusCode::CREATED, &json!({"certificate": certificate})))
    }

    async fn valid_token(&self, token: &str) -> Result<Arc<Stored>, Failure> {
        let (id, secret) = token.split_once('.').ok_or_else(wrong_token)?;
        let stored = self.api().get(&key(id)).await.map_err(|_| wrong_token())?;
        let kept = stored.typed::<Secret>().filter(|s| s.kind == Str::new_static(TYPE)).ok_or_else(wrong_token)?;
        let known = entry(kept, HASH).is_some_and(|kept| same(&kept, &hash(secret)));
        let expires = entry(kept, EXPIRATION).and_then(|t| Time::parse(&t).ok());
        if !known || expires.is_none_or(|at| at <= self.api().now()) {
            return Err(wrong_token());
        }
        Ok(stored)
    }
}

/// One answer for every wrong token, so that a stranger learns nothing from it.
fn wrong_token() -> Failure {
    let message = "the join token is wrong, used or expired: make a new one with `steer token create`";
    Failure { message: message.into(), ..Failure::unauthorized() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_written_and_read() {
        let text = format!("{}.abc.{}", "a".repeat(64), "s".repeat(32));
        let token = JoinToken::parse(&text).expect("a token");
        assert_eq!(token.reveal(), text);
        assert!(!format!("{token:?}").contains("ssss"));
        for text in ["", "a.b.c", "a.b", &format!("{text}.x")] {
            assert_eq!(JoinToken::parse(text), Err(InvalidToken), "{text}");
        }
    }

    #[test]
    fn comparison_sees_every_difference() {
        assert!(same("abc", "abc") && !same("abc", "abd") && !same("abc", "ab") && !same("", "a"));
    }
}

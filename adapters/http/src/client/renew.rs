//! Renewing the certificate of a node before it ends: asked for over the connection that the old one opened, with a key of
//! its own.

use super::connection::{self, tls};
use super::{ClientError, RemoteClient};
use crate::pki::{self, Identity};
use http::Method;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use std::time::Duration;
use steersman_application::client::ApiError;
use steersman_domain::ports::{Clock, Entropy};
use steersman_domain::{Key, Kind, Time};

/// Waits between attempts that fail: from the first, twice as long each time, up to the last.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));
/// How often a long wait looks at the wall clock again, which may be set or may have slept.
const LOOK: Duration = Duration::from_secs(3600);

impl RemoteClient {
    /// Exchanges the certificate of the node, which this client shows, for a fresh one. It is not in use yet: see
    /// [`RemoteClient::show`].
    ///
    /// # Errors
    /// `Forbidden` for who is no node, `Unavailable` when the server cannot be reached.
    pub async fn renew(&self) -> Result<Identity, ApiError> {
        let fail = |e: rcgen::Error| ApiError::Unavailable(format!("a key cannot be made: {e}"));
        let key = KeyPair::generate().map_err(fail)?;
        let request = CertificateParams::default().serialize_request(&key).and_then(|r| r.pem()).map_err(fail)?;
        let body = json!({"csr": request}).to_string();
        let path = "/apis/steersman.io/v1/renew";
        let answer = self.exchange(Method::POST, path, body.into(), &Key::cluster(Kind::Node, "")).await?;
        let answer: Value = serde_json::from_slice(&answer).map_err(connection::broken)?;
        let certificate = answer["certificate"].as_str().unwrap_or_default().to_owned();
        if pki::validity(&certificate).is_none() {
            return Err(ApiError::Unavailable("the server's answer holds no certificate".into()));
        }
        Ok(Identity { certificate, key: key.serialize_pem() })
    }

    /// Shows another certificate from the next connection on, to a server of the same authority (PEM).
    ///
    /// # Errors
    /// When the certificate or its key is not one; the old one stays in use then.
    pub fn show(&self, authority: &str, identity: &Identity) -> Result<(), ClientError> {
        let roots = pki::roots(authority).map_err(|e| ClientError::Tls(e.to_string()))?;
        self.0.replace(tls(roots, Some(identity))?);
        Ok(())
    }
}

/// When a certificate is due: after two thirds of its life, less up to a tenth by chance, so that nodes which joined
/// together do not come back together.
fn due((from, until): (Time, Time), random: u64) -> Time {
    let life = until.since(from);
    from.after(life * 2 / 3 - share(life / 10, random))
}

/// A random part of a duration.
fn share(of: Duration, random: u64) -> Duration {
    Duration::from_millis(random % u64::try_from(of.as_millis()).unwrap_or(u64::MAX).max(1))
}

/// How long to wait after so many failures in a row.
fn backoff(failures: u32, random: u64) -> Duration {
    let whole = RETRY.0.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(RETRY.1);
    whole / 2 + share(whole / 2, random)
}

/// Renews the certificate of a node whenever it is due, for ever, and again after each failure. `keep` takes the new one
/// into use; what it cannot keep is asked for anew.
pub async fn keep_renewed(
    client: &RemoteClient,
    (clock, entropy): (&dyn Clock, &dyn Entropy),
    mut certificate: String,
    mut keep: impl FnMut(&Identity) -> Result<(), String> + Send,
) {
    let mut failures = 0;
    let Some(mut valid) = pki::validity(&certificate) else { return };
    let mut next = due(valid, entropy.random());
    loop {
        let wait = next.since(clock.now());
        if !wait.is_zero() {
            clock.sleep(wait.min(LOOK)).await;
            continue;
        }
        let outcome = match client.renew().await {
            Ok(identity) => keep(&identity).map(|()| identity),
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok(identity) => {
                certificate = identity.certificate;
                valid = pki::validity(&certificate).unwrap_or(valid);
                failures = 0;
                next = due(valid, entropy.random());
                tracing::info!(until = %valid.1, "the node's certificate was renewed");
            }
            Err(error) => {
                failures += 1;
                let wait = backoff(failures, entropy.random());
                next = clock.now().after(wait);
                if valid.1 > clock.now() {
                    tracing::warn!(%error, ends = %valid.1, again_in = ?wait, "the node's certificate was not renewed");
                } else {
                    tracing::error!(%error, ended = %valid.1, "the node's certificate has expired: it cannot connect again");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_due_well_before_their_end_and_not_together() {
        let (from, until) = (Time::from_secs(1000), Time::from_secs(1000 + 300));
        assert_eq!(due((from, until), 0), Time::from_secs(1200));
        let times: Vec<Time> = [3, 70, 29_999, u64::MAX].iter().map(|random| due((from, until), *random)).collect();
        let early = Time::from_secs(1170);
        assert!(times.iter().all(|time| *time <= Time::from_secs(1200) && *time > early), "{times:?}");
        assert!(times.windows(2).all(|pair| pair[0] != pair[1]), "{times:?}");
        assert_eq!(due((until, from), 5), until, "a certificate without a life is due at once");
    }

    #[test]
    fn failures_are_repeated_ever_more_rarely() {
        let mut last = Duration::ZERO;
        for failures in 1..=10 {
            let wait = backoff(failures, 0);
            assert!(wait > last, "{failures}: {wait:?} after {last:?}");
            last = wait;
        }
        assert_eq!(last, Duration::from_secs(256));
        assert!(backoff(u32::MAX, u64::MAX) <= RETRY.1 && backoff(1, u64::MAX) <= RETRY.0);
    }
}

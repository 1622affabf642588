//! Writes that are done all or none: one transaction of the store, with every ledger that they touch.

use super::Api;
use super::round::{Answer, MODIFIED, MOST_ATTEMPTS, Plan, Round, key_of_write};
use crate::client::{ApiError, Write, WriteOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use steersman_domain::ports::{Op, Rejected};
use steersman_domain::{Key, Stored};

/// Performs writes as one; one answer for each, in order. When one is refused the others answer a conflict that says so.
pub(super) async fn perform(api: &Api, writes: Vec<Write>, options: &WriteOptions) -> Vec<Answer> {
    let keys: Vec<Key> = writes.iter().map(key_of_write).collect();
    let distinct = keys.iter().filter(|key| !key.name.is_empty()).collect::<BTreeSet<_>>();
    if distinct.len() < keys.iter().filter(|key| !key.name.is_empty()).count() {
        let twice = "writes that are done together must be about different objects";
        return keys.iter().map(|_| Err(ApiError::BadRequest(twice.into()))).collect();
    }
    let mut gate = None;
    for attempt in 0..MOST_ATTEMPTS {
        if attempt == 1 {
            gate = Some(api.gate.lock().await);
        }
        match once(api, &writes, options, attempt > 0).await {
            Attempt::Done(answers) => return answers,
            Attempt::Refused(at, error) => return refused(&keys, at, error),
            Attempt::Moved => {}
        }
    }
    drop(gate);
    keys.into_iter().map(|key| Err(ApiError::Conflict { key, message: MODIFIED.into() })).collect()
}

enum Attempt {
    Done(Vec<Answer>),
    /// This write cannot be done.
    Refused(usize, ApiError),
    /// Something changed meanwhile.
    Moved,
}

async fn once(api: &Api, writes: &[Write], options: &WriteOptions, cautious: bool) -> Attempt {
    let mut round = Round::new(api, cautious);
    // What each write will answer: what is there, or what becomes of this key.
    let mut outcomes: Vec<Result<Arc<Stored>, Key>> = Vec::with_capacity(writes.len());
    let mut imagined = BTreeMap::new();
    for (at, write) in writes.iter().enumerate() {
        let plan = match Box::pin(round.plan(write.clone())).await {
            Ok(plan) => plan,
            Err(error) => return Attempt::Refused(at, error),
        };
        outcomes.push(match &plan {
            Plan::Nothing(stored) => Ok(stored.clone()),
            Plan::Change { op, .. } => {
                if let (true, Op::Put(key, object)) = (options.dry_run, op) {
                    let stored = Stored::new(key.clone(), object.meta().resource_version, object.clone());
                    imagined.insert(key.clone(), Arc::new(stored));
                }
                Err(op.key().clone())
            }
        });
        round.enter(plan);
    }
    if options.dry_run {
        return Attempt::Done(imagine(api, outcomes, &imagined).await);
    }
    let txn = round.united();
    let changed: Vec<Key> = txn.ops.iter().map(|op| op.key().clone()).collect();
    if changed.is_empty() {
        return Attempt::Done(outcomes.into_iter().map(|o| o.map_err(ApiError::NotFound)).collect());
    }
    let result = match api.store.commit(vec![txn]).await {
        Ok(results) => results.into_iter().next(),
        Err(error) => {
            let error = ApiError::from(error);
            return Attempt::Done(writes.iter().map(|_| Err(error.clone())).collect());
        }
    };
    match result {
        Some(Ok(committed)) => {
            let stored: BTreeMap<Key, Arc<Stored>> = changed.into_iter().zip(committed.results).collect();
            let lost = || ApiError::Unavailable("the store gave no answer".into());
            let answer = |outcome: Result<Arc<Stored>, Key>| match outcome {
                Ok(there) => Ok(there),
                Err(key) => stored.get(&key).cloned().ok_or_else(lost),
            };
            Attempt::Done(outcomes.into_iter().map(answer).collect())
        }
        Some(Err(Rejected::Exists(taken))) => {
            let named = |write: &Write| matches!(write, Write::Create(object) if !object.meta().name.is_empty());
            match writes.iter().position(|write| named(write) && key_of_write(write) == taken) {
                Some(at) => Attempt::Refused(at, ApiError::AlreadyExists(taken)),
                None => Attempt::Moved,
            }
        }
        Some(Err(_)) | None => Attempt::Moved,
    }
}

/// What a dry run answers.
async fn imagine(
    api: &Api,
    outcomes: Vec<Result<Arc<Stored>, Key>>,
    imagined: &BTreeMap<Key, Arc<Stored>>,
) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        answers.push(match outcome {
            Ok(there) => Ok(there),
            Err(key) => match imagined.get(&key) {
                Some(stored) => Ok(stored.clone()),
                None => match api.store.get(&key, None).await {
                    Ok(there) => there.ok_or(ApiError::NotFound(key)),
                    Err(error) => Err(error.into()),
                },
            },
        });
    }
    answers
}

/// The answers when one write cannot be done.
fn refused(keys: &[Key], at: usize, error: ApiError) -> Vec<Answer> {
    let because = format!("not done, because it goes together with {}, which was refused: {error}", keys[at]);
    let others = |key: &Key| Err(ApiError::Conflict { key: key.clone(), message: because.clone() });
    let mut answers: Vec<Answer> = keys.iter().map(others).collect();
    answers[at] = Err(error);
    answers
}

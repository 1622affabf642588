//! The CronJob controller: makes a Job at each time of a cron line, and clears away those that are over. The name of a Job is
//! that of its time, so that no time has two, whatever is repeated. It sleeps until the next time.
//! Source of the algorithm: Kubernetes `pkg/controller/cronjob/cronjob_controllerv2.go`.

use super::claims::controller_reference;
use super::{Moment, Note, Outcome, Reconciler};
use crate::client::{DeleteOptions, Part, Propagation, Write};
use crate::driver::world::World;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::cron::{Cron, time_zone};
use steersman_domain::ports::Change;
use steersman_domain::{
    CRON_JOB_TIME, CronJob, CronJobStatus, Job, Key, Kind, Namespace, Object, ObjectReference, Resource, Stored, Str,
    Time, Uid,
};

/// Missed times beyond which somebody is told.
const MANY: usize = 100;

/// What is remembered of a CronJob. Losing it costs an event that is told twice.
#[derive(Clone, Debug, Default)]
struct Memory {
    uid: Uid,
    /// The last time whose name somebody has taken.
    taken: Option<Time>,
    /// The last thing that was told of, so that it is told once.
    told: String,
}

/// The CronJob controller.
#[derive(Clone, Debug, Default)]
pub struct CronJobs {
    memory: BTreeMap<Key, Memory>,
}

impl Reconciler for CronJobs {
    fn name(&self) -> &'static str {
        "cronjob-controller"
    }

    fn triggers(&self, change: &Change, _: &World) -> Vec<Key> {
        match change.key().kind {
            Kind::CronJob => vec![change.key().clone()],
            Kind::Job => {
                let (before, after): (Option<&Arc<Stored>>, Option<&Arc<Stored>>) = match change {
                    Change::Put { before, after } => (before.as_ref(), Some(after)),
                    Change::Delete { before, .. } => (Some(before), None),
                };
                [before, after].into_iter().flatten().filter_map(|stored| owner(stored.typed::<Job>()?)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn all(&self, world: &World) -> Vec<Key> {
        world.all::<CronJob>().map(|cron| cron.key()).collect()
    }

    fn reconcile(&mut self, world: &World, key: &Key, now: Moment) -> Outcome {
        let Some(cron) = world.get::<CronJob>(&key.namespace, &key.name) else {
            self.memory.remove(key);
            return Outcome::default();
        };
        let memory = self.memory.entry(key.clone()).or_default();
        if memory.uid != cron.metadata.uid {
            *memory = Memory { uid: cron.metadata.uid.clone(), ..Memory::default() };
        }
        let mut jobs: Vec<&Arc<Job>> = world.controlled::<Job>(&cron.metadata.uid).collect();
        jobs.sort_by_key(|job| (job.metadata.creation_timestamp, job.metadata.name.clone()));
        let mut outcome = Outcome::default();
        let work = Work { cron, key, world, now, jobs: &jobs };
        let status = work.status(memory);
        work.report(&status, &mut outcome);
        if !cron.metadata.is_deleting() {
            work.clear_away(&mut outcome);
            work.start(&status, memory, &mut outcome);
        }
        outcome
    }
}

fn owner(job: &Job) -> Option<Key> {
    let owner = job.metadata.controller().filter(|owner| owner.kind == "CronJob")?;
    Some(Key { kind: Kind::CronJob, namespace: job.metadata.namespace.clone(), name: owner.name.clone() })
}

/// What a decision about a CronJob looks at.
struct Work<'a> {
    cron: &'a Arc<CronJob>,
    key: &'a Key,
    world: &'a World,
    now: Moment,
    /// Its Jobs, the oldest first.
    jobs: &'a [&'a Arc<Job>],
}

impl Work<'_> {
    fn active(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.jobs.iter().copied().filter(|job| job.finished().is_none())
    }

    /// The status as the Jobs have it.
    fn status(&self, memory: &Memory) -> CronJobStatus {
        let old = &self.cron.status;
        let reference = |job: &Arc<Job>| ObjectReference {
            kind: "Job".into(),
            api_version: Job::KIND.info().api_version.into(),
            namespace: job.metadata.namespace.clone(),
            name: job.metadata.name.clone(),
            uid: job.metadata.uid.clone(),
            ..ObjectReference::default()
        };
        let due = |job: &&Arc<Job>| job.metadata.annotations.get(CRON_JOB_TIME).and_then(|t| Time::parse(t).ok());
        let ended = |job: &&Arc<Job>| job.finished().filter(|c| c.kind == "Complete").and(job.status.completion_time);
        let scheduled = self.jobs.iter().filter_map(due).chain(memory.taken).max();
        CronJobStatus {
            active: self.active().map(reference).collect(),
            last_schedule_time: old.last_schedule_time.max(scheduled),
            last_successful_time: old.last_successful_time.max(self.jobs.iter().filter_map(ended).max()),
            extra: old.extra.clone(),
        }
    }

    fn report(&self, status: &CronJobStatus, outcome: &mut Outcome) {
        if *status == self.cron.status {
            return;
        }
        let at = outcome.writes.len();
        for gone in self.cron.status.active.iter().filter(|old| status.active.iter().all(|new| new.uid != old.uid)) {
            let job = self.jobs.iter().find(|job| job.metadata.uid == gone.uid);
            let note = match job.and_then(|job| job.finished()) {
                Some(end) => {
                    let message = format!("Saw completed job: {}, condition: {}", gone.name, end.kind);
                    self.note(false, "SawCompletedJob", message)
                }
                None => self.note(false, "MissingJob", format!("Active job went missing: {}", gone.name)),
            };
            outcome.notes_of_writes.push((at, note));
        }
        let mut changed = CronJob::clone(self.cron);
        changed.status = status.clone();
        outcome.writes.push(Write::Update(Object::CronJob(Arc::new(changed)), Part::Status));
    }

    /// Deletes the oldest Jobs that are over, beyond those that are kept.
    fn clear_away(&self, outcome: &mut Outcome) {
        let spec = &self.cron.spec;
        let limits = [
            ("Complete", spec.successful_jobs_history_limit.unwrap_or(3)),
            ("Failed", spec.failed_jobs_history_limit.unwrap_or(1)),
        ];
        for (kind, keep) in limits {
            let over = |job: &&&Arc<Job>| !job.metadata.is_deleting() && job.finished().is_some_and(|c| c.kind == kind);
            let over: Vec<_> = self.jobs.iter().filter(over).collect();
            let surplus = over.len().saturating_sub(usize::try_from(keep).unwrap_or(0));
            for job in over.into_iter().take(surplus) {
                self.delete(job, outcome);
            }
        }
    }

    fn delete(&self, job: &Job, outcome: &mut Outcome) {
        let options = DeleteOptions {
            uid: Some(job.metadata.uid.clone()),
            propagation: Some(Propagation::Background),
            ..DeleteOptions::default()
        };
        let note = self.note(false, "SuccessfulDelete", format!("Deleted job {}", job.metadata.name));
        outcome.write_noting(Write::Delete(job.key(), options), note);
    }

    /// Makes the Job that is due, or sleeps until one is.
    fn start(&self, status: &CronJobStatus, memory: &mut Memory, outcome: &mut Outcome) {
        let spec = &self.cron.spec;
        if spec.suspend == Some(true) {
            return outcome.why.push("it is suspended".into());
        }
        let zone = time_zone(spec.time_zone.as_deref().unwrap_or_default());
        let (line, zone) = match (Cron::parse(&spec.schedule), zone) {
            (Ok(line), Ok(zone)) => (line, zone),
            (Err(why), _) => return outcome.why.push(format!("the schedule cannot be read: {why}")),
            (_, Err(why)) => return outcome.why.push(format!("the time zone: {why}")),
        };
        let now = self.now.time;
        match line.next(now, &zone) {
            Some(next) => outcome.look_again(next.since(now)),
            None => outcome.why.push("no time of its line will come any more".into()),
        }
        let created = self.cron.metadata.creation_timestamp.unwrap_or(now);
        let mut after = status.last_schedule_time.unwrap_or(created).max(memory.taken.unwrap_or(created));
        let deadline = spec.starting_deadline_seconds.map(|s| Duration::from_secs(u64::try_from(s).unwrap_or(0)));
        if let Some(deadline) = deadline {
            // What could not start any more is not looked for.
            let begin = i64::try_from(deadline.as_micros()).unwrap_or(i64::MAX);
            after = after.max(Time::from_micros(now.micros().saturating_sub(begin).saturating_sub(1)));
        }
        let Some((due, many)) = line.last(after, now, &zone, MANY) else {
            return outcome.why.push("nothing is due".into());
        };
        if many {
            let message =
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            self.tell("TooManyMissedTimes", (message.into(), due), memory, outcome);
        }
        if deadline.is_some_and(|deadline| due.after(deadline) < now) {
            let message = format!("Missed scheduled time to start a job: {due}");
            return self.tell("MissSchedule", (message, due), memory, outcome);
        }
        let running: Vec<&Arc<Job>> = self.active().collect();
        match spec.concurrency_policy.as_str() {
            "Forbid" if !running.is_empty() => {
                outcome.why.push(format!("{} runs still: the one of {due} waits", running[0].metadata.name));
                let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
                return self.tell("JobAlreadyActive", (message.into(), due), memory, outcome);
            }
            "Replace" => {
                running.iter().filter(|job| !job.metadata.is_deleting()).for_each(|job| self.delete(job, outcome))
            }
            _ => {}
        }
        if self.world.get::<Namespace>("", &self.key.namespace).is_some_and(|n| n.is_terminating()) {
            return outcome.why.push("its namespace is terminating: no job is made".into());
        }
        let job = self.job(due);
        outcome.why.push(format!("{due} has come: creates job {}", job.metadata.name));
        let note = self.note(false, "SuccessfulCreate", format!("Created job {}", job.metadata.name));
        outcome.write_noting(Write::Create(Object::Job(Arc::new(job))), note);
        // The Job that appears leads to the next look; should it be refused, another follows.
        if self.world.get::<Job>(&self.key.namespace, &self.name(due)).is_some() {
            memory.taken = Some(due);
        }
        outcome.look_again(Duration::from_secs(10));
    }

    fn name(&self, due: Time) -> Str {
        format!("{}-{}", self.cron.metadata.name, due.secs().div_euclid(60)).into()
    }

    fn job(&self, due: Time) -> Job {
        let template = &self.cron.spec.job_template;
        let mut job = Job::default();
        job.metadata.name = self.name(due);
        job.metadata.namespace = self.cron.metadata.namespace.clone();
        job.metadata.labels = template.metadata.labels.clone();
        job.metadata.annotations = template.metadata.annotations.clone();
        job.metadata.annotations.insert(CRON_JOB_TIME, due.to_string().into());
        job.metadata.owner_references = vec![controller_reference(&**self.cron)];
        job.spec = template.spec.clone();
        job
    }

    /// Tells of something about a time, once.
    fn tell(&self, reason: &'static str, (message, due): (String, Time), memory: &mut Memory, outcome: &mut Outcome) {
        outcome.why.push(message.clone());
        let told = format!("{reason} {due}");
        if memory.told != told {
            memory.told = told;
            let is_warning = reason != "JobAlreadyActive";
            outcome.notes.push(self.note(is_warning, reason, message));
        }
    }

    fn note(&self, is_warning: bool, reason: &'static str, message: String) -> Note {
        Note { about: self.key.clone(), uid: self.cron.metadata.uid.clone(), is_warning, reason, message }
    }
}

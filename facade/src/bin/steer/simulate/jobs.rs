//! The jobs of a trace: when each comes, what it needs, and how long it runs.

use super::csv::{self, Row};
use super::nodes::GPU_MODEL;
use super::play::LIMIT;
use crate::out;
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use steersman::application::driver::agent::RUN_FOR;

/// The label of jobs that come from a trace.
pub(super) const TRACE: &str = "steersman.io/trace";

/// A job of a trace.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job {
    /// When it comes, from the first of its trace.
    pub(super) at: Duration,
    /// As a client writes it.
    pub(super) object: Value,
    /// It wants a part of a GPU.
    shares_gpu: bool,
}

/// Reads a table of jobs; see `docs/guides/simulate.md` for its columns.
///
/// # Errors
/// What is wrong, and on which line.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Job>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (jobs, unused) = parse(&text).with_context(|| format!("in {}", path.display()))?;
    csv::tell_unused(&unused);
    let sharing = jobs.iter().filter(|job| job.shares_gpu).count();
    if sharing > 0 {
        out::note(format!("note: {sharing} jobs want a part of a GPU (gpu_milli); each is given a whole one"));
    }
    Ok(jobs)
}

fn parse(text: &str) -> anyhow::Result<(Vec<Job>, Vec<String>)> {
    let (mut jobs, unused) = csv::read(text, job)?;
    ensure!(!jobs.is_empty(), "there is no job");
    let mut names = BTreeSet::new();
    for job in &jobs {
        let name = job.object["metadata"]["name"].as_str().unwrap_or_default();
        ensure!(names.insert(name), "there are two jobs {name:?}");
    }
    jobs.sort_by_key(|job| job.at);
    let first = jobs[0].at;
    jobs.iter_mut().for_each(|job| job.at -= first);
    if let Some(late) = jobs.last().filter(|job| job.at > LIMIT) {
        let (name, years) = (&late.object["metadata"]["name"], LIMIT.as_secs() / (365 * 24 * 3600));
        bail!("{name} comes more than {years} years after the first job: creation_time is in seconds");
    }
    Ok((jobs, unused))
}

fn job(row: &Row<'_>) -> anyhow::Result<Job> {
    let name = row.text("name").context("there must be a column name, and a name in every row")?;
    let seconds = |column: &str| row.number(column);
    let at = seconds("creation_time")?.unwrap_or(0.0);
    let started = seconds("scheduled_time")?.unwrap_or(at);
    let ended = seconds("deletion_time")?;
    let run_for = match (seconds("duration")?, ended) {
        (Some(duration), _) => Some(duration),
        (None, Some(ended)) => {
            ensure!(ended >= started, "{name} is deleted at {ended} before it starts at {started}");
            Some(ended - started)
        }
        (None, None) => None,
    };
    let mut requests = row.amounts()?;
    let gpus = row.number("num_gpu")?.unwrap_or(0.0);
    let milli = row.number("gpu_milli")?.unwrap_or(1000.0);
    if gpus > 0.0 {
        requests.insert("nvidia.com/gpu".into(), csv::whole(gpus).into());
    }
    let mut template = json!({
        "metadata": {"annotations": {}},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "trace", "resources": {"requests": requests}}],
        },
    });
    if let Some(run_for) = run_for {
        // Whole milliseconds: what a span of time can say.
        template["metadata"]["annotations"][RUN_FOR] = format!("{}ms", csv::whole(run_for * 1000.0)).into();
    }
    if let Some(models) = row.text("gpu_spec") {
        let models: Vec<&str> = models.split('|').collect();
        let wanted = json!([{"key": GPU_MODEL, "operator": "In", "values": models}]);
        let terms = json!({"nodeSelectorTerms": [{"matchExpressions": wanted}]});
        template["spec"]["affinity"] =
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
    }
    if let Some(class) = row.text("priority_class") {
        template["spec"]["priorityClassName"] = class.into();
    }
    let object = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": {TRACE: "true"}},
        // What a node takes with it is begun again, however often; what is done goes away.
        "spec": {"backoffLimit": i32::MAX, "ttlSecondsAfterFinished": 0, "template": template},
    });
    let at = Duration::try_from_secs_f64(at).with_context(|| format!("{name} comes too late: at {at} s"))?;
    Ok(Job { at, object, shares_gpu: gpus > 0.0 && milli < 1000.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_jobs_in_the_order_of_their_coming() {
        let text = "name,creation_time,deletion_time,scheduled_time,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\n\
                    late,110,130.5,120,500,64,1,460,P100|T4,LS\nearly,100,,,12000,16384,0,0,,LS\n";
        let (jobs, unused) = parse(text).expect("well-formed");
        assert_eq!(unused, ["qos"]);
        let names: Vec<_> = jobs.iter().map(|job| job.object["metadata"]["name"].as_str().expect("named")).collect();
        assert_eq!(names, ["early", "late"]);
        assert_eq!((jobs[0].at, jobs[1].at), (Duration::ZERO, Duration::from_secs(10)));
        let template = &jobs[1].object["spec"]["template"];
        assert_eq!(template["metadata"]["annotations"][RUN_FOR], "10500ms");
        assert_eq!(
            template["spec"]["containers"][0]["resources"]["requests"],
            json!({"cpu": "500m", "memory": "64Mi", "nvidia.com/gpu": 1})
        );
        assert!(jobs[1].shares_gpu && template["spec"]["affinity"].to_string().contains("[\"P100\",\"T4\"]"));
        assert_eq!(jobs[0].object["spec"]["template"]["metadata"]["annotations"], json!({}), "it runs to the end");
    }

    #[test]
    fn what_is_no_job_is_refused_with_its_line() {
        for (text, said) in [
            ("name\n", "there is no job"),
            ("id\na\n", "line 2: there must be a column name"),
            ("name,cpu_milli\na,1\nb,much\n", "line 3: cpu_milli is \"much\": it must be a number"),
            ("name,cpu_milli\na,-1\n", "not below zero"),
            ("name,creation_time,deletion_time\na,5,3\n", "deleted at 3 before it starts at 5"),
            ("name,creation_time\na,0\nb,999999999999\n", "\"b\" comes more than 10 years after the first job"),
            ("name\na\na\n", "two jobs \"a\""),
            ("name,cpu_milli\na\n", "record 1"),
        ] {
            let error = format!("{:#}", parse(text).expect_err(said));
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}

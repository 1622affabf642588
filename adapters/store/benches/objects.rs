//! What objects cost: 100,000 pods of about 4 kB of JSON, as clients of 64 workloads would send them, decoded, stored in
//! memory and encoded; beside `serde_json::Value` in the same run.
//! Run with `cargo bench -p steersman-store --bench objects`; `docs/benchmarks.md` keeps results.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

use serde_json::Value;
use steersman_domain::ports::{Store as _, Txn};
use steersman_domain::{Kind, Object, Resource as _, Time};
use steersman_store::MemoryStore;

const PODS: usize = 100_000;
const WORKLOADS: usize = 64;

fn main() {
    let texts: Vec<String> = (0..PODS).map(pod).collect();
    let bytes: usize = texts.iter().map(String::len).sum();
    println!("{PODS} pods of {WORKLOADS} workloads, {} bytes of JSON each", bytes / PODS);
    typed(&texts);
    values(&texts);
}

fn per_pod(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e6 / PODS as f64
}

fn typed(texts: &[String]) {
    let begin = Instant::now();
    for text in texts {
        std::hint::black_box(Object::decode(Kind::Pod, text.as_bytes()).expect("a pod"));
    }
    println!("decode: {:.1} µs", per_pod(begin));

    let before = resident_kib();
    let store = MemoryStore::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let begin = Instant::now();
    for texts in texts.chunks(100) {
        let txns = texts.iter().map(|text| {
            let object = Object::decode(Kind::Pod, text.as_bytes()).expect("a pod");
            let Object::Pod(pod) = &object else { unreachable!("decoded as one") };
            Txn::create(pod.key(), object, Time::from_secs(1_700_000_000))
        });
        let answers = runtime.block_on(store.commit(txns.collect())).expect("the store answers");
        assert!(answers.iter().all(Result::is_ok));
    }
    println!("decode and store: {:.1} µs", per_pod(begin));
    let newest = runtime.block_on(store.head()).expect("a head").revision;
    runtime.block_on(store.compact(newest)).expect("the past is forgotten");
    println!("memory of a stored pod: {:.0} bytes", (resident_kib() - before) * 1024.0 / PODS as f64);

    let page = runtime.block_on(store.list(Default::default())).expect("readable");
    let begin = Instant::now();
    for stored in &page.items {
        std::hint::black_box(stored.object.encode());
    }
    println!("encode: {:.1} µs", per_pod(begin));
}

fn values(texts: &[String]) {
    let before = resident_kib();
    let begin = Instant::now();
    let values: Vec<Value> = texts.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect();
    println!("serde_json::Value: decode {:.1} µs", per_pod(begin));
    println!("serde_json::Value: memory {:.0} bytes", (resident_kib() - before) * 1024.0 / PODS as f64);
    let begin = Instant::now();
    for value in &values {
        std::hint::black_box(serde_json::to_vec(value).expect("JSON"));
    }
    println!("serde_json::Value: encode {:.1} µs", per_pod(begin));
}

fn resident_kib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// A pod of a workload, as it runs: two containers with probes, ports, variables and mounts, volumes, and a status.
fn pod(number: usize) -> String {
    let workload = number % WORKLOADS;
    let (name, ip) =
        (format!("web-{workload}-7d9f8c6b5-{number:06}"), format!("10.1.{}.{}", number / 250 % 250, number % 250));
    let mut env = String::new();
    for variable in 0..10 {
        let _ = write!(env, r#"{{"name":"SETTING_{variable}","value":"value {variable} of workload {workload}"}},"#);
    }
    let container = |container: &str| {
        format!(
            r#"{{"name":"{container}","image":"registry.example/team/{container}-{workload}:v1.4.2","imagePullPolicy":"IfNotPresent",
            "command":["/bin/{container}"],"args":["--port=8080","--workload={workload}"],
            "ports":[{{"name":"http","containerPort":8080,"protocol":"TCP"}}],
            "env":[{env}{{"name":"POD_NAME","valueFrom":{{"fieldRef":{{"apiVersion":"v1","fieldPath":"metadata.name"}}}}}}],
            "resources":{{"limits":{{"cpu":"500m","memory":"256Mi"}},"requests":{{"cpu":"100m","memory":"128Mi"}}}},
            "livenessProbe":{{"httpGet":{{"path":"/healthz","port":"http","scheme":"HTTP"}},"periodSeconds":10,"timeoutSeconds":1,"successThreshold":1,"failureThreshold":3}},
            "volumeMounts":[{{"name":"config","mountPath":"/etc/app"}},{{"name":"scratch","mountPath":"/tmp"}}],
            "terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}}"#
        )
    };
    let state = |container: &str| {
        format!(
            r#"{{"name":"{container}","image":"registry.example/team/{container}-{workload}:v1.4.2","imageID":"","ready":true,
            "restartCount":0,"started":true,"containerID":"process://{number}-{container}",
            "state":{{"running":{{"startedAt":"2026-01-01T00:00:00Z"}}}}}}"#
        )
    };
    let condition =
        |kind: &str| format!(r#"{{"type":"{kind}","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}}"#);
    let text = format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"team-{}","uid":"00000000-0000-4000-8000-{number:012}",
        "labels":{{"app":"web-{workload}","pod-template-hash":"7d9f8c6b5"}},"creationTimestamp":"2026-01-01T00:00:00Z",
        "ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-{workload}-7d9f8c6b5","uid":"00000000-0000-4000-9000-{workload:012}","controller":true,"blockOwnerDeletion":true}}]}},
        "spec":{{"volumes":[{{"name":"config","configMap":{{"name":"config-{workload}","defaultMode":420}}}},{{"name":"scratch","emptyDir":{{}}}}],
        "containers":[{},{}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst",
        "serviceAccountName":"default","nodeName":"node-{:04}","schedulerName":"default-scheduler","enableServiceLinks":true,
        "tolerations":[{{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}}]}},
        "status":{{"phase":"Running","conditions":[{},{},{},{}],"hostIP":"10.0.0.7","podIP":"{ip}","podIPs":[{{"ip":"{ip}"}}],
        "startTime":"2026-01-01T00:00:00Z","containerStatuses":[{},{}],"qosClass":"Burstable"}}}}"#,
        workload % 16,
        container("app"),
        container("side"),
        number % 5000,
        condition("Initialized"),
        condition("Ready"),
        condition("ContainersReady"),
        condition("PodScheduled"),
        state("app"),
        state("side"),
    );
    serde_json::to_string(&serde_json::from_str::<Value>(&text).expect("JSON")).expect("JSON")
}

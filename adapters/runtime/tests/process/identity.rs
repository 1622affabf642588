//! Environment, descriptors, users, capabilities.

use crate::world::{World, shim};
use steersman_domain::ports::{ContainerSpec, Identity};

#[tokio::test]
async fn the_environment_is_exactly_what_the_spec_says() {
    let world = World::new().await;
    let pod = world.pod("env").await;
    let mut spec = pod.spec("");
    spec.command = vec!["env".into()];
    spec.env = vec![("PATH".into(), "/usr/bin:/bin".into()), ("A".into(), "1 =\n2".into())];
    assert_eq!(pod.output(&spec).await, "PATH=/usr/bin:/bin\nA=1 =\n2\n");
}

#[tokio::test]
async fn a_path_is_given_to_those_without() {
    let world = World::new().await;
    let pod = world.pod("path").await;
    let mut spec = pod.spec("");
    (spec.command, spec.env) = (vec!["env".into()], vec![]);
    let shim = shim();
    let dir = shim.parent().unwrap();
    let rest = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(pod.output(&spec).await, format!("PATH={}:{rest}\n", dir.display()));
}

#[tokio::test]
async fn processes_start_clean() {
    let world = World::new().await;
    let pod = world.pod("clean").await;
    let script = "ls /proc/self/fd | sort -n | tr '\\n' ' '; readlink /proc/self/fd/0; umask; ulimit -c; \
                  grep -E '^(NoNewPrivs|SigBlk|SigIgn|CapEff|CapPrm|CapAmb)' /proc/self/status | tr '\\t\\n' '  '; \
                  echo; ps -o pid=,sid= -p $$; ls; pwd";
    let text = pod.output(&pod.spec(script)).await;
    let lines: Vec<_> = text.lines().collect();
    // `ls` has one descriptor open for the directory it reads.
    assert_eq!(lines[0], "0 1 2 3 /dev/null");
    assert_eq!(lines[1..3], ["0022", "0"]);
    assert!(lines[3].contains("NoNewPrivs: 1"), "{text}");
    assert!(lines[3].contains("SigBlk: 0000000000000000") && lines[3].contains("SigIgn: 0000000000000000"), "{text}");
    for set in ["CapPrm", "CapEff", "CapAmb"] {
        assert!(lines[3].contains(&format!("{set}: 0000000000000000")), "{text}");
    }
    let ids: Vec<_> = lines[4].split_whitespace().collect();
    assert_eq!(ids[0], ids[1], "leads a session of its own");
    assert!(lines[5].ends_with("/work/app"), "an empty directory of its own: {text}");
}

#[tokio::test]
async fn what_the_host_leaves_open_is_closed() {
    let world = World::new().await;
    let path = world.dir.path().join("leak");
    let file = std::fs::File::create(&path).unwrap();
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let pod = world.pod("leak").await;
    let shim = world.shim_pid(&pod.uid);
    let open: Vec<_> = std::fs::read_dir(format!("/proc/{shim}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .collect();
    assert!(open.len() > 3 && !open.contains(&path), "{open:?}");
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_root_user_has_no_capability_left_to_gain() {
    let world = World::new().await;
    let pod = world.pod("bounded").await;
    let text = pod.output(&pod.spec("id -u; grep CapBnd /proc/self/status | cut -f2")).await;
    assert_eq!(text, "0\n0000000000000000\n");
}

#[tokio::test]
#[ignore = "needs root"]
async fn users_groups_and_capabilities_are_as_asked() {
    let world = World::new().await;
    let pod = world.pod("user").await;
    let script =
        "id -u; id -g; id -G; grep CapEff /proc/self/status | cut -f2; touch here.$$ && echo wrote > /dev/stdout";
    let run = async |attempt: u32, identity: Identity| {
        pod.output(&ContainerSpec { identity, attempt, ..pod.spec(script) }).await.replace('\n', " ")
    };
    let nobody = Identity { user: Some(65534), non_root: true, ..Identity::default() };
    let groups = Identity { group: Some(7), supplemental_groups: vec![8, 9], ..nobody.clone() };
    assert_eq!(run(0, groups).await, "65534 7 7 8 9 0000000000000000 wrote ");
    let bind = Identity { add_capabilities: vec!["NET_BIND_SERVICE".into()], ..nobody };
    assert!(run(1, bind.clone()).await.contains(" 0000000000000400 wrote"));
    assert!(run(2, Identity { user: None, non_root: false, ..bind }).await.starts_with("0 0 0 0000000000000400"));
    let privileged = Identity { privileged: true, ..Identity::default() };
    let all = run(3, privileged).await;
    assert!(!all.contains("0000000000000000"), "{all}");
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused() {
    let world = World::new().await;
    let pod = world.pod("refuse").await;
    let with = |identity: Identity| ContainerSpec { identity, ..pod.spec("true") };
    let bad = with(Identity { add_capabilities: vec!["FLY".into()], ..Identity::default() });
    assert!(pod.refused(&bad).await.contains("FLY is not the name of a capability"));
    assert!(pod.refused(&ContainerSpec { command: vec![], ..pod.spec("") }).await.contains("set `command`"));
    let relative = ContainerSpec { working_dir: Some("here".into()), ..pod.spec("true") };
    assert!(pod.refused(&relative).await.contains("workingDir here must be absolute"));
}

#[tokio::test]
#[ignore = "needs root"]
async fn root_is_refused_where_no_root_is_asked() {
    let world = World::new().await;
    let pod = world.pod("root").await;
    let identity = Identity { non_root: true, ..Identity::default() };
    let message = pod.refused(&ContainerSpec { identity, ..pod.spec("true") }).await;
    assert!(message.contains("runAsNonRoot"), "{message}");
}

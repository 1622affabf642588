//! Environment, descriptors, users, capabilities.

use crate::world::{Pod, World, sandbox, shim};
use steersman_domain::Uid;
use steersman_domain::ports::{ContainerSpec, Identity, Mount, Runtime as _, SandboxSpec, VolumeContent};

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

#[tokio::test]
#[ignore = "needs root"]
async fn the_host_is_called_as_the_pod_and_volumes_belong_to_its_group() {
    let world = World::new().await;
    let uid = Uid::from("grouped");
    let spec = SandboxSpec { hostname: "my-pod".into(), fs_group: Some(4321), ..sandbox(&uid, "grouped") };
    let ip = world.runtime().run_sandbox(&spec).await.unwrap();
    let pod = Pod { world: &world, uid: uid.clone(), ip };
    let empty = VolumeContent::Empty { limit_bytes: 0, memory: false };
    let files = VolumeContent::Files { files: vec![("d/f".into(), b"words".to_vec(), 0o400)], secret: true };
    for (name, content) in [("room", &empty), ("shelf", &files)] {
        world.runtime().prepare_volume(&uid, name, content).await.unwrap();
    }
    let mount = |volume: &str| Mount {
        volume: volume.into(),
        path: format!("/mnt/{volume}").into(),
        sub_path: "".into(),
        read_only: false,
    };
    let identity =
        Identity { user: Some(1234), group: Some(1234), supplemental_groups: vec![4321], ..Identity::default() };
    let script = "cat /proc/sys/kernel/hostname; touch /mnt/room/new; stat -c '%g %a' /mnt/room /mnt/room/new; \
                  cat /mnt/shelf/d/f; echo; stat -L -c '%g %a' /mnt/shelf/d /mnt/shelf/d/f";
    let spec = ContainerSpec { identity, mounts: vec![mount("room"), mount("shelf")], ..pod.spec(script) };
    let printed = pod.output(&spec).await;
    let expected = ["my-pod", "4321 2777", "4321 644", "words", "4321 2755", "4321 440"];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_ne!(host.trim(), "my-pod", "the host keeps its own name");
}

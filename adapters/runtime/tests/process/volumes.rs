//! Volumes in real containers.

use crate::world::{Pod, World};
use std::path::{Path, PathBuf};
use steersman_domain::ports::{ContainerSpec, Identity, Mount, Runtime, VolumeContent};

fn mount(volume: &str, path: impl Into<PathBuf>) -> Mount {
    Mount { volume: volume.into(), path: path.into(), sub_path: PathBuf::new(), read_only: false }
}

fn files(list: &[(&str, &str, u32)]) -> VolumeContent {
    let files = list.iter().map(|(path, text, mode)| ((*path).into(), (*text).into(), *mode)).collect();
    VolumeContent::Files { files, secret: true }
}

async fn volume(pod: &Pod<'_>, name: &str, content: &VolumeContent) {
    pod.world.runtime().prepare_volume(&pod.uid, name, content).await.unwrap();
}

const EMPTY: VolumeContent = VolumeContent::Empty { limit_bytes: 0, memory: false };

#[tokio::test]
#[ignore = "needs root"]
async fn files_appear_where_the_host_has_nothing_and_change_while_it_runs() {
    let world = World::new().await;
    let pod = world.pod("files").await;
    volume(&pod, "conf", &files(&[("a.txt", "one", 0o640), ("deep/b", "two", 0o444)])).await;
    volume(&pod, "scratch", &EMPTY).await;
    let mounts = vec![
        mount("conf", "/steersman-test/conf"),
        mount("scratch", "/etc/steersman-test/nested"),
        Mount { sub_path: "made/here".into(), ..mount("scratch", "/var/steersman-test") },
    ];
    let script = "cat /steersman-test/conf/a.txt /steersman-test/conf/deep/b; test -r /etc/passwd && test -d /proc/1 && \
                  echo x > /etc/steersman-test/nested/file && echo y > /var/steersman-test/in && \
                  cat /etc/steersman-test/nested/made/here/in && echo ok; \
                  while [ \"$(cat /steersman-test/conf/a.txt)\" = one ]; do sleep 0.01; done; echo changed";
    pod.start(&ContainerSpec { mounts, ..pod.spec(script) }).await;
    let text = pod.logged("ok").await;
    assert_eq!(text, "onetwoy\nok\n");
    volume(&pod, "conf", &files(&[("a.txt", "three", 0o640)])).await;
    assert_eq!(pod.exit("app").await.exit_code, 0);
    pod.logged("changed").await;
    for path in ["/steersman-test", "/etc/steersman-test", "/var/steersman-test"] {
        assert!(!Path::new(path).exists(), "{path} was made on the host");
    }
    let data = world.pod_dir(&pod.uid).join("volumes/scratch/data");
    assert_eq!(std::fs::read_to_string(data.join("file")).unwrap(), "x\n");
}

#[tokio::test]
#[ignore = "needs root"]
async fn other_users_see_their_volumes_and_commands_see_them_too() {
    let world = World::new().await;
    let pod = world.pod("users").await;
    volume(&pod, "conf", &files(&[("key", "secret", 0o444)])).await;
    volume(&pod, "scratch", &EMPTY).await;
    let mounts = vec![
        Mount { read_only: true, ..mount("conf", "/run/steersman-test/conf") },
        mount("scratch", "/run/steersman-test/scratch"),
    ];
    let identity = Identity { user: Some(65534), ..Identity::default() };
    let script = "cat /run/steersman-test/conf/key; echo w > /run/steersman-test/scratch/f && echo wrote; sleep 60";
    pod.start(&ContainerSpec { mounts, identity, ..pod.spec(script) }).await;
    assert_eq!(pod.logged("wrote").await, "secretwrote\n");
    let command = ["sh", "-c", "id -u; cat /run/steersman-test/scratch/f"].map(str::to_owned);
    let got = world.runtime().exec(&pod.uid, "app", &command, crate::world::PATIENCE).await.unwrap();
    assert_eq!(String::from_utf8(got.output).unwrap(), "65534\nw\n");
}

#[tokio::test]
#[ignore = "needs root"]
async fn read_only_is_read_only() {
    let world = World::new().await;
    let pod = world.pod("readonly").await;
    let host = world.dir.path().join("host");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("file"), "from the host\n").unwrap();
    volume(&pod, "host", &VolumeContent::Host { path: host.clone(), create: false }).await;
    volume(&pod, "scratch", &EMPTY).await;
    let mounts =
        vec![Mount { read_only: true, ..mount("host", "/mnt/steersman-host") }, mount("scratch", "/mnt/steersman-rw")];
    let identity = Identity { read_only_root: true, ..Identity::default() };
    let script = "cat /mnt/steersman-host/file; echo x > /mnt/steersman-host/new || echo no; \
                  echo x > /tmp/steersman-test-new || echo no; echo x > /mnt/steersman-rw/new && echo yes; \
                  echo x > /dev/null && echo yes";
    let text = pod.output(&ContainerSpec { mounts, identity, ..pod.spec(script) }).await;
    let shown: Vec<_> = text.lines().filter(|l| !l.starts_with("/bin/sh:") && !l.starts_with("sh:")).collect();
    assert_eq!(shown, ["from the host", "no", "no", "yes", "yes"], "{text}");
    assert!(!host.join("new").exists());
    assert!(std::fs::write(host.join("still"), "").is_ok(), "the host itself stays writable");
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_sub_path_stays_inside_its_volume() {
    let world = World::new().await;
    let pod = world.pod("confined").await;
    volume(&pod, "scratch", &EMPTY).await;
    let data = world.pod_dir(&pod.uid).join("volumes/scratch/data");
    std::os::unix::fs::symlink("/etc", data.join("escape")).unwrap();
    for sub in ["escape", "../..", "/etc", "escape/deeper"] {
        let mounts = vec![Mount { sub_path: sub.into(), ..mount("scratch", "/mnt/steersman-test") }];
        let message = pod.refused(&ContainerSpec { mounts, ..pod.spec("true") }).await;
        assert!(message.contains("subPath"), "{message}");
    }
    volume(&pod, "conf", &files(&[("only", "me", 0o444)])).await;
    let mounts = vec![Mount { sub_path: "only".into(), ..mount("conf", "/etc/steersman-test-only") }];
    assert_eq!(pod.output(&ContainerSpec { mounts, ..pod.spec("cat /etc/steersman-test-only") }).await, "me");
}

#[tokio::test]
#[ignore = "needs root"]
async fn memory_volumes_are_limited_and_go_with_the_pod() {
    let world = World::new().await;
    let pod = world.pod("tmpfs").await;
    volume(&pod, "fast", &VolumeContent::Empty { limit_bytes: 1 << 20, memory: true }).await;
    volume(&pod, "fast", &VolumeContent::Empty { limit_bytes: 1 << 20, memory: true }).await;
    let mounts = vec![mount("fast", "/mnt/steersman-fast")];
    let script = "head -c 500000 /dev/zero > /mnt/steersman-fast/a && echo fits; \
                  head -c 2000000 /dev/zero > /mnt/steersman-fast/b || echo full";
    let text = pod.output(&ContainerSpec { mounts, ..pod.spec(script) }).await;
    assert!(text.contains("fits\n") && text.contains("full\n"), "{text}");
    let data = world.pod_dir(&pod.uid).join("volumes/fast/data");
    let mounted = || std::fs::read_to_string("/proc/self/mounts").unwrap().contains(data.to_str().unwrap());
    assert!(mounted());
    world.runtime().remove_sandbox(&pod.uid).await.unwrap();
    assert!(!mounted());
}

#[tokio::test]
async fn a_volume_that_was_not_prepared_is_told() {
    let world = World::new().await;
    let pod = world.pod("unknown").await;
    let spec = ContainerSpec { mounts: vec![mount("nothing", "/mnt/x")], ..pod.spec("true") };
    let error = world.runtime().start_container(&spec).await.unwrap_err();
    assert!(error.to_string().contains("volume nothing has not been prepared"), "{error}");
    let missing = VolumeContent::Host { path: "/no/such/host/dir".into(), create: false };
    let error = world.runtime().prepare_volume(&pod.uid, "host", &missing).await.unwrap_err();
    assert!(error.to_string().contains("DirectoryOrCreate"), "{error}");
}

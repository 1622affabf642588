//! What works, and what is refused, without root. As root each of these runs itself again as another user.

use crate::ports::{LOW_PORT, bind, bound, free_port, greeting, is_kept};
use crate::world::{Shared, World, program, runs, shim, until};
use rustix::io::Errno;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use steersman_domain::ports::{ContainerSpec, Identity, Limits, LogQuery, Mount, Runtime, VolumeContent};

const NOBODY: u32 = 65534;

/// Does a test as the user who runs it, or for root, who could do too much, as another: then this program is started anew
/// to do that one test.
fn as_an_ordinary_user(name: &str, test: impl Future<Output = ()>) {
    if !rustix::process::geteuid().is_root() {
        return tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }
    let shared = Shared::new();
    let output = Command::new(shared.copy(&std::env::current_exe().unwrap()))
        .args(["--exact", &format!("unprivileged::{name}")])
        .current_dir("/")
        .env("STEERSMAN_TEST_SHIM", shared.copy(&shim()))
        .env("STEERSMAN_TEST_PROGRAM", shared.copy(&program()))
        .env("TMPDIR", std::env::temp_dir())
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(" 1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn processes_run_and_end_without_groups_to_kill_them_by() {
    as_an_ordinary_user("processes_run_and_end_without_groups_to_kill_them_by", async {
        let world = World::new().await;
        let pod = world.pod("plain").await;
        let script = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; echo daemon $$; while :; do sleep 1; done' &) ; \
                      while :; do sleep 0.05; done";
        pod.start(&pod.spec(script)).await;
        let text = pod.logged("daemon ").await;
        let daemon: u32 = text.trim().rsplit(' ').next().unwrap().parse().unwrap();
        let exit = world.runtime().stop_container(&pod.uid, "app", Duration::from_millis(50)).await.unwrap();
        assert_eq!((exit.exit_code, exit.signal), (137, 9));
        assert!(!runs(daemon), "something is left");
    });
}

#[test]
fn limits_are_not_enforced_but_never_silently() {
    as_an_ordinary_user("limits_are_not_enforced_but_never_silently", async {
        let world = World::new().await;
        let conditions = world.runtime().conditions().await;
        let of = |kind: &str| conditions.iter().find(|c| c.kind == kind).unwrap();
        assert_eq!(of("ResourceLimits").status, "False");
        assert!(of("ResourceLimits").message.contains("memory: "), "{}", of("ResourceLimits").message);
        assert_eq!(of("VolumeMounts").status, "False");
        let pod = world.pod("limited").await;
        let limits = Limits { memory_limit_bytes: 64 << 20, pids_limit: 100, ..Limits::default() };
        assert_eq!(pod.run(&ContainerSpec { limits, ..pod.spec("exit 0") }).await.exit_code, 0);
    });
}

#[test]
fn binds_are_rewritten_without_any_privilege() {
    as_an_ordinary_user("binds_are_rewritten_without_any_privilege", async {
        let world = World::new().await;
        let conditions = world.runtime().conditions().await;
        let rewriting = conditions.iter().find(|c| c.kind == "PortRewriting").unwrap();
        assert_eq!(rewriting.status, "True", "{}", rewriting.message);
        let pod = world.pod("plain").await;
        let port = free_port().await;
        let address = SocketAddr::from((pod.ip, port));
        pod.start(&bind(&pod, "serve", (Ipv4Addr::UNSPECIFIED, port))).await;
        assert_eq!(bound(&pod).await.address, Ok(address));
        assert_eq!(greeting(address).await, pod.uid.as_str());
    });
}

#[test]
fn ports_kept_from_ordinary_users_stay_kept() {
    as_an_ordinary_user("ports_kept_from_ordinary_users_stay_kept", async {
        let world = World::new().await;
        let pod = world.pod("low").await;
        pod.run(&bind(&pod, "bind", (Ipv4Addr::UNSPECIFIED, LOW_PORT))).await;
        let address = SocketAddr::from((pod.ip, LOW_PORT));
        let wanted = if is_kept(LOW_PORT) { Err(Errno::ACCESS) } else { Ok(address) };
        assert_eq!(bound(&pod).await.address, wanted);
    });
}

#[test]
fn volumes_are_links_below_the_working_directory() {
    as_an_ordinary_user("volumes_are_links_below_the_working_directory", async {
        let world = World::new().await;
        let pod = world.pod("links").await;
        let work = world.dir.path().join("work");
        std::fs::create_dir(&work).unwrap();
        let files = vec![("key".into(), b"value".to_vec(), 0o400)];
        world.runtime().prepare_volume(&pod.uid, "conf", &VolumeContent::Files { files, secret: true }).await.unwrap();
        let empty = VolumeContent::Empty { limit_bytes: 0, memory: true };
        world.runtime().prepare_volume(&pod.uid, "scratch", &empty).await.unwrap();
        let mount = |volume: &str, path: &Path, read_only| Mount {
            volume: volume.into(),
            path: path.into(),
            sub_path: "".into(),
            read_only,
        };
        let spec = |mounts| ContainerSpec {
            mounts,
            working_dir: Some(work.clone()),
            ..pod.spec("cat etc/conf/key; echo x > scratch/file && cat scratch/file")
        };
        let good = vec![mount("conf", &work.join("etc/conf"), true), mount("scratch", &work.join("scratch"), false)];
        assert_eq!(pod.output(&spec(good)).await, "valuex\n");
        let refused = |mounts| ContainerSpec { attempt: 1, ..spec(mounts) };
        let message = pod.refused(&refused(vec![mount("conf", Path::new("/etc/conf"), false)])).await;
        assert!(message.contains("below the container's workingDir"), "{message}");
        let message = pod.refused(&refused(vec![mount("scratch", &work.join("s2"), true)])).await;
        assert!(message.contains("readOnly needs"), "{message}");
        world.runtime().remove_sandbox(&pod.uid).await.unwrap();
        assert!(std::fs::symlink_metadata(work.join("scratch")).is_err(), "the links go with the pod");
    });
}

#[test]
fn what_needs_root_is_refused() {
    as_an_ordinary_user("what_needs_root_is_refused", async {
        let world = World::new().await;
        let pod = world.pod("refused").await;
        for (identity, wanted) in [
            (Identity { user: Some(0), ..Identity::default() }, "CAP_SETUID"),
            (Identity { group: Some(5), ..Identity::default() }, "CAP_SETGID"),
            (Identity { supplemental_groups: vec![5], ..Identity::default() }, "CAP_SETGID"),
            (Identity { privileged: true, ..Identity::default() }, "root"),
            (Identity { read_only_root: true, ..Identity::default() }, "readOnlyRootFilesystem"),
            (Identity { allow_privilege_escalation: true, ..Identity::default() }, "allowPrivilegeEscalation"),
            (Identity { add_capabilities: vec!["SYS_TIME".into()], ..Identity::default() }, "does not have it"),
        ] {
            let message = pod.refused(&ContainerSpec { identity, ..pod.spec("true") }).await;
            assert!(message.contains(wanted), "{message}");
        }
        let me = rustix::process::geteuid().as_raw();
        let identity = Identity { user: Some(me), non_root: true, ..Identity::default() };
        pod.start(&ContainerSpec { identity, ..pod.spec("id -u; sleep 60") }).await;
        until("its user", || async {
            let text = pod.log(LogQuery::default()).await.unwrap();
            if text == format!("{me}\n") { Ok(()) } else { Err(text) }
        })
        .await;
    });
}

//! What the life of a process pod costs: the time of its steps, the memory of its shim, a bind that is rewritten beside one
//! that is not, and how fast a log is taken. Run with `cargo bench -p steersman-runtime --bench process`;
//! `docs/benchmarks.md` keeps results. Figures of root, who has control groups and mounts, differ from those of others.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../tests/process/world.rs"]
mod world;

fn main() {
    #[cfg(target_os = "linux")]
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(figures::print());
    #[cfg(not(target_os = "linux"))]
    println!("process pods run on Linux only");
}

#[cfg(target_os = "linux")]
mod figures {
    use crate::world::{Pod, World, event, program};
    use std::net::Ipv4Addr;
    use std::time::{Duration, Instant};
    use steersman_domain::ports::{ContainerSpec, Runtime};

    /// Pods whose steps are measured, one after the other; the median of each step counts.
    const PODS: usize = 40;
    const LOG_BYTES: u32 = 400_000_000;

    pub(super) async fn print() {
        let world = World::new().await;
        // Finding out what the host can do is done once, and not part of a pod's life.
        world.runtime().conditions().await;
        steps(&world).await;
        let pod = world.pod("figures").await;
        for (name, ip) in [("to every address, rewritten", Ipv4Addr::UNSPECIFIED), ("to the pod's address", pod.ip)] {
            println!("{:<36} {:>9} µs", format!("bind {name}"), bind(&pod, ip).await);
        }
        log(&pod).await;
    }

    async fn steps(world: &World) {
        let mut events = world.runtime().events().await;
        let mut times: [Vec<Duration>; 4] = Default::default();
        for number in 0..PODS {
            let mut begun = Instant::now();
            let mut lap = |step: usize| {
                times[step].push(begun.elapsed());
                begun = Instant::now();
            };
            let pod = world.pod(&format!("figure-{number}")).await;
            lap(0);
            let pid = pod.start(&pod.spec("exec sleep 60")).await.pid.unwrap();
            lap(1);
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            event(&mut events, |_| true).await;
            lap(2);
            world.runtime().remove_sandbox(&pod.uid).await.unwrap();
            lap(3);
        }
        let steps = ["pod made", "container started", "end told after a kill", "pod removed"];
        for (name, mut times) in steps.into_iter().zip(times) {
            times.sort_unstable();
            println!("{name:<36} {:>9.2} ms", times[PODS / 2].as_secs_f64() * 1e3);
        }
        let pod = world.pod("memory").await;
        pod.start(&pod.spec("exec sleep 60")).await;
        println!("{}", shim_memory(world.shim_pid(&pod.uid)));
    }

    /// What a shim with one container holds, shared pages and its own apart.
    fn shim_memory(shim: u32) -> String {
        let text = std::fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).unwrap();
        let sum = |start: &str| -> u64 {
            let lines = text.lines().filter(|line| line.starts_with(start));
            lines.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum()
        };
        format!("{:<36} {:>9} kB, {} kB its own", "shim resident", sum("Rss:"), sum("Private_"))
    }

    /// Microseconds of one bind, as the program that binds sees it.
    async fn bind(pod: &Pod<'_>, ip: Ipv4Addr) -> String {
        let command = vec![program().to_str().unwrap().to_owned(), "cost".to_owned(), ip.to_string()];
        let name = format!("bind-{}", u8::from(ip.is_unspecified())).into();
        pod.output(&ContainerSpec { name, command, ..pod.spec("") }).await
    }

    async fn log(pod: &Pod<'_>) {
        let script = format!("yes 0123456789012345678901234567890 | head -c {LOG_BYTES}");
        let begun = Instant::now();
        pod.run(&ContainerSpec { name: "loud".into(), ..pod.spec(&script) }).await;
        let rate = f64::from(LOG_BYTES) / 1e6 / begun.elapsed().as_secs_f64();
        println!("{:<36} {rate:>9.0} MB/s", "log taken");
    }
}

//! Hosts on one machine: network namespaces with a cable between them. Needs root and the program `ip`.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Two hosts, each with a loopback of its own, that see each other by one cable. Dropping them removes them.
#[derive(Debug)]
pub struct Hosts {
    names: [String; 2],
}

fn ip(words: &[&str]) {
    let output = Command::new("ip").args(words).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("the program `ip` (package iproute2) is needed: {error}"));
    assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Hosts {
    /// Makes the hosts; `tag` tells those of one test from those of another.
    ///
    /// # Panics
    /// When the machine does not let us.
    #[must_use]
    pub fn new(tag: &str) -> Self {
        let names = ["a", "b"].map(|side| format!("steer-{tag}-{}-{side}", std::process::id()));
        let hosts = Hosts { names };
        let [a, b] = &hosts.names;
        for name in [a, b] {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        ip(&["-n", a, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", b]);
        for (side, name) in hosts.names.iter().enumerate() {
            ip(&["-n", name, "address", "add", &format!("{}/24", hosts.address(side)), "dev", "cable"]);
            ip(&["-n", name, "link", "set", "cable", "up"]);
        }
        hosts
    }

    /// The address of host 0 or 1 on the cable.
    #[must_use]
    pub fn address(&self, side: usize) -> IpAddr {
        let last = u8::try_from(side + 1).expect("two hosts");
        IpAddr::V4(Ipv4Addr::new(10, 214, 7, last))
    }

    /// Pulls the cable out or plugs it in.
    pub fn cable(&self, plugged: bool) {
        ip(&["-n", &self.names[0], "link", "set", "cable", if plugged { "up" } else { "down" }]);
    }

    /// Runs on a host: what is started there stays there.
    ///
    /// # Panics
    /// When `run` does, or the host cannot be entered.
    pub fn on<T: Send>(&self, side: usize, run: impl FnOnce() -> T + Send) -> T {
        let name = &self.names[side];
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                let place = File::open(format!("/run/netns/{name}")).expect("the namespace is there");
                move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network)).expect("it can be entered");
                run()
            });
            entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.names {
            // One that was not made needs no removal.
            let _removed = Command::new("ip").args(["netns", "delete", name]).stderr(Stdio::null()).status();
        }
    }
}

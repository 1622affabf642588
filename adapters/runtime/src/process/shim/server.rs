//! The shim's one loop: what it waits for, and who handles it.

use super::binds::{self, Handled};
use super::commands::RunningCommand;
use super::connection::Connection;
use super::containers::Container;
use crate::process::cgroup;
use crate::process::layout;
use crate::process::log_format::Stream;
use crate::process::record::{self, SandboxFile};
use crate::process::sys::signals;
use crate::process::wire::{self, Failure, Frame, Reply, Request};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify;
use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use steersman_domain::Str;

/// How long a shim without a program waits for an agent: one that restarts is back by then.
const ALONE: Duration = Duration::from_secs(5);

/// Who waits for an answer: a connection, and the number of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    connection: u64,
    request: u64,
}

/// Everything one pod needs while it lives.
#[derive(Debug)]
pub(super) struct Shim {
    pub(super) dir: PathBuf,
    pub(super) sandbox: SandboxFile,
    listener: UnixListener,
    children: OwnedFd,
    /// Tells when files of the pod's directory go; none where the user has no watch left.
    watch: Option<OwnedFd>,
    /// Held as long as it lives, so that a pod has one shim.
    /// The pod's directory and address are this shim's as long as it runs.
    _held: [OwnedFd; 2],
    last_id: u64,
    connections: BTreeMap<u64, Connection>,
    /// The latest start of each container.
    pub(super) containers: BTreeMap<Str, Container>,
    pub(super) commands: BTreeMap<u64, RunningCommand>,
    binds: BTreeMap<u64, OwnedFd>,
    /// The shim is to end when its containers have; who asked for it.
    /// Since when there is neither a program nor anybody who asks.
    alone_since: Option<Instant>,
    pub(super) ending: Option<Vec<Waiter>>,
}

/// How often a shim without a watch looks whether its directory is still there.
const UNWATCHED: Duration = Duration::from_secs(5);

/// What became ready.
#[derive(Clone, Debug)]
enum Source {
    Listener,
    Children,
    Watch,
    Connection(u64),
    Output(Str, Stream),
    Command(u64, Stream),
    Binds(u64),
}

impl Shim {
    pub(super) fn new(
        dir: PathBuf,
        sandbox: SandboxFile,
        listener: UnixListener,
        held: [OwnedFd; 2],
    ) -> io::Result<Self> {
        // A user has few watches (128 by default), and a node has as many shims: those without one look now and then.
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
            .and_then(|watch| inotify::add_watch(&watch, ".", inotify::WatchFlags::DELETE).map(|_| watch))
            .ok();
        let mut shim = Shim {
            children: signals::child_events()?,
            dir,
            sandbox,
            listener,
            watch,
            _held: held,
            last_id: 0,
            connections: BTreeMap::new(),
            containers: BTreeMap::new(),
            commands: BTreeMap::new(),
            binds: BTreeMap::new(),
            alone_since: None,
            ending: None,
        };
        for mut state in record::load_containers(&shim.dir) {
            if state.exit.is_none() {
                record::record_lost(&shim.dir, &mut state, "the shim that ran this container was lost")?;
            }
            shim.containers.insert(state.name.clone(), Container::ended(state));
        }
        Ok(shim)
    }

    /// Moves into a group beside those of its containers, so that ending the agent's service does not end the shim.
    fn join_own_group(&self) {
        for (pod, unified) in cgroup::pod_groups(&self.sandbox.cgroups, self.sandbox.spec.uid.as_str()) {
            let own = pod.join("shim");
            if unified && std::fs::create_dir_all(&own).is_ok() {
                // Staying where it is costs only that independence.
                let _stays = std::fs::write(own.join("cgroup.procs"), "0");
            }
        }
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Serves until the pod has ended.
    pub(super) fn run(&mut self) -> io::Result<()> {
        // Only now, for the kernel may take its time, and whoever started the shim waits for it to be ready.
        self.join_own_group();
        self.look_around();
        while !self.is_finished() {
            let ready = self.wait()?;
            for (source, flags) in ready {
                self.handle(&source, flags);
            }
            if self.watch.is_none() {
                self.look_at_directory();
            }
            self.tend(Instant::now());
            self.look_around();
        }
        self.leave();
        Ok(())
    }

    fn is_finished(&self) -> bool {
        let alone = self.alone_since.is_some_and(|since| since.elapsed() >= ALONE);
        (self.ending.is_some() || alone) && self.containers.values().all(|c| c.state.exit.is_some())
    }

    /// Notes whether anything is left to do here. What has ended is on record: an agent that comes back starts another shim
    /// when it needs one.
    fn look_around(&mut self) {
        let asked = !self.connections.is_empty() || !self.commands.is_empty();
        let alone = !asked && self.containers.values().all(|c| c.state.exit.is_some());
        self.alone_since = alone.then(|| self.alone_since.unwrap_or_else(Instant::now));
    }

    /// The last act: answer.
    fn leave(&mut self) {
        for waiter in self.ending.take().unwrap_or_default() {
            if let Some(connection) = self.connections.get_mut(&waiter.connection) {
                // The answer must get out before the process ends.
                let _blocks = connection.stream.set_nonblocking(false);
                let _gone = connection.send(waiter.request, Reply::Done);
            }
        }
    }

    fn wait(&self) -> io::Result<Vec<(Source, PollFlags)>> {
        let mut sources: Vec<(Source, BorrowedFd<'_>, PollFlags)> = vec![
            (Source::Children, self.children.as_fd(), PollFlags::IN),
            (Source::Listener, self.listener.as_fd(), PollFlags::IN),
        ];
        sources.extend(self.watch.as_ref().map(|watch| (Source::Watch, watch.as_fd(), PollFlags::IN)));
        for (id, fd) in &self.binds {
            sources.push((Source::Binds(*id), fd.as_fd(), PollFlags::IN));
        }
        for (id, connection) in &self.connections {
            let out = if connection.has_output() { PollFlags::OUT } else { PollFlags::empty() };
            sources.push((Source::Connection(*id), connection.stream.as_fd(), PollFlags::IN | out));
        }
        for (name, container) in &self.containers {
            for (stream, fd) in container.outputs() {
                sources.push((Source::Output(name.clone(), stream), fd, PollFlags::IN));
            }
        }
        for (id, command) in &self.commands {
            for (stream, fd) in command.outputs() {
                sources.push((Source::Command(*id, stream), fd, PollFlags::IN));
            }
        }
        let mut polled: Vec<_> = sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let timeout = self.next_deadline().map(|at| {
            // Rounded up, for waking early only means waking twice.
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_micros(100);
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let flags: Vec<_> = polled.iter().map(PollFd::revents).collect();
        Ok(sources.into_iter().zip(flags).filter(|(_, f)| !f.is_empty()).map(|((s, _, _), f)| (s, f)).collect())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let containers = self.containers.values().filter_map(Container::next_look);
        let commands = self.commands.values().filter_map(|c| c.deadline);
        let unwatched = self.watch.is_none().then(|| Instant::now() + UNWATCHED);
        containers.chain(commands).chain(self.alone_since.map(|since| since + ALONE)).chain(unwatched).min()
    }

    fn handle(&mut self, source: &Source, flags: PollFlags) {
        match source {
            Source::Listener => self.accept(),
            Source::Children => {
                signals::drain(&self.children);
                self.reap();
            }
            Source::Watch => self.look_at_directory(),
            Source::Connection(id) => self.converse(*id),
            Source::Output(name, stream) => {
                if let Some(container) = self.containers.get_mut(name) {
                    container.read_output(*stream);
                }
            }
            Source::Command(id, stream) => {
                if let Some(command) = self.commands.get_mut(id) {
                    command.read_output(*stream);
                }
            }
            Source::Binds(id) => self.answer_bind(*id, flags),
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if let Ok(connection) = Connection::new(stream) {
                let id = self.next_id();
                self.connections.insert(id, connection);
            }
        }
    }

    /// Whoever deletes the pod's record wants the pod gone: without its directory nobody could reach it again.
    fn look_at_directory(&mut self) {
        if let Some(watch) = &self.watch {
            let mut space = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(watch.as_fd(), &mut space);
            while reader.next().is_ok() {}
        }
        if !self.dir.join(layout::SHIM).exists() {
            self.shut_down(None);
        }
    }

    pub(super) fn add_binds(&mut self, listener: OwnedFd) {
        let id = self.next_id();
        self.binds.insert(id, listener);
    }

    fn answer_bind(&mut self, id: u64, flags: PollFlags) {
        let Some(listener) = self.binds.get(&id) else { return };
        if flags.contains(PollFlags::IN) {
            match binds::handle(listener, self.sandbox.ip) {
                Ok(Handled::Listening) => self.announce(&Reply::Listening),
                Ok(Handled::Nothing) => {}
                Err(_) => drop(self.binds.remove(&id)),
            }
        } else if flags.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            // Nobody uses the filter any more.
            self.binds.remove(&id);
        }
    }

    fn converse(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let result = connection.flush().and_then(|()| connection.receive());
        match result {
            Ok(frames) => frames.into_iter().for_each(|frame| self.request(id, frame)),
            Err(_) => drop(self.connections.remove(&id)),
        }
    }

    fn request(&mut self, connection: u64, frame: Frame<Request>) {
        let waiter = Waiter { connection, request: frame.id };
        match frame.body {
            Request::Hello { version } if version != wire::VERSION => {
                let ours = wire::VERSION;
                let message = format!("the pod's shim speaks version {ours} of its protocol, the agent {version}");
                self.fail(waiter, Failure::Unavailable(message));
            }
            Request::Hello { .. } => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.subscribed = true;
                }
                let mut containers: Vec<_> = self.containers.values().map(|c| c.state.clone()).collect();
                containers.sort_by_key(|c| c.order);
                self.reply(waiter, Reply::Hello { version: wire::VERSION, containers });
            }
            Request::Start(launch) => {
                let reply = match self.start(*launch) {
                    Ok(state) => Reply::Started(state),
                    Err(failure) => Reply::Failed(failure),
                };
                self.reply(waiter, reply);
            }
            Request::Stop { name, grace_ms } => self.stop(waiter, &name, Duration::from_millis(grace_ms)),
            Request::Exec { name, command, timeout_ms } => {
                let timeout = Duration::from_millis(timeout_ms);
                if let Err(failure) = self.run_command(waiter, &name, command, timeout) {
                    self.fail(waiter, failure);
                }
            }
            Request::Shutdown => self.shut_down(Some(waiter)),
        }
    }

    fn shut_down(&mut self, waiter: Option<Waiter>) {
        self.ending.get_or_insert_default().extend(waiter);
        let now = Instant::now();
        for container in self.containers.values_mut() {
            container.bring_deadline(now);
        }
    }

    pub(super) fn reply(&mut self, waiter: Waiter, reply: Reply) {
        if let Some(connection) = self.connections.get_mut(&waiter.connection)
            && connection.send(waiter.request, reply).is_err()
        {
            self.connections.remove(&waiter.connection);
        }
    }

    pub(super) fn fail(&mut self, waiter: Waiter, failure: Failure) {
        self.reply(waiter, Reply::Failed(failure));
    }

    /// Tells every agent that listens.
    pub(super) fn announce(&mut self, event: &Reply) {
        self.connections.retain(|_, connection| !connection.subscribed || connection.send(0, event.clone()).is_ok());
    }
}

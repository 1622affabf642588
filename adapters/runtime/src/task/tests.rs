//! Functions from start to end, on tokio's executor and by the real clock; nothing is timed.

use super::*;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steersman_domain::Time;
use steersman_domain::ports::{
    Clock, ContainerSpec, HealthAction, HealthCheck, HealthMonitor as _, Identity, Limits, LogQuery, MessageError,
    Messenger as _, Recipient, Runtime as _, RuntimeError, RuntimeEvent, RuntimeEvents, SandboxSpec, SpawnHandle,
    Spawner, Task,
};
use steersman_domain::testing::SeededEntropy;

struct Real(Instant);

#[async_trait::async_trait]
impl Clock for Real {
    fn now(&self) -> Time {
        Time::from_micros(i64::try_from(self.0.elapsed().as_micros()).expect("a short test"))
    }
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

struct Tokio;

impl Spawner for Tokio {
    fn spawn(&self, _: &'static str, task: Task) -> SpawnHandle {
        let handle = tokio::spawn(task).abort_handle();
        SpawnHandle::new(move || handle.abort())
    }
}

struct World {
    registry: Registry,
    board: Switchboard,
    runtime: TaskRuntime,
    events: Box<dyn RuntimeEvents>,
}

impl World {
    async fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(Real(Instant::now()));
        let entropy = Arc::new(SeededEntropy::new(1));
        let registry = Registry::new();
        let board = Switchboard::new(clock.clone(), entropy.clone(), Arc::new(Tokio));
        let runtime = TaskRuntime::new(TaskConfig {
            registry: registry.clone(),
            board: board.clone(),
            clock,
            entropy,
            spawner: Arc::new(Tokio),
            host: Arc::new(7_u32),
            addresses: (Ipv4Addr::new(127, 80, 0, 1), 3),
            live: true,
        });
        let events = runtime.events().await;
        World { registry, board, runtime, events }
    }

    async fn sandbox(&self, name: &str, annotations: &[(&'static str, &str)]) -> Result<Ipv4Addr, RuntimeError> {
        let spec = SandboxSpec {
            uid: name.into(),
            namespace: "d".into(),
            name: name.into(),
            hostname: name.into(),
            fs_group: None,
            service_account: "default".into(),
            labels: [("app", name.into())].into_iter().collect(),
            annotations: annotations.iter().map(|(key, value)| (*key, (*value).into())).collect(),
            main_container: "main".into(),
        };
        self.runtime.run_sandbox(&spec).await
    }

    async fn start(&self, pod: &str, function: &str, parameters: Option<&str>) -> Result<(), RuntimeError> {
        self.sandbox(pod, &[]).await?;
        self.runtime.start_container(&spec(pod, function, parameters)).await.map(drop)
    }

    /// How the next run to end ended: its code and what was said.
    async fn exit(&mut self) -> (i32, String) {
        loop {
            match self.events.next().await.expect("the runtime is there") {
                RuntimeEvent::Exited { container, .. } => {
                    let exit = container.exit.expect("it ended");
                    return (exit.exit_code, exit.message.to_string());
                }
                RuntimeEvent::SandboxLost { .. } | RuntimeEvent::Warned { .. } => {}
            }
        }
    }

    async fn warning(&mut self) -> (&'static str, String) {
        loop {
            if let RuntimeEvent::Warned { reason, message, .. } = self.events.next().await.expect("there") {
                return (reason, message);
            }
        }
    }

    async fn log(&self, pod: &str) -> String {
        let query = LogQuery { pod: pod.into(), container: "main".into(), ..LogQuery::default() };
        let mut stream = self.runtime.logs(query).await.expect("a log");
        let mut text = String::new();
        while let Some(piece) = stream.next().await.expect("readable") {
            text.push_str(&String::from_utf8_lossy(&piece));
        }
        text
    }
}

fn spec(pod: &str, function: &str, parameters: Option<&str>) -> ContainerSpec {
    ContainerSpec {
        pod: pod.into(),
        name: "main".into(),
        attempt: 0,
        init: false,
        image: function.into(),
        command: parameters.map(str::to_owned).into_iter().collect(),
        env: vec![("COLOUR".into(), "red".into())],
        working_dir: None,
        identity: Identity::default(),
        limits: Limits::default(),
        mounts: Vec::new(),
    }
}

fn within() -> Duration {
    Duration::from_secs(20)
}

fn to(pod: &str) -> Recipient {
    Recipient::pod("d", pod)
}

#[tokio::test]
async fn a_function_knows_who_it_is_and_ends_as_it_says() {
    let mut world = World::new().await;
    let tell = async |ctx: Context, end: String| {
        let (pod, host) = (ctx.pod().clone(), ctx.host::<u32>().copied());
        ctx.log(format!("{}/{} {} {:?} {:?}", pod.namespace, pod.name, pod.ip, ctx.env("COLOUR"), host));
        match end.as_str() {
            "well" => Ok(()),
            "panic" => panic!("as told"),
            other => Err(format!("it is {other}")),
        }
    };
    world.registry.register("test/tell", tell).expect("free");
    for (pod, end, wanted) in
        [("a", "\"well\"", (0, "")), ("b", "\"bad\"", (1, "it is bad")), ("c", "\"panic\"", (101, "panicked: as told"))]
    {
        world.start(pod, "test/tell", Some(end)).await.expect("starts");
        assert_eq!(world.exit().await, (wanted.0, wanted.1.to_owned()));
        let log = world.log(pod).await;
        assert!(log.starts_with(&format!("d/{pod} 127.80.0.")) && log.contains("Some(\"red\") Some(7)"), "{log}");
        assert!(log.trim_end().ends_with(wanted.1), "{log}");
    }
}

#[tokio::test]
async fn what_cannot_start_says_why_and_how_to_mend_it() {
    let world = World::new().await;
    world.sandbox("p", &[]).await.expect("a sandbox");
    let refused = async |spec: &ContainerSpec| world.runtime.start_container(spec).await.expect_err("refused");
    let cannot = |error: RuntimeError| match error {
        RuntimeError::CannotRun { reason, message, exit_code } => (reason, message, exit_code),
        other => panic!("{other:?}"),
    };
    let none = "there is no function \"workers/echo\": this program has registered none";
    assert_eq!(cannot(refused(&spec("p", "workers/echo", None)).await), ("UnknownFunction", none.into(), 127));
    world.registry.register("workers/echo_worker", async |_: Context, _: u8| {}).expect("free");
    let near = "there is no function \"workers/echo_wroker\": did you mean \"workers/echo_worker\"?";
    assert_eq!(cannot(refused(&spec("p", "workers/echo_wroker", None)).await).1, near);
    let far = "there is no function \"sum\": registered are workers/echo_worker";
    assert_eq!(cannot(refused(&spec("p", "sum", None)).await).1, far);
    let parameters = cannot(refused(&spec("p", "workers/echo_worker", Some("300"))).await);
    assert_eq!((parameters.0, parameters.2), ("InvalidParameters", 126));
    let wanted = "the parameters of workers/echo_worker cannot be read: invalid value: integer `300`, expected u8";
    assert!(parameters.1.starts_with(wanted), "{}", parameters.1);
    let mut two = spec("p", "workers/echo_worker", Some("1"));
    two.command.push("2".into());
    assert!(refused(&two).await.to_string().contains("one argument at most, a JSON document"));
    let mut user = spec("p", "workers/echo_worker", Some("1"));
    user.identity.user = Some(7);
    assert!(refused(&user).await.to_string().contains("leave runAsUser"));
    world.sandbox("q", &[(MAILBOX, "none")]).await.expect("a sandbox");
    let mailbox = refused(&spec("q", "workers/echo_worker", Some("1"))).await.to_string();
    assert!(mailbox.contains("steersman.io/mailbox is \"none\": it must be a whole number from 1 to"), "{mailbox}");
    assert_eq!(world.runtime.sandboxes().await.expect("known").len(), 2);
}

#[tokio::test]
async fn messages_are_answered_and_errors_come_back() {
    let world = World::new().await;
    let double = async |mut ctx: Context, (): ()| {
        ctx.answer_each(|value: i64| async move { value.checked_mul(2).ok_or("too large") }).await;
    };
    world.registry.register("test/double", double).expect("free");
    world.start("p", "test/double", None).await.expect("starts");
    let ask = async |value: serde_json::Value| world.board.ask(&to("p"), value, within()).await;
    assert_eq!(ask(21.into()).await, Ok(42.into()));
    assert_eq!(ask(i64::MAX.into()).await, Err(MessageError::Refused("too large".into())));
    let form = ask("x".into()).await.expect_err("no number").to_string();
    assert!(form.starts_with("the message is no i64: "), "{form}");
    assert_eq!(world.board.ask(&to("q"), 1.into(), within()).await, Err(MessageError::NotFound(to("q"))));
    // By a typed address nothing becomes JSON.
    let address = world.board.address(&to("p"));
    assert_eq!(address.ask::<i64>(4_i64).await, Ok(8));
    let exit = world.runtime.stop_container(&"p".into(), "main", within()).await.expect("ends");
    assert_eq!(exit.exit_code, 0, "it ends by itself when nothing comes any more");
    assert_eq!(ask(1.into()).await, Err(MessageError::NotReady(to("p"))));
}

#[tokio::test]
async fn a_panic_answers_the_one_who_waits() {
    let mut world = World::new().await;
    let fragile = async |mut ctx: Context, (): ()| {
        let message = ctx.next().await.expect("a message");
        let (value, reply) = message.open::<String>().expect("a text");
        assert_eq!(value, "sun", "cannot bear it");
        reply.answer(value);
    };
    world.registry.register("test/fragile", fragile).expect("free");
    world.start("p", "test/fragile", None).await.expect("starts");
    let answer = world.board.ask(&to("p"), "rain".into(), within()).await;
    assert_eq!(answer, Err(MessageError::Panicked));
    let (code, message) = world.exit().await;
    assert!(code == 101 && message.contains("cannot bear it"), "{code} {message}");
}

#[tokio::test]
async fn a_full_mailbox_holds_back_and_then_refuses() {
    let world = World::new().await;
    world.registry.register("test/deaf", async |ctx: Context, (): ()| ctx.stopping().await).expect("free");
    world.sandbox("p", &[(MAILBOX, "100")]).await.expect("a sandbox");
    world.runtime.start_container(&spec("p", "test/deaf", None)).await.expect("starts");
    let (mut taken, mut full) = (0, 0);
    // A hundred thousand messages: what has room is taken, the rest is refused, and nothing is kept beyond the room.
    for _ in 0..100_000 {
        match world.board.address(&to("p")).within(Duration::ZERO).send(1).await {
            Ok(()) => taken += 1,
            Err(MessageError::Full { .. }) => full += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((taken, full), (100, 99_900));
    let waited = world.board.send(&to("p"), 1.into(), Duration::from_millis(5)).await.expect_err("full").to_string();
    assert_eq!(waited, "the mailbox of pod d/p was full for 5 ms: it works too slowly, or is stuck");
}

#[tokio::test]
async fn one_that_does_not_end_is_killed_when_its_grace_is_over() {
    let world = World::new().await;
    world
        .registry
        .register("test/stubborn", async |_: Context, (): ()| std::future::pending::<()>().await)
        .expect("free");
    world.start("p", "test/stubborn", None).await.expect("starts");
    let exit = world.runtime.stop_container(&"p".into(), "main", Duration::from_millis(10)).await.expect("is killed");
    assert_eq!((exit.exit_code, exit.signal), (137, 9));
    world.runtime.remove_sandbox(&"p".into()).await.expect("goes");
    assert!(world.runtime.sandboxes().await.expect("known").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_holds_its_thread_is_told_of_and_others_go_on() {
    let mut world = World::new().await;
    let greedy = async |mut ctx: Context, (): ()| {
        if let Some(message) = ctx.next().await {
            let (_, reply) = message.open::<()>().expect("nothing");
            std::thread::sleep(Duration::from_millis(1200));
            reply.answer(());
        }
    };
    world.registry.register("test/greedy", greedy).expect("free");
    world
        .registry
        .register("test/quick", async |mut ctx: Context, (): ()| {
            ctx.answer_each(|n: u8| async move { Ok::<u8, String>(n) }).await;
        })
        .expect("free");
    world.start("greedy", "test/greedy", None).await.expect("starts");
    world.start("quick", "test/quick", None).await.expect("starts");
    world.board.send(&to("greedy"), serde_json::Value::Null, within()).await.expect("taken");
    assert_eq!(world.board.ask(&to("quick"), 5.into(), within()).await, Ok(5.into()), "others go on");
    let (reason, message) = world.warning().await;
    assert_eq!(reason, "BlocksRuntime");
    assert!(message.contains("register_blocking"), "{message}");
}

#[tokio::test]
async fn one_that_hangs_is_killed_and_one_that_waits_is_not() {
    let mut world = World::new().await;
    world.registry.register("test/hangs", async |_: Context, (): ()| std::future::pending::<()>().await).expect("free");
    world
        .registry
        .register("test/waits", async |mut ctx: Context, (): ()| while ctx.next().await.is_some() {})
        .expect("free");
    for (pod, function) in [("w", "test/waits"), ("h", "test/hangs")] {
        world.sandbox(pod, &[(HANG_AFTER, "1")]).await.expect("a sandbox");
        world.runtime.start_container(&spec(pod, function, None)).await.expect("starts");
    }
    assert_eq!(world.exit().await, (137, "killed: no progress for 1 s (steersman.io/hang-after)".into()));
    assert_eq!(world.board.send(&to("w"), 1.into(), within()).await, Ok(()), "the other one waits for messages");
}

#[tokio::test]
async fn a_probe_goes_through_the_mailbox_and_back() {
    let world = World::new().await;
    let seen = async |mut ctx: Context, (): ()| {
        while let Some(message) = ctx.next().await {
            message.open::<u32>().expect("a number").1.answer(1);
        }
    };
    world.registry.register("test/seen", seen).expect("free");
    world.registry.register("test/deaf", async |_: Context, (): ()| std::future::pending::<()>().await).expect("free");
    world.start("a", "test/seen", None).await.expect("starts");
    world.sandbox("b", &[(MAILBOX, "1")]).await.expect("room");
    world.runtime.start_container(&spec("b", "test/deaf", None)).await.expect("starts");
    let look = async |pod: &str, container: &str, command: &str| {
        let (action, timeout) = (HealthAction::Exec(vec![command.into()]), Duration::from_millis(100));
        let check =
            HealthCheck { pod: pod.into(), container: container.into(), ip: Ipv4Addr::LOCALHOST, action, timeout };
        world.runtime.check(&check).await.map_err(|error| error.0)
    };
    assert_eq!(look("a", "main", "mailbox").await, Ok(()));
    assert_eq!(world.board.address(&to("a")).ask::<u32>(7_u32).await, Ok(1), "no ping shows");
    let why =
        async |pod: &str, container: &str, command: &str| look(pod, container, command).await.expect_err("unwell");
    assert!(why("b", "main", "mailbox").await.contains("did not look into its mailbox within 0.1 s"));
    assert!(why("b", "main", "mailbox").await.contains("its mailbox is full: 1 messages wait"));
    assert!(why("a", "main", "cat").await.contains("use exec with the command [\"mailbox\"]"));
    assert!(why("a", "side", "mailbox").await.contains("only main of this pod has a mailbox"));
    assert!(why("c", "main", "mailbox").await.contains("not known"));
}

#[tokio::test]
async fn blocking_functions_have_a_thread_of_their_own() {
    let mut world = World::new().await;
    world
        .registry
        .register_blocking("test/sum", |mut ctx: Context, start: u64| {
            let mut sum = start;
            while let Some(message) = ctx.next_blocking() {
                let (value, reply) = message.open::<u64>().expect("a number");
                sum += value;
                reply.answer(sum);
            }
        })
        .expect("free");
    world.start("p", "test/sum", Some("100")).await.expect("starts");
    for (value, sum) in [(1, 101), (2, 103)] {
        assert_eq!(world.board.ask(&to("p"), value.into(), within()).await, Ok(sum.into()));
    }
    let exit = world.runtime.stop_container(&"p".into(), "main", within()).await.expect("ends");
    assert_eq!(exit.exit_code, 0);
    // One that does not listen is left behind, and told of.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    world
        .registry
        .register_blocking("test/deaf", move |_: Context, (): ()| {
            let _ = held.lock().expect("one run").recv();
        })
        .expect("free");
    world.start("q", "test/deaf", None).await.expect("starts");
    let exit = world.runtime.stop_container(&"q".into(), "main", Duration::ZERO).await.expect("is given up");
    assert_eq!(exit.exit_code, 137);
    assert_eq!(world.warning().await.0, "ThreadAbandoned");
    drop(release);
}

#[tokio::test]
async fn addresses_are_given_once_and_given_back() {
    let world = World::new().await;
    let mut given = Vec::new();
    for pod in ["a", "b", "c"] {
        given.push(world.sandbox(pod, &[]).await.expect("room"));
    }
    given.dedup();
    assert_eq!(given.len(), 3);
    let full = world.sandbox("d", &[]).await.expect_err("full").to_string();
    assert_eq!(full, "all 3 addresses for functions of this node are taken");
    world.runtime.release_sandbox(&"b".into()).await.expect("released");
    assert_eq!(world.sandbox("d", &[]).await, Ok(given[1]));
    assert_eq!(world.sandbox("d", &[]).await, Ok(given[1]), "asked again, the same");
}

#[tokio::test]
async fn a_service_spreads_its_messages() {
    let world = World::new().await;
    world
        .registry
        .register("test/name", async |mut ctx: Context, (): ()| {
            let name = ctx.pod().name.to_string();
            ctx.answer_each(|(): ()| {
                let name = name.clone();
                async move { Ok::<String, String>(name) }
            })
            .await;
        })
        .expect("free");
    for pod in ["a", "b"] {
        world.start(pod, "test/name", None).await.expect("starts");
    }
    let service = Recipient::service("d", "s");
    let ask = async || world.board.ask(&service, serde_json::Value::Null, within()).await;
    assert_eq!(ask().await, Err(MessageError::NotFound(service.clone())));
    world.board.set_service("d", "s", Balance::RoundRobin, []);
    assert_eq!(ask().await, Err(MessageError::NoEndpoint(service.clone())));
    world.board.set_service("d", "s", Balance::RoundRobin, ["a", "b", "elsewhere"]);
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(ask().await.expect("answered").as_str().expect("a name").to_owned());
    }
    answers.sort();
    assert_eq!(answers[0], "a");
    assert_eq!(answers[3], "b");
    world.board.remove_service("d", "s");
    assert_eq!(ask().await, Err(MessageError::NotFound(service.clone())));
}

//! The same by other crates of actors.

use super::{Turn, turn};

mod with_ractor {
    use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

    pub(crate) struct Next;

    pub(crate) struct Ask(pub(crate) u64, pub(crate) RpcReplyPort<u64>);

    impl Actor for Next {
        type Msg = Ask;
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<Ask>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }

        async fn handle(&self, _: ActorRef<Ask>, ask: Ask, (): &mut ()) -> Result<(), ActorProcessingErr> {
            let _gone = ask.1.send(ask.0 + 1);
            Ok(())
        }
    }

    pub(crate) async fn ask(to: ActorRef<Ask>, value: u64) -> u64 {
        to.call(|reply| Ask(value, reply), None).await.expect("it listens").expect("it answers")
    }
}

mod with_kameo {
    use kameo::actor::ActorRef;
    use kameo::error::Infallible;
    use kameo::message::{Context, Message};

    pub(crate) struct Next;

    impl kameo::Actor for Next {
        type Args = Self;
        type Error = Infallible;

        async fn on_start(args: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
            Ok(args)
        }
    }

    pub(crate) struct Ask(pub(crate) u64);

    impl Message<Ask> for Next {
        type Reply = u64;

        async fn handle(&mut self, ask: Ask, _: &mut Context<Self, u64>) -> u64 {
            ask.0 + 1
        }
    }

    pub(crate) async fn ask(to: ActorRef<Next>, value: u64) -> u64 {
        to.ask(Ask(value)).await.expect("it answers")
    }
}

/// What is measured, with them.
pub(crate) async fn with<'a>(mut all: Vec<(&'static str, Turn<'a>)>) -> Vec<(&'static str, Turn<'a>)> {
    use kameo::actor::Spawn as _;
    use ractor::Actor as _;
    let (one, _) = with_ractor::Next::spawn(None, with_ractor::Next, ()).await.expect("it starts");
    all.push(("ractor, without a deadline", {
        Box::new(move |askers| {
            let one = one.clone();
            Box::pin(turn(askers, move |value| with_ractor::ask(one.clone(), value)))
        })
    }));
    let other = with_kameo::Next::spawn(with_kameo::Next);
    all.push(("kameo, without a deadline", {
        Box::new(move |askers| {
            let other = other.clone();
            Box::pin(turn(askers, move |value| with_kameo::ask(other.clone(), value)))
        })
    }));
    all
}

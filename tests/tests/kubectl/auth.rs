//! `kubectl auth`: what the one who asks may do, and who that is.

use steersman_tests::kubectl::Kubectl;

use crate::{each, has};

fn may(k: &Kubectl, args: &[&str]) {
    let all: Vec<&str> = ["auth", "can-i"].iter().chain(args).copied().collect();
    assert_eq!(k.ok(&all).trim(), "yes", "{args:?}");
}

#[test]
fn an_administrator_may_do_everything() {
    each("may", |k| {
        may(k, &["get", "pods"]);
        may(k, &["delete", "deployments.apps/web", "--namespace", "kube-system"]);
        may(k, &["get", "pods", "--subresource", "log"]);
        may(k, &["*", "*", "--all-namespaces"]);
        may(k, &["get", "/version"]);
        let list = k.ok(&["auth", "can-i", "--list"]);
        has(&list, "*.*");
        has(&list, "[*]");
    });
}

#[test]
fn whoami_tells_the_user_and_the_groups() {
    each("whoami", |k| {
        if k.minor() < 28 {
            return;
        }
        let text = k.ok(&["auth", "whoami"]);
        has(&text, "steersman-admin");
        has(&text, "system:masters");
        has(&text, "system:authenticated");
    });
}

//! What does not work yet is refused in words, at once.

use steersman_tests::manifests::example_pod;

use crate::{apply, each, has};

#[test]
fn what_does_not_work_yet_says_so() {
    each("refused", |k| {
        apply(k, &example_pod("web", &["http", "--port", "8080", "--version", "v1"], "Always"));
        k.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=30s"]);
        for words in [
            &["exec", "web", "--", "true"][..],
            &["attach", "web"],
            &["debug", "web", "--image=none", "--attach=false"],
            &["port-forward", "pod/web", "18080:8080"],
            &["get", "--raw", &format!("/api/v1/namespaces/{}/pods/web/proxy/", k.namespace())],
        ] {
            has(&k.fails(words, &[]).stderr, "not supported");
        }
    });
}

//! Questions about the one who asks: who am I, may I, what may I. They are answered and never kept. The answers come from
//! the rules that requests are checked by, so that they hold.

use crate::access::{Attributes, Decision, User};
use crate::body::Body;
use crate::error::Failure;
use crate::route::Review;
use crate::service::Call;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use steersman_domain::selector::{FieldRequirement, FieldSelector};
use steersman_kubernetes::Gvk;

/// What discovery is made of, for everybody who says who they are.
const DISCOVERY: &[&str] =
    &["/", "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version"];

impl Review {
    fn gvk(self) -> Gvk<'static> {
        match self {
            Review::User => Gvk::new("authentication.k8s.io", "v1", "SelfSubjectReview"),
            Review::Access => Gvk::new("authorization.k8s.io", "v1", "SelfSubjectAccessReview"),
            Review::Rules => Gvk::new("authorization.k8s.io", "v1", "SelfSubjectRulesReview"),
        }
    }
}

impl Call<'_> {
    /// Answers a question about the user.
    pub(crate) async fn review(mut self, review: Review, body: Body) -> Result<Response<Body>, Failure> {
        if self.method != Method::POST {
            return Err(Failure::method_not_allowed());
        }
        self.query.dry_run()?;
        let mut value = self.body_value(review.gvk(), body).await?;
        value["status"] = match review {
            Review::User => json!({"userInfo": user_info(self.user)}),
            Review::Access => self.access(&value["spec"]).await?,
            Review::Rules if value["spec"]["namespace"].as_str().unwrap_or_default().is_empty() => {
                return Err(Failure::invalid_parameter("spec.namespace", "Required value: name a namespace"));
            }
            Review::Rules => rules(self.user),
        };
        Ok(self.json(StatusCode::CREATED, &value))
    }

    async fn access(&self, spec: &Value) -> Result<Value, Failure> {
        let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let decision = match (&spec["resourceAttributes"], &spec["nonResourceAttributes"]) {
            (Value::Object(_), Value::Object(_)) | (Value::Null, Value::Null) => {
                let why = "must specify exactly one of: nonResourceAttributes or resourceAttributes";
                return Err(Failure::invalid_parameter("spec", why));
            }
            (Value::Null, path) => {
                let allowed = self.user.may_ask_for(&text(path, "verb"), &text(path, "path"));
                if allowed { Decision::Allowed("") } else { Decision::Denied(String::new()) }
            }
            (what, _) => {
                let get = |field: &str| what[field].as_str().unwrap_or_default();
                let what = Attributes {
                    verb: get("verb"),
                    group: get("group"),
                    resource: get("resource"),
                    sub: get("subresource"),
                    namespace: get("namespace"),
                    name: get("name"),
                    fields: fields(&what["fieldSelector"]),
                };
                self.service.decide(self.user, &what).await?
            }
        };
        let (allowed, reason) = match decision {
            Decision::Allowed(why) => (true, why.to_owned()),
            Decision::Denied(why) => (false, why),
        };
        let mut status = json!({"allowed": allowed});
        if !reason.is_empty() {
            status["reason"] = json!(reason);
        }
        Ok(status)
    }
}

/// What of a field selector says that a field has a value; more is not asked of it.
fn fields(selector: &Value) -> FieldSelector {
    let raw = selector["rawSelector"].as_str().unwrap_or_default();
    let mut fields = FieldSelector::parse(raw).unwrap_or_default();
    for requirement in selector["requirements"].as_array().into_iter().flatten() {
        let values = requirement["values"].as_array().map_or(&[][..], Vec::as_slice);
        if let ("In", [Value::String(value)]) = (requirement["operator"].as_str().unwrap_or_default(), values) {
            let path = requirement["key"].as_str().unwrap_or_default().into();
            fields.0.push(FieldRequirement { path, value: value.as_str().into(), equal: true });
        }
    }
    fields
}

fn user_info(user: &User) -> Value {
    let mut groups = user.groups.to_vec();
    if !groups.iter().any(|g| g == "system:authenticated") {
        groups.push("system:authenticated".into());
    }
    json!({"username": user.name, "groups": groups})
}

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": groups, "resources": resources});
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

/// Everything that the user may do, as far as rules without conditions can say it.
fn rules(user: &User) -> Value {
    if user.is_master() {
        return json!({"incomplete": false, "resourceRules": [rule(&["*"], &["*"], &["*"], &[])],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]});
    }
    let mut resources = vec![
        rule(&["create"], &["authorization.k8s.io"], &["selfsubjectaccessreviews", "selfsubjectrulesreviews"], &[]),
        rule(&["create"], &["authentication.k8s.io"], &["selfsubjectreviews"], &[]),
    ];
    let mut status = json!({"incomplete": false});
    if let Some(node) = user.node() {
        resources.extend(node_rules(node));
        status["incomplete"] = json!(true);
        status["evaluationError"] = json!(
            "a node's agent may also use the pods that are bound to its node, and the secrets, configmaps and \
             serviceaccounts that they refer to: ask about one by its name"
        );
    }
    status["resourceRules"] = json!(resources);
    status["nonResourceRules"] = json!([{"verbs": ["get"], "nonResourceURLs": DISCOVERY}]);
    status
}

fn node_rules(node: &str) -> Vec<Value> {
    let read = ["get", "list", "watch"];
    vec![
        rule(&read, &[""], &["nodes", "services"], &[]),
        rule(&read, &["discovery.k8s.io"], &["endpointslices"], &[]),
        rule(&read, &["node.k8s.io"], &["runtimeclasses"], &[]),
        rule(&["create", "update", "patch"], &[""], &["nodes"], &[node]),
        rule(&["update", "patch"], &[""], &["nodes/status"], &[node]),
        rule(&["create", "get", "update", "patch", "delete"], &["coordination.k8s.io"], &["leases"], &[node]),
        rule(&["create", "update", "patch"], &["", "events.k8s.io"], &["events"], &[]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::node_rule_holds;

    #[test]
    fn what_is_told_to_a_node_is_what_it_may() {
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let mut told = 0;
        for rule in node_rules("n1") {
            let name = texts(&rule["resourceNames"]).pop().unwrap_or_default();
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    let (resource, sub) = resource.split_once('/').unwrap_or((&resource, ""));
                    for verb in texts(&rule["verbs"]) {
                        let namespace = if resource == "leases" { "kube-node-lease" } else { "" };
                        let fields = FieldSelector::default();
                        let what =
                            Attributes { verb: &verb, group: &group, resource, sub, namespace, name: &name, fields };
                        assert!(node_rule_holds("n1", &what), "{what:?}");
                        told += 1;
                    }
                }
            }
        }
        assert!(told > 20, "{told}");
    }

    #[test]
    fn selectors_are_read_in_both_forms() {
        let wanted = FieldSelector::parse("spec.nodeName=n1").expect("parses");
        assert_eq!(fields(&json!({"rawSelector": "spec.nodeName=n1"})), wanted);
        let requirement = |operator: &str, values: Value| json!({"requirements": [{"key": "spec.nodeName", "operator": operator, "values": values}]});
        assert_eq!(fields(&requirement("In", json!(["n1"]))), wanted);
        assert_eq!(fields(&requirement("NotIn", json!(["n1"]))), FieldSelector::default());
        assert_eq!(fields(&requirement("In", json!(["n1", "n2"]))), FieldSelector::default());
    }
}

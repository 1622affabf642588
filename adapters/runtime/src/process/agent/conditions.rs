//! What the node says about this runtime: which mechanisms are missing, and what follows from that.

use super::Inner;
use steersman_domain::Condition;

impl Inner {
    /// One condition for each mechanism; `True` when all of it works.
    pub(super) async fn conditions(&self) -> Vec<Condition> {
        vec![
            self.rewriting_condition().await,
            self.limits_condition(),
            condition(
                "HostNames",
                self.privileges.can_mount(),
                if self.privileges.can_mount() {
                    "the host of each container is called as its pod".to_owned()
                } else {
                    "steer does not run as root: containers see the name of the host; $HOSTNAME is the pod's".to_owned()
                },
            ),
            condition(
                "VolumeMounts",
                self.privileges.can_mount(),
                if self.privileges.can_mount() {
                    "volumes are mounted in a namespace of each container; the size of an emptyDir is enforced only in memory"
                    .to_owned()
                } else {
                    "steer does not run as root: volumes appear only as links below a container's workingDir, emptyDir in \
                 memory is a plain directory, and sizes of emptyDir are not enforced"
                    .to_owned()
                },
            ),
        ]
    }

    async fn rewriting_condition(&self) -> Condition {
        let collide = "pods that bind the same port on all addresses collide";
        let remedy = "Programs should listen on $POD_IP:$PORT";
        match self.rewriting().await {
            Err(why) => condition("PortRewriting", false, format!("{collide}: {why}. {remedy}")),
            Ok(()) if self.privileges.can_set_user() && !self.privileges.can_trace_others() => {
                let why = "steer lacks CAP_SYS_PTRACE";
                condition("PortRewriting", false, format!("with runAsUser {collide}: {why}. {remedy}"))
            }
            Ok(()) => condition("PortRewriting", true, "binds to all addresses go to the pod's own address".to_owned()),
        }
    }

    fn limits_condition(&self) -> Condition {
        let missing = &self.detected.missing;
        let message = if missing.is_empty() {
            "limits of cpu, memory and processes are enforced by control groups".to_owned()
        } else {
            let list: Vec<_> = missing.iter().map(|(controller, why)| format!("{controller}: {why}")).collect();
            format!("limits are not enforced for {}", list.join("; "))
        };
        condition("ResourceLimits", missing.is_empty(), message)
    }
}

fn condition(kind: &str, works: bool, message: String) -> Condition {
    Condition {
        kind: kind.into(),
        status: if works { "True" } else { "False" }.into(),
        reason: if works { "Available" } else { "MechanismMissing" }.into(),
        message: message.into(),
        ..Condition::default()
    }
}

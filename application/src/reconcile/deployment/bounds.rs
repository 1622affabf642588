//! The bounds of a rollout: how many pods there may be at most and must be available at least.

use steersman_domain::{Deployment, IntOrString, Str};

/// A quarter, when a bound is absent.
const DEFAULT_BOUND: IntOrString = IntOrString::Text(Str::new_static("25%"));

/// Whether pods are replaced step by step.
pub(super) fn is_rolling(deployment: &Deployment) -> bool {
    deployment.spec.strategy.kind != "Recreate"
}

/// Surge (rounded up) and unavailability (rounded down); when both come to nothing, one pod may be unavailable, else no
/// rollout could ever begin.
fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    let replicas = deployment.replicas();
    let rolling = deployment.spec.strategy.rolling_update.as_ref();
    let bound = |value: Option<&IntOrString>, up: bool| {
        value.unwrap_or(&DEFAULT_BOUND).scaled(replicas, up).unwrap_or(0).max(0)
    };
    let surge = bound(rolling.and_then(|r| r.max_surge.as_ref()), true);
    let unavailable = bound(rolling.and_then(|r| r.max_unavailable.as_ref()), false);
    (surge, if surge == 0 && unavailable == 0 { 1 } else { unavailable })
}

/// How many pods there may be beyond the wanted number.
pub(super) fn max_surge(deployment: &Deployment) -> i32 {
    if is_rolling(deployment) { fenceposts(deployment).0 } else { 0 }
}

/// How many of the wanted pods may be unavailable.
pub(super) fn max_unavailable(deployment: &Deployment) -> i32 {
    let replicas = deployment.replicas();
    if !is_rolling(deployment) || replicas == 0 { 0 } else { fenceposts(deployment).1.min(replicas) }
}

/// How many pods there may be at most.
pub(super) fn max_total(deployment: &Deployment) -> i32 {
    deployment.replicas().saturating_add(max_surge(deployment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::RollingUpdateDeployment;

    #[test]
    fn bounds_round_and_never_block() {
        let text = |t: &str| Some(IntOrString::Text(t.into()));
        for (replicas, surge, unavailable, expected) in [
            (4, None, None, (1, 1)),
            (3, None, None, (1, 0)),
            (1, text("0%"), text("25%"), (0, 1)),
            (10, Some(IntOrString::Int(3)), text("200%"), (3, 10)),
            (0, None, None, (0, 0)),
        ] {
            let mut deployment = Deployment::default();
            deployment.spec.replicas = Some(replicas);
            deployment.spec.strategy.rolling_update = Some(RollingUpdateDeployment {
                max_surge: surge,
                max_unavailable: unavailable,
                ..RollingUpdateDeployment::default()
            });
            assert_eq!((max_surge(&deployment), max_unavailable(&deployment)), expected, "{replicas}");
            deployment.spec.strategy.kind = "Recreate".into();
            assert_eq!((max_surge(&deployment), max_unavailable(&deployment)), (0, 0));
        }
    }
}

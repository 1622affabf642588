//! Images that are there already need not be pulled: the more bytes, the better. Source of the thresholds: kube-scheduler
//! `plugins/imagelocality/image_locality.go`.

use super::share::percent;
use crate::scheduling::{Basis, Demand, NodeInfo, Score};
use steersman_domain::{ContainerImage, Str};

/// Smaller images are pulled so quickly that they do not count.
const LEAST_BYTES: i64 = 23 << 20;
/// Per container; more than that counts as this.
const MOST_BYTES: i64 = 1000 << 20;

/// Whether a name on the node is what the pod writes; `:latest` goes without saying.
fn same(name: &str, image: &str) -> bool {
    name == image || name.strip_suffix(":latest") == Some(image)
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct ImageLocality;

impl Score for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn explain(&self) -> &'static str {
        "how much of the pod's images is on the node already"
    }

    fn basis(&self) -> Basis {
        Basis::Node
    }

    fn of(&self, pod: &Demand, node: &NodeInfo) -> i64 {
        let Some(node) = &node.node else { return 0 };
        if node.status.images.is_empty() {
            return 0;
        }
        let containers = &pod.pod.spec.containers;
        let size = |image: &Str| {
            let is = |i: &&ContainerImage| i.names.iter().any(|name| same(name, image));
            node.status.images.iter().find(is).map_or(0, |i| i.size_bytes)
        };
        let there: i64 = containers.iter().map(|c| size(&c.image)).fold(0, i64::saturating_add);
        let most = MOST_BYTES.saturating_mul(i64::try_from(containers.len()).unwrap_or(1)).max(LEAST_BYTES + 1);
        percent(there.clamp(LEAST_BYTES, most) - LEAST_BYTES, most - LEAST_BYTES)
    }
}

//! Events and leases.

use crate::entity::entity;
use crate::{Kind, MicroTime, ObjectMeta, Str, Time, Uid};

entity! {
    /// Something that happened to an object (core/v1; the same object is served as events.k8s.io/v1).
    pub struct Event[Kind::Event] {
        metadata: ObjectMeta = "metadata",
        involved_object: ObjectReference = "involvedObject",
        reason: Str = "reason",
        message: Str = "message",
        source: EventSource = "source",
        first_timestamp: Option<Time> = "firstTimestamp",
        last_timestamp: Option<Time> = "lastTimestamp",
        count: i32 = "count",
        /// `Normal` or `Warning`.
        kind: Str = "type",
        event_time: Option<MicroTime> = "eventTime",
        action: Str = "action",
        related: Option<ObjectReference> = "related",
        reporting_component: Str = "reportingComponent",
        reporting_instance: Str = "reportingInstance",
    }

    /// Who reported an event.
    pub struct EventSource {
        component: Str = "component",
        host: Str = "host",
    }

    /// A reference to an object.
    pub struct ObjectReference {
        kind: Str = "kind",
        namespace: Str = "namespace",
        name: Str = "name",
        uid: Uid = "uid",
        api_version: Str = "apiVersion",
        resource_version: Str = "resourceVersion",
        field_path: Str = "fieldPath",
    }

    /// A lease: who holds something, and since when. Node heartbeats are leases in `kube-node-lease`.
    pub struct Lease[Kind::Lease] {
        metadata: ObjectMeta = "metadata",
        spec: LeaseSpec = "spec",
    }

    /// The holder of a lease and its times.
    pub struct LeaseSpec {
        holder_identity: Str = "holderIdentity",
        lease_duration_seconds: Option<i32> = "leaseDurationSeconds",
        acquire_time: Option<MicroTime> = "acquireTime",
        renew_time: Option<MicroTime> = "renewTime",
        lease_transitions: Option<i32> = "leaseTransitions",
    }
}

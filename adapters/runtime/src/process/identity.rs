//! Who a container runs as: what a spec asks for, held against what this process may do. Whatever cannot be honoured is
//! refused here, with what is missing, before anything is started.

use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};
use steersman_domain::Str;
use steersman_domain::ports::{Identity, RuntimeError};

/// What this process may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Privileges {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    /// Permitted capabilities, as bits.
    pub(super) permitted: u64,
    /// The bounding set, as bits.
    pub(super) bounding: u64,
}

impl Privileges {
    /// Those of the calling process.
    pub(super) fn current() -> Self {
        let permitted = rustix::thread::capabilities(None).map_or(0, |sets| sets.permitted.bits());
        let bounding = (0..64_u32)
            .filter(|bit| {
                let one = CapabilitySet::from_bits_retain(1 << bit);
                rustix::thread::capability_is_in_bounding_set(one).unwrap_or(false)
            })
            .fold(0, |bits, bit| bits | 1 << bit);
        Privileges {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            groups: rustix::process::getgroups().unwrap_or_default().into_iter().map(|g| g.as_raw()).collect(),
            permitted,
            bounding,
        }
    }

    /// Whether it holds a capability.
    pub(super) fn has(&self, capability: CapabilitySet) -> bool {
        self.permitted & capability.bits() == capability.bits()
    }

    /// Whether it may look into processes of other users, as rewriting their binds needs.
    pub(super) fn can_trace_others(&self) -> bool {
        self.has(CapabilitySet::SYS_PTRACE)
    }

    /// Whether it can start containers as other users.
    pub(super) fn can_set_user(&self) -> bool {
        self.has(CapabilitySet::SETUID)
    }

    /// Whether it may make mount namespaces and mounts.
    pub(super) fn can_mount(&self) -> bool {
        self.has(CapabilitySet::SYS_ADMIN)
    }
}

/// What a container's first process becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Credentials {
    /// `None`: unchanged.
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
    /// The whole list; `None`: unchanged.
    pub(super) groups: Option<Vec<u32>>,
    /// Capabilities that are kept, as bits.
    pub(super) capabilities: u64,
    /// Take what is not kept out of the bounding set.
    pub(super) bound: bool,
    pub(super) no_new_privs: bool,
}

/// Decides what a container becomes, or refuses. `primary_group`: the group of a user id in the user database.
pub(super) fn resolve(
    asked: &Identity,
    have: &Privileges,
    primary_group: impl Fn(u32) -> Option<u32>,
) -> Result<Credentials, RuntimeError> {
    let user = asked.user.unwrap_or(have.uid);
    if asked.non_root && user == 0 {
        return refuse("runAsNonRoot is set, but the container would run as user 0: set runAsUser to another user");
    }
    if user != have.uid && !have.can_set_user() {
        return refuse(format!(
            "runAsUser {user} needs CAP_SETUID, but steer runs as user {} without it: run steer as root, or leave runAsUser out",
            have.uid
        ));
    }
    let group = asked.group.or_else(|| asked.user.filter(|u| *u != have.uid).map(|u| primary_group(u).unwrap_or(u)));
    let can_set_groups = have.has(CapabilitySet::SETGID);
    if let Some(group) = group.filter(|g| *g != have.gid)
        && !can_set_groups
    {
        return refuse(format!("runAsGroup {group} needs CAP_SETGID: run steer as root, or leave runAsGroup out"));
    }
    if !can_set_groups
        && let Some(missing) = asked.supplemental_groups.iter().find(|g| !have.groups.contains(g) && **g != have.gid)
    {
        return refuse(format!(
            "supplementalGroups {missing} needs CAP_SETGID: run steer as root, or leave the group out"
        ));
    }
    let capabilities = kept_capabilities(asked, have)?;
    let no_new_privs = !asked.allow_privilege_escalation && !asked.privileged;
    // Without CAP_SETPCAP the bounding set stays as it is; root would then regain capabilities by exec, unless
    // no_new_privs forbids it.
    let bound = have.has(CapabilitySet::SETPCAP);
    if !bound && !no_new_privs && user == 0 && capabilities != have.permitted {
        return refuse(
            "allowPrivilegeEscalation with dropped capabilities needs CAP_SETPCAP, which steer lacks: leave \
             allowPrivilegeEscalation out",
        );
    }
    Ok(Credentials {
        user: (user != have.uid).then_some(user),
        group: group.filter(|g| *g != have.gid),
        groups: can_set_groups.then(|| asked.supplemental_groups.clone()),
        capabilities,
        bound,
        no_new_privs,
    })
}

fn refuse<T>(message: impl Into<String>) -> Result<T, RuntimeError> {
    Err(RuntimeError::Refused(message.into()))
}

/// None, or all of the host's when privileged; plus those added; minus those dropped, as container runtimes count.
fn kept_capabilities(asked: &Identity, have: &Privileges) -> Result<u64, RuntimeError> {
    let available = have.permitted & have.bounding;
    let mut kept = 0;
    if asked.privileged {
        if !have.can_mount() {
            return refuse("privileged containers need steer to run as root: run it as root, or leave privileged out");
        }
        kept = available;
    }
    for name in &asked.add_capabilities {
        if name.eq_ignore_ascii_case("all") {
            kept |= available;
            continue;
        }
        let bit = capability(name)?;
        if available & bit == 0 {
            return refuse(format!(
                "capability {name} cannot be added: steer itself does not have it; run steer with it, or leave it out"
            ));
        }
        kept |= bit;
    }
    for name in &asked.drop_capabilities {
        if !name.eq_ignore_ascii_case("all") {
            kept &= !capability(name)?;
        }
    }
    Ok(kept)
}

/// The bit of a capability by its name, with or without `CAP_`.
fn capability(name: &Str) -> Result<u64, RuntimeError> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    CapabilitySet::from_name(short).map(|c| c.bits()).ok_or_else(|| {
        RuntimeError::Refused(format!("{name} is not the name of a capability: write it as in NET_BIND_SERVICE"))
    })
}

/// The primary group of a user, by the host's `/etc/passwd`.
pub(super) fn primary_group(user: u32) -> Option<u32> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()?.parse::<u32>().ok()? == user).then(|| fields.next()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Privileges {
        Privileges { uid: 0, gid: 0, groups: vec![], permitted: 0x1ff_ffff_ffff, bounding: 0x1ff_feff_ffff }
    }

    fn user() -> Privileges {
        Privileges { uid: 1000, gid: 1000, groups: vec![27], permitted: 0, bounding: 0x1ff_ffff_ffff }
    }

    fn check(asked: Identity, have: Privileges) -> Result<Credentials, String> {
        resolve(&asked, &have, |uid| (uid == 65534).then_some(65533)).map_err(|e| e.to_string())
    }

    #[test]
    fn root_keeps_no_capability_unless_asked() {
        let got = check(Identity::default(), root()).unwrap();
        assert_eq!((got.capabilities, got.no_new_privs, got.bound), (0, true, true));
        assert_eq!(got.groups, Some(vec![]));
        let net = CapabilitySet::NET_BIND_SERVICE.bits();
        let add = |names: &[&str], drop: &[&str]| Identity {
            add_capabilities: names.iter().map(Str::new).collect(),
            drop_capabilities: drop.iter().map(Str::new).collect(),
            ..Identity::default()
        };
        assert_eq!(check(add(&["NET_BIND_SERVICE"], &["ALL"]), root()).unwrap().capabilities, net);
        assert_eq!(check(add(&["cap_net_bind_service"], &[]), root()).unwrap().capabilities, net);
        let all = check(add(&["ALL"], &["NET_RAW"]), root()).unwrap().capabilities;
        assert_eq!(all, root().bounding & !CapabilitySet::NET_RAW.bits());
        assert!(check(add(&["SYS_RESOURCE"], &[]), root()).unwrap_err().contains("does not have it"));
        assert!(check(add(&["FLY"], &[]), root()).unwrap_err().contains("not the name"));
    }

    #[test]
    fn users_and_groups_are_taken_or_refused() {
        let nobody = Identity { user: Some(65534), non_root: true, ..Identity::default() };
        let got = check(nobody.clone(), root()).unwrap();
        assert_eq!((got.user, got.group), (Some(65534), Some(65533)));
        assert_eq!(check(Identity { user: Some(7), ..Identity::default() }, root()).unwrap().group, Some(7));
        assert!(check(nobody, user()).unwrap_err().contains("CAP_SETUID"));
        assert!(
            check(Identity { non_root: true, ..Identity::default() }, root()).unwrap_err().contains("runAsNonRoot")
        );
        assert!(check(Identity { non_root: true, ..Identity::default() }, user()).is_ok());
        assert!(check(Identity { user: Some(1000), group: Some(1000), ..Identity::default() }, user()).is_ok());
        assert!(check(Identity { group: Some(5), ..Identity::default() }, user()).unwrap_err().contains("CAP_SETGID"));
        let groups = |g: u32| Identity { supplemental_groups: vec![g], ..Identity::default() };
        assert!(check(groups(27), user()).is_ok());
        assert!(check(groups(28), user()).unwrap_err().contains("supplementalGroups 28"));
        assert!(check(Identity { privileged: true, ..Identity::default() }, user()).unwrap_err().contains("as root"));
    }
}

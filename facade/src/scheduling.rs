//! What decides where pods go: the built-in scheduler or the host's, with the profiles that pods choose by `schedulerName`.

use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_application::scheduling::{DefaultScheduler, Profile, ProfileError, Scheduler, default_profiles};
use steersman_domain::Str;

/// The scheduler of a cluster and its profiles.
///
/// ```
/// use steersman::Scheduling;
/// use steersman::application::scheduling::Profile;
///
/// // Pods of `schedulerName: compact` fill nodes, and look twice as hard at images that are there already.
/// let compact = Profile::packing("compact").weight("ImageLocality", 2)?;
/// let scheduling = Scheduling::default().profile(compact)?;
/// # Ok::<(), steersman::application::scheduling::ProfileError>(())
/// ```
#[derive(Clone)]
pub struct Scheduling {
    pub(crate) scheduler: Arc<dyn Scheduler>,
    pub(crate) profiles: Vec<Profile>,
}

impl std::fmt::Debug for Scheduling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduling").field("profiles", &self.profiles).finish_non_exhaustive()
    }
}

impl Default for Scheduling {
    /// The built-in scheduler, with the profiles `default-scheduler`, which spreads, and `bin-packing`, which fills.
    fn default() -> Self {
        Scheduling { scheduler: Arc::new(DefaultScheduler), profiles: default_profiles() }
    }
}

impl Scheduling {
    /// The host's own scheduler. It gets the profiles too, and may heed them or not.
    #[must_use]
    pub fn scheduler(mut self, scheduler: Arc<dyn Scheduler>) -> Self {
        self.scheduler = scheduler;
        self
    }

    /// With a profile more; one of the same name takes the place of the one that is there.
    ///
    /// # Errors
    /// When the profile has no name that a pod could give.
    pub fn profile(mut self, profile: Profile) -> Result<Self, ProfileError> {
        profile.check_name()?;
        match self.profiles.iter_mut().find(|p| p.name == profile.name) {
            Some(same) => *same = profile,
            None => self.profiles.push(profile),
        }
        Ok(self)
    }

    /// What each score measures, by its name.
    pub(crate) fn legend(&self) -> BTreeMap<Str, Str> {
        let scores = self.profiles.iter().flat_map(|p| p.scores());
        scores.map(|(score, _)| (Str::new_static(score.name()), Str::new_static(score.explain()))).collect()
    }
}

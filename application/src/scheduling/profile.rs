//! Profiles: which filters and scores a scheduler of a name uses, and with which weights.

use super::filters::{self, built_in};
use super::scores::{
    BalancedAllocation, ImageLocality, InterPodAffinity, LeastAllocated, MostAllocated, NodeAffinity,
    PodTopologySpread, TaintToleration,
};
use super::{Basis, Filter, Preference, Score};
use std::sync::Arc;
use steersman_domain::ports::MOST_SCORES;
use steersman_domain::{Str, names};

/// A profile, chosen by a pod's `schedulerName`.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What pods call it by `schedulerName`.
    pub name: Str,
    filters: Vec<Arc<dyn Filter>>,
    /// Scores with their weights.
    scores: Vec<(Arc<dyn Score>, i64)>,
    names: Arc<[&'static str]>,
    preference: Preference,
    pub(super) reads_images: bool,
    /// The filters of the basis `Room` but for the one that the order of nodes stands in for.
    room: Vec<Arc<dyn Filter>>,
    /// That one; `None`: nodes are not refused for want of room.
    fit: Option<Arc<dyn Filter>>,
    /// The filters of the basis `Pods`, by their place.
    pub(super) pods_filters: Vec<(usize, Arc<dyn Filter>)>,
    /// The scores that do not depend on the node alone: place, weight, whether on other pods.
    pub(super) moving: Vec<(usize, Arc<dyn Score>, i64, bool)>,
    /// The most that scores which do not depend on the node alone can add up to.
    pub(super) most: i64,
}

/// What a profile cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// It names a score that there is not.
    #[error("the profile {profile} has no score {score:?}: it has {known}")]
    UnknownScore {
        /// The profile.
        profile: Str,
        /// The score.
        score: String,
        /// The scores that there are.
        known: String,
    },
    /// It names a filter that there is not.
    #[error("the profile {profile} has no filter {filter:?}: it has {known}")]
    UnknownFilter {
        /// The profile.
        profile: Str,
        /// The filter.
        filter: String,
        /// The filters that there are.
        known: String,
    },
    /// A weight is out of range.
    #[error("the weight {weight} of {score} in the profile {profile} is not between 0 and 100")]
    Weight {
        /// The profile.
        profile: Str,
        /// The score.
        score: String,
        /// Its weight.
        weight: i64,
    },
    /// It has more scores than fit.
    #[error("the profile {profile} has {MOST_SCORES} scores already, which is the most it can have")]
    TooManyScores {
        /// The profile.
        profile: Str,
    },
    /// This cannot be the name of a profile.
    #[error("a profile cannot be called {0:?}: {1}")]
    Name(Str, String),
    /// It names something twice.
    #[error("the profile {profile} has a plug-in of the name {name:?} already")]
    Twice {
        /// The profile.
        profile: Str,
        /// What it names.
        name: String,
    },
}

impl Profile {
    /// A profile that spreads pods, as kube-scheduler does by default: the least allocated node, then balance.
    pub fn spreading(name: &str) -> Self {
        Profile::new(
            name,
            vec![
                (Arc::new(LeastAllocated), 1),
                (Arc::new(BalancedAllocation), 1),
                (Arc::new(NodeAffinity), 2),
                (Arc::new(TaintToleration), 3),
                (Arc::new(PodTopologySpread), 2),
                (Arc::new(InterPodAffinity), 2),
                (Arc::new(ImageLocality), 1),
            ],
        )
    }

    /// A profile that fills nodes one after the other. Balance would keep it from filling a node, so it goes without.
    pub fn packing(name: &str) -> Self {
        Profile::new(
            name,
            vec![
                (Arc::new(MostAllocated), 1),
                (Arc::new(NodeAffinity), 2),
                (Arc::new(TaintToleration), 3),
                (Arc::new(PodTopologySpread), 2),
                (Arc::new(InterPodAffinity), 2),
                (Arc::new(ImageLocality), 1),
            ],
        )
    }

    fn new(name: &str, scores: Vec<(Arc<dyn Score>, i64)>) -> Self {
        let mut profile = Profile {
            name: name.into(),
            filters: built_in(),
            scores,
            names: Arc::from([]),
            preference: Preference::default(),
            reads_images: false,
            room: Vec::new(),
            fit: None,
            pods_filters: Vec::new(),
            moving: Vec::new(),
            most: 0,
        };
        profile.prepare();
        profile
    }

    fn prepare(&mut self) {
        self.names = self.scores.iter().map(|(s, _)| s.name()).collect();
        let active = || self.scores.iter().filter(|(_, weight)| *weight > 0);
        self.preference = active().find_map(|(s, _)| s.order()).unwrap_or_default();
        self.most = self.scores.iter().filter(|(s, _)| s.basis() != Basis::Node).map(|(_, weight)| 100 * weight).sum();
        let placed = self.filters.iter().cloned().enumerate();
        self.pods_filters = placed.filter(|(_, f)| f.basis() == Basis::Pods).collect();
        let moving = self.scores.iter().enumerate().filter(|(_, (s, _))| s.basis() != Basis::Node);
        self.moving = moving.map(|(n, (s, weight))| (n, s.clone(), *weight, s.basis() == Basis::Pods)).collect();
        let is_fit = |f: &&Arc<dyn Filter>| f.name() == filters::FIT;
        let room = || self.filters.iter().filter(|f| f.basis() == Basis::Room);
        (self.room, self.fit) = (room().filter(|f| !is_fit(f)).cloned().collect(), room().find(is_fit).cloned());
        // A score of the host that depends on the node alone may read images too.
        self.reads_images =
            active().any(|(s, _)| s.basis() == Basis::Node && !matches!(s.name(), "NodeAffinity" | "TaintToleration"));
    }

    /// With another weight of a score; 0 switches it off.
    ///
    /// # Errors
    /// When the profile has no such score, or the weight is not between 0 and 100.
    pub fn weight(mut self, score: &str, weight: i64) -> Result<Self, ProfileError> {
        if !(0..=100).contains(&weight) {
            return Err(ProfileError::Weight { profile: self.name, score: score.to_owned(), weight });
        }
        match self.scores.iter_mut().find(|(s, _)| s.name() == score) {
            Some(found) => found.1 = weight,
            None => {
                let known = self.names.join(", ");
                return Err(ProfileError::UnknownScore { profile: self.name, score: score.to_owned(), known });
            }
        }
        self.prepare();
        Ok(self)
    }

    /// Without a filter. Room is then no reason any more for `NodeResourcesFit`; the ledger of a node still refuses what
    /// does not fit.
    ///
    /// # Errors
    /// When the profile has no such filter.
    pub fn without(mut self, filter: &str) -> Result<Self, ProfileError> {
        let before = self.filters.len();
        self.filters.retain(|f| f.name() != filter);
        if self.filters.len() == before {
            let known = self.filters.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ");
            return Err(ProfileError::UnknownFilter { profile: self.name, filter: filter.to_owned(), known });
        }
        self.prepare();
        Ok(self)
    }

    /// With a filter of the host, asked after the others.
    ///
    /// # Errors
    /// When there is one of this name already.
    pub fn filter(mut self, filter: Arc<dyn Filter>) -> Result<Self, ProfileError> {
        if self.filters.iter().any(|f| f.name() == filter.name()) {
            return Err(ProfileError::Twice { profile: self.name, name: filter.name().to_owned() });
        }
        self.filters.push(filter);
        self.prepare();
        Ok(self)
    }

    /// With a score of the host.
    ///
    /// # Errors
    /// When there is one of this name already, or too many, or the weight is not between 0 and 100.
    pub fn score(mut self, score: Arc<dyn Score>, weight: i64) -> Result<Self, ProfileError> {
        if self.scores.iter().any(|(s, _)| s.name() == score.name()) {
            return Err(ProfileError::Twice { profile: self.name, name: score.name().to_owned() });
        }
        if self.scores.len() >= MOST_SCORES {
            return Err(ProfileError::TooManyScores { profile: self.name });
        }
        let name = score.name();
        self.scores.push((score, 0));
        self.prepare();
        self.weight(name, weight)
    }

    /// Whether a pod can name the profile.
    ///
    /// # Errors
    /// When it cannot, because its name is no DNS subdomain.
    pub fn check_name(&self) -> Result<(), ProfileError> {
        names::subdomain(&self.name).map_err(|why| ProfileError::Name(self.name.clone(), why.to_string()))
    }

    /// The filters, in the order of asking.
    pub fn filters(&self) -> &[Arc<dyn Filter>] {
        &self.filters
    }

    /// The scores with their weights.
    pub fn scores(&self) -> &[(Arc<dyn Score>, i64)] {
        &self.scores
    }

    /// The names of the scores, in order.
    pub(super) fn score_names(&self) -> &Arc<[&'static str]> {
        &self.names
    }

    /// In which order nodes are looked at.
    pub(super) fn order(&self) -> Preference {
        self.preference
    }

    pub(super) fn node_filters(&self) -> impl Iterator<Item = &Arc<dyn Filter>> {
        self.filters.iter().filter(|f| f.basis() == Basis::Node)
    }

    /// The filters to ask of a node that has free what the order of nodes knows of.
    pub(super) fn room_filters(&self) -> &[Arc<dyn Filter>] {
        &self.room
    }

    /// The filter that refuses nodes with too little room.
    pub(super) fn fit(&self) -> Option<&Arc<dyn Filter>> {
        self.fit.as_ref()
    }
}

/// `default-scheduler` spreads; `bin-packing` fills nodes one after the other.
pub fn default_profiles() -> Vec<Profile> {
    vec![Profile::spreading("default-scheduler"), Profile::packing("bin-packing")]
}

//! One decision. On small clusters every node is looked at; on large ones the nodes that suit the class of the pod are walked
//! in the order of preference, group by group of equal standing, and the first that can take it are scored: what lies
//! further down the order is worse by the score that makes the order. Pods whose rules rank nodes by other pods are the
//! exception: for them every node that can take them is scored.

use super::class::{Class, UNSUITABLE};
use super::order::{Entry, Rank, Room};
use super::preempt::Level;
use super::profile::Profile;
use super::ranking::{Ranking, entry};
use super::summary::Tally;
use super::{Basis, Check, Demand, Eligible, Filter, Measure, NodeInfo, Nodes, Reason, SchedulingContext, Situation};
use std::cmp::Reverse;
use std::sync::Arc;
use steersman_domain::Pod;
use steersman_domain::ports::{Decision, MOST_SCORES, NodeVerdict, Placement, Scores};

/// Up to so many nodes all are looked at.
pub(super) const CLOSE: usize = 64;
/// Beyond, so many of each group are scored.
pub(super) const CANDIDATES: usize = 4;
/// Verdicts that a decision without a place keeps.
const MOST_VERDICTS: usize = 100;

/// A node that can take the pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) total: i64,
    pub(super) rank: Rank,
    pub(super) node: u32,
    pub(super) scores: [u8; MOST_SCORES],
}

impl Candidate {
    /// Greater is better.
    fn standing(&self) -> (i64, Reverse<Rank>) {
        (self.total, Reverse(self.rank))
    }
}

/// The best of candidates.
pub(super) fn best(candidates: &[Candidate]) -> Option<&Candidate> {
    candidates.iter().max_by_key(|c| c.standing())
}

/// What filters and scores have worked out for one decision, by their place in the profile.
pub(super) struct Begun<'a> {
    pub(super) demand: &'a Demand,
    pub(super) profile: &'a Profile,
    /// The filters of the basis `Room` that concern the pod.
    room: Vec<&'a dyn Filter>,
    fit: Option<&'a dyn Filter>,
    checks: Vec<(usize, Box<dyn Check + 'a>)>,
    measures: Vec<(usize, Box<dyn Measure + 'a>)>,
}

impl<'a> Begun<'a> {
    pub(super) fn new(profile: &'a Profile, at: &Situation<'a>) -> Self {
        let checks = profile.pods_filters.iter().filter_map(|(n, f)| f.begin(at).map(|check| (*n, check)));
        let ranking = profile.moving.iter().filter(|(_, _, weight, pods)| *pods && *weight > 0);
        Begun {
            demand: at.demand,
            profile,
            room: profile.room_filters().iter().filter(|f| f.concerns(at.demand)).map(|f| &**f).collect(),
            fit: profile.fit().filter(|_| at.demand.beyond).map(|f| &**f),
            checks: checks.collect(),
            measures: ranking.filter_map(|(n, s, ..)| s.begin(at).map(|measure| (*n, measure))).collect(),
        }
    }

    /// Whether nodes are ranked by other pods.
    pub(super) fn measures(&self) -> bool {
        !self.measures.is_empty()
    }

    /// Whether a node that suits the class and has free what the order knows of can take the pod.
    fn passes(&self, info: &NodeInfo) -> bool {
        self.room.iter().chain(&self.fit).all(|f| f.passes(self.demand, info))
            && self.checks.iter().all(|(_, check)| check.passes(info))
    }

    /// Why a node cannot take the pod: the first filter of the profile that says no.
    pub(super) fn rejection(&self, info: &NodeInfo) -> Option<(&'static str, Reason)> {
        self.reject(self.asked(|_| true), info)
    }

    /// The filters and checks that a node is asked, in the order of the profile.
    fn asked(&self, which: impl Fn(&dyn Filter) -> bool) -> impl Iterator<Item = Asked<'_>> {
        let mut checks = self.checks.iter().peekable();
        self.profile.filters().iter().enumerate().filter_map(move |(n, filter)| {
            let check = checks.next_if(|(at, _)| *at == n);
            match filter.basis() {
                Basis::Pods => check.map(|(_, check)| Asked::Check(filter.name(), &**check)),
                Basis::Node | Basis::Room => which(&**filter).then_some(Asked::Filter(&**filter)),
            }
        })
    }

    fn reject<'b>(
        &self,
        asked: impl IntoIterator<Item = Asked<'b>>,
        info: &NodeInfo,
    ) -> Option<(&'static str, Reason)> {
        asked.into_iter().find_map(|asked| match asked {
            Asked::Filter(f) => (!f.passes(self.demand, info)).then(|| (f.name(), f.explain(self.demand, info))),
            Asked::Check(name, check) => (!check.passes(info)).then(|| (name, check.explain(info))),
        })
    }

    /// Scores a node, on top of the scores that depend on the node alone.
    pub(super) fn score(
        &self,
        info: &NodeInfo,
        rank: Rank,
        (mut total, mut scores): (i64, [u8; MOST_SCORES]),
    ) -> Candidate {
        let mut measures = self.measures.iter().peekable();
        for (n, score, weight, pods) in &self.profile.moving {
            let points = match pods {
                false => score.of(self.demand, info),
                true => measures.next_if(|(at, _)| at == n).map_or(0, |(_, measure)| measure.of(info)),
            };
            let points = points.clamp(0, 100);
            scores[*n] = u8::try_from(points).unwrap_or(100);
            total += points * weight;
        }
        Candidate { total, rank, node: info.index, scores }
    }

    /// Looks at a node that may not suit.
    pub(super) fn look(&self, info: &NodeInfo) -> Result<Candidate, (&'static str, Reason)> {
        if let Some(rejection) = self.rejection(info) {
            return Err(rejection);
        }
        let (mut total, mut scores) = (0, [0; MOST_SCORES]);
        for (value, (score, weight)) in scores.iter_mut().zip(self.profile.scores()) {
            if score.basis() == Basis::Node {
                let points = score.of(self.demand, info).clamp(0, 100);
                *value = u8::try_from(points).unwrap_or(100);
                total += points * weight;
            }
        }
        Ok(self.score(info, entry(info, self.profile.order()).rank, (total, scores)))
    }

    /// The candidates among the nodes of a class.
    fn candidates(&self, nodes: &Nodes, class: &Class, ranking: &mut Ranking) -> Vec<Candidate> {
        let need = if self.profile.fit().is_some() { self.demand.need } else { Room::NOTHING };
        let all = class.len <= CLOSE || self.measures();
        let limit = if all { usize::MAX } else { CANDIDATES };
        let mut found = Vec::with_capacity(CANDIDATES);
        let mut most = i64::MIN;
        for (Reverse(standing), members) in &class.groups {
            let fixed = i64::from(*standing);
            // No node of this group or a later one can be better.
            if fixed + self.profile.most < most {
                break;
            }
            let first = found.len();
            let mut take = |info: &NodeInfo, rank: Rank| {
                let passes = self.passes(info);
                if passes {
                    let candidate = self.score(info, rank, (fixed, class.scores(info.index)));
                    most = most.max(candidate.total);
                    found.push(candidate);
                }
                found.len() - first < limit
            };
            if members.len() <= CLOSE {
                let near = members.iter().map(|at| &nodes.infos[*at as usize]);
                let mut near: Vec<Entry> = near.map(|info| entry(info, self.profile.order())).collect();
                near.retain(|e| need.fits(&e.free));
                near.sort_unstable_by_key(|e| e.rank);
                near.iter().all(|e| take(&nodes.infos[e.node as usize], e.rank));
            } else {
                ranking
                    .search(&need, |e| class.suits(e.node) != *standing || take(&nodes.infos[e.node as usize], e.rank));
            }
        }
        found
    }
}

/// Who is asked about a node.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Filter(&'a dyn Filter),
    Check(&'static str, &'a dyn Check),
}

/// Why a pod fits nowhere.
struct Refusal {
    summary: String,
    verdicts: Arc<Vec<NodeVerdict>>,
    /// Where there would be room if pods of lower priority ended.
    levels: Vec<Level>,
}

/// What a decision found.
pub(super) struct Found {
    pub(super) node: Option<u32>,
    pub(super) verdicts: Vec<NodeVerdict>,
}

/// A pod to be placed.
pub(super) struct Attempt<'a> {
    pub(super) pod: &'a Arc<Pod>,
    pub(super) demand: &'a Arc<Demand>,
    pub(super) profile: &'a Profile,
    pub(super) context: &'a SchedulingContext,
}

impl Attempt<'_> {
    /// Decides, and enters the placement.
    pub(super) fn decide(&self, nodes: &mut Nodes) -> Decision {
        let count = nodes.known();
        let nominated = nodes.unreserve(self.pod);
        let decision = |placement, verdicts| Decision { pod: self.pod.clone(), placement, verdicts, nodes: count };
        if let Some((summary, verdicts)) = self.known_failure(nodes, nominated) {
            return decision(Placement::Unschedulable(summary), verdicts);
        }
        let found = self.find(nodes);
        if let Some(at) = found.node {
            let terms = (!self.demand.terms.is_empty()).then(|| self.demand.clone());
            nodes.place(self.pod.clone(), self.demand.load.clone(), terms, at);
            return decision(Placement::Node(nodes.infos[at as usize].name.clone()), Arc::new(found.verdicts));
        }
        let Refusal { summary, verdicts, levels } = self.fail(nodes);
        if let Some(preemption) = self.preempt(nodes, nominated, levels, &summary) {
            return decision(Placement::Preempt(preemption), verdicts);
        }
        let at = self.changes(nodes);
        nodes.failures.put(self.demand, at, summary.clone(), verdicts.clone());
        decision(Placement::Unschedulable(summary), verdicts)
    }

    /// The count of changes that a failure depends on.
    fn changes(&self, nodes: &Nodes) -> u64 {
        // Where other pods matter, a pod that comes can help as well as one that goes.
        if self.demand.terms.is_empty() && nodes.topology.is_idle() { nodes.improved } else { nodes.changed }
    }

    /// Why pods that are alike fitted nowhere, and could not preempt, if nothing has changed since.
    fn known_failure(&self, nodes: &Nodes, nominated: Option<u32>) -> Option<(String, Arc<Vec<NodeVerdict>>)> {
        // Terms of placed pods look at labels, in which pods that are alike may differ.
        if nominated.is_some() || !nodes.topology.is_idle() {
            return None;
        }
        let failure = nodes.failures.get(self.demand, self.changes(nodes))?;
        Some((failure.summary.clone(), failure.verdicts.clone()))
    }

    /// Finds the best node.
    pub(super) fn find(&self, nodes: &mut Nodes) -> Found {
        nodes.learn(self.demand);
        if self.demand.pinned.is_some() {
            return self.among_pinned(nodes);
        }
        let (at, mut class) = nodes.classes.take(self.demand, self.profile, &nodes.infos);
        let mut ranking = nodes.rankings.take(self.profile.order(), &nodes.infos);
        let eligible = if self.demand.terms.spread.is_empty() { None } else { Some(class.eligible(&nodes.infos)) };
        let empty = Eligible::default();
        let situation =
            Situation { pod: self.pod, demand: self.demand, nodes, eligible: eligible.as_deref().unwrap_or(&empty) };
        let begun = Begun::new(self.profile, &situation);
        let mut candidates = begun.candidates(nodes, &class, &mut ranking);
        let best = best(&candidates).copied();
        let verdicts = match best {
            None => Vec::new(),
            Some(_) if nodes.known() <= CLOSE => self.every_verdict(nodes, &begun),
            Some(best) => {
                shorten(&mut candidates, &best);
                candidates.sort_unstable_by_key(|c| nodes.infos[c.node as usize].order);
                candidates.iter().map(|c| self.verdict(nodes, c)).collect()
            }
        };
        drop(begun);
        nodes.classes.put_back(at, class);
        nodes.rankings.put_back(self.profile.order(), ranking);
        Found { node: best.map(|c| c.node), verdicts }
    }

    /// As [`Attempt::find`], for a pod that names its nodes.
    fn among_pinned(&self, nodes: &Nodes) -> Found {
        let eligible = match self.demand.terms.spread.is_empty() {
            true => Eligible::default(),
            false => super::eligible(self.demand, &nodes.infos),
        };
        let situation = Situation { pod: self.pod, demand: self.demand, nodes, eligible: &eligible };
        let begun = Begun::new(self.profile, &situation);
        let named = self.demand.pinned.iter().flatten().filter_map(|name| nodes.get(name));
        let looked: Vec<_> = named.map(|info| (info, begun.look(info))).collect();
        let candidates: Vec<Candidate> = looked.iter().filter_map(|(_, l)| l.as_ref().ok().copied()).collect();
        let best = best(&candidates).copied();
        let verdicts = looked.into_iter().map(|(info, looked)| match looked {
            Ok(candidate) => self.verdict(nodes, &candidate),
            Err(rejected) => rejection(info, rejected),
        });
        Found { node: best.map(|c| c.node), verdicts: verdicts.collect() }
    }

    fn verdict(&self, nodes: &Nodes, candidate: &Candidate) -> NodeVerdict {
        NodeVerdict {
            node: nodes.infos[candidate.node as usize].name.clone(),
            rejected: None,
            scores: Scores::new(self.profile.score_names(), candidate.scores.iter().map(|s| i64::from(*s))),
            total: candidate.total,
        }
    }

    /// What every node says, in name order.
    pub(super) fn every_verdict(&self, nodes: &Nodes, begun: &Begun<'_>) -> Vec<NodeVerdict> {
        let look = |(_, info)| match begun.look(info) {
            Ok(candidate) => self.verdict(nodes, &candidate),
            Err(rejected) => rejection(info, rejected),
        };
        nodes.iter().map(look).collect()
    }

    /// Why the pod fits nowhere.
    fn fail(&self, nodes: &mut Nodes) -> Refusal {
        let (place, class) = nodes.classes.take(self.demand, self.profile, &nodes.infos);
        let refusal = self.refusal(nodes, &class);
        nodes.classes.put_back(place, class);
        refusal
    }

    fn refusal(&self, nodes: &Nodes, class: &Class) -> Refusal {
        let eligible = match self.demand.terms.spread.is_empty() {
            true => Eligible::default(),
            false => super::eligible(self.demand, &nodes.infos),
        };
        let situation = Situation { pod: self.pod, demand: self.demand, nodes, eligible: &eligible };
        let begun = Begun::new(self.profile, &situation);
        // What the node objects say is known of those that suit.
        let asked: Vec<Asked<'_>> = begun.asked(|f| f.basis() == Basis::Room && f.concerns(self.demand)).collect();
        let reject = |info: &NodeInfo| match class.suits(info.index) {
            UNSUITABLE => begun.rejection(info),
            _ => begun.reject(asked.iter().copied(), info),
        };
        let preempts = self.may_preempt(nodes);
        let (mut tally, mut levels) = (Tally::default(), Vec::new());
        for info in nodes.infos.iter().filter(|info| info.node.is_some()) {
            tally.count(reject(info).as_ref());
            if preempts && class.suits(info.index) != UNSUITABLE {
                levels.extend(Level::of(self.demand, info));
            }
        }
        let rejected = nodes.iter().filter_map(|(_, info)| Some(rejection(info, reject(info)?)));
        let verdicts = Arc::new(rejected.take(MOST_VERDICTS).collect());
        Refusal { summary: tally.summary(self.demand, self.context), verdicts, levels }
    }
}

fn rejection(info: &NodeInfo, rejected: (&'static str, Reason)) -> NodeVerdict {
    NodeVerdict { node: info.name.clone(), rejected: Some(rejected), scores: Scores::default(), total: 0 }
}

/// The best candidates, as many as a decision keeps.
fn shorten(candidates: &mut Vec<Candidate>, best: &Candidate) {
    if candidates.len() > MOST_VERDICTS {
        candidates.sort_unstable_by_key(|c| Reverse(c.standing()));
        candidates.truncate(MOST_VERDICTS);
        debug_assert_eq!(candidates.first().map(|c| c.node), Some(best.node));
    }
}

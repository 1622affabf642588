//! The reference: an ordered set of nodes by free cpu, in which the best fit is the first that has enough cpu and memory.
//! It enters pods by name in a table, as whoever wants to take them out again must, and answers pod and node; it knows no
//! rules, no classes of pods, no scores and no reasons.

use crate::world::{Dice, pod};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steersman_domain::{Key, Pod, Resource as _, Str};

struct Index {
    free: BTreeSet<(i64, u32)>,
    room: Vec<(i64, i64)>,
    names: Vec<Str>,
    placed: HashMap<Key, (u32, i64, i64)>,
}

impl Index {
    /// Nodes that are four fifths full.
    fn new(nodes: usize) -> Self {
        let room: Vec<(i64, i64)> =
            (0..nodes).map(|n| [(6_400, 25 << 30), (12_800, 51 << 30), (19_200, 76 << 30)][n % 3]).collect();
        let free = room.iter().zip(0..).map(|((cpu, _), n)| (*cpu, n)).collect();
        let names = (0..nodes).map(|n| format!("node-{n:06}").into()).collect();
        Index { free, room, names, placed: HashMap::new() }
    }

    fn place(&mut self, pod: &Arc<Pod>, (cpu, memory): (i64, i64)) -> Option<(Arc<Pod>, Str)> {
        let fits = |(_, node): &&(i64, u32)| self.room[*node as usize].1 >= memory;
        let found = self.free.range((cpu, 0)..).find(fits).copied()?;
        self.change(found.1, -cpu, -memory);
        self.placed.insert(pod.key(), (found.1, cpu, memory));
        Some((pod.clone(), self.names[found.1 as usize].clone()))
    }

    fn remove(&mut self, pod: &Key) {
        if let Some((node, cpu, memory)) = self.placed.remove(pod) {
            self.change(node, cpu, memory);
        }
    }

    fn change(&mut self, node: u32, cpu: i64, memory: i64) {
        let room = &mut self.room[node as usize];
        self.free.remove(&(room.0, node));
        *room = (room.0 + cpu, room.1 + memory);
        self.free.insert((room.0, node));
    }
}

/// The reference in rounds, to be measured in turns with the scheduler.
pub(crate) struct Reference {
    index: Index,
    templates: Vec<Pod>,
    requests: Vec<(i64, i64)>,
    dice: Dice,
    made: usize,
    there: Vec<Key>,
    pub(crate) times: Vec<Duration>,
}

impl Reference {
    pub(crate) fn new(nodes: usize, shapes: &[Value]) -> Self {
        let templates: Vec<Pod> = shapes.iter().map(pod).collect();
        let requests = templates.iter().map(Pod::requests).map(|r| (r.cpu_milli, r.memory_bytes)).collect();
        let (index, times) = (Index::new(nodes), Vec::new());
        Reference { index, templates, requests, dice: Dice::new(), made: 0, there: Vec::new(), times }
    }

    /// Places so many pods, and ends as many.
    pub(crate) fn round(&mut self, count: usize) {
        let batch: Vec<(Arc<Pod>, usize)> = (0..count)
            .map(|_| {
                let which = self.dice.roll(self.templates.len());
                let mut pod = self.templates[which].clone();
                self.made += 1;
                pod.metadata.name = format!("pod-{:08}", self.made).into();
                (Arc::new(pod), which)
            })
            .collect();
        let start = Instant::now();
        let answers: Vec<_> =
            batch.iter().filter_map(|(pod, which)| self.index.place(pod, self.requests[*which])).collect();
        self.times.push(start.elapsed());
        self.there.extend(black_box(answers).into_iter().map(|(pod, _)| pod.key()));
        for _ in 0..count.min(self.there.len()) {
            let key = self.there.swap_remove(self.dice.roll(self.there.len()));
            self.index.remove(&key);
        }
    }
}

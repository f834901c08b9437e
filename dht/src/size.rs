//! How many nodes there are, from how near the nearest lie to places that nobody chose.
//!
//! Among N nodes the i-th nearest to a random place lies at about i/N of the space; the line of least squares through the
//! nearest twenty gives N. Only lookups of made-up keys count: whoever places nodes beside one key cannot foresee them.
//! One lookup errs by some 30 %, sixteen by a seventh; their median ignores a few that were lied to.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::group::Group;
use crate::point::{Point, fraction};

/// Nodes of one lookup that count.
pub(crate) const SAMPLE_NODES: usize = 20;
/// Lookups that make a good estimate.
pub(crate) const ENOUGH_SAMPLES: usize = 16;
/// Lookups before the first region is told: they err by a seventh together, and one of them may be lied to.
pub(crate) const GOOD_SAMPLES: usize = 4;
/// More nodes than there can be: what a crowd beside a made-up key would make of it.
const MAX_NODES: f64 = 1e12;
/// After this an estimate is made anew, while values are put or looked for.
const SAMPLE_AGE: Duration = Duration::from_secs(3600);

/// Recent lookups of made-up keys.
#[derive(Debug, Default)]
pub(crate) struct Size {
    samples: VecDeque<Sample>,
}

#[derive(Debug)]
struct Sample {
    at: Instant,
    /// One part in so many: the number of nodes.
    nodes: f64,
    /// Different groups of addresses among the nearest.
    groups: usize,
}

impl Size {
    /// The nearest nodes to a made-up key, nearest first, and the wide groups of their addresses. Fewer than
    /// [`SAMPLE_NODES`] say nothing.
    pub(crate) fn on_lookup(&mut self, now: Instant, distances: &[Point], groups: &HashSet<Group>) {
        let Some(nodes) = nodes(distances) else { return };
        if self.samples.len() >= ENOUGH_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at: now, nodes, groups: groups.len() });
    }

    /// How many nodes there are. This node's own neighbours would be a sample that costs nothing, but somebody could crowd
    /// them, and have it believe that regions are small.
    pub(crate) fn estimate(&self) -> Option<f64> {
        median(self.samples.iter().map(|sample| sample.nodes).collect())
    }

    /// Whether regions can be told from it.
    pub(crate) fn is_good(&self) -> bool {
        self.samples.len() >= GOOD_SAMPLES
    }

    /// How many wide groups of addresses the nearest twenty usually belong to.
    pub(crate) fn usual_groups(&self) -> usize {
        median(self.samples.iter().map(|sample| sample.groups as f64).collect()).unwrap_or(0.0) as usize
    }

    /// Whether another lookup would help.
    pub(crate) fn wants_more(&self, now: Instant) -> bool {
        self.samples.len() < ENOUGH_SAMPLES
            || self.samples.front().is_some_and(|oldest| now.saturating_duration_since(oldest.at) > SAMPLE_AGE)
    }
}

fn nodes(distances: &[Point]) -> Option<f64> {
    let nearest = distances.get(..SAMPLE_NODES)?;
    let (mut squares, mut products) = (0.0, 0.0);
    for (at, distance) in nearest.iter().enumerate() {
        let rank = (at + 1) as f64;
        squares += rank * rank;
        products += rank * fraction(distance);
    }
    Some((squares / f64::max(products, f64::MIN_POSITIVE)).min(MAX_NODES))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::{distance, of_bytes};

    fn nearest(nodes: u32, to: &Point) -> Vec<Point> {
        let mut distances: Vec<Point> = (0..nodes).map(|n| distance(to, &of_bytes(&n.to_be_bytes()))).collect();
        distances.sort_unstable();
        distances.truncate(SAMPLE_NODES);
        distances
    }

    fn near(nodes: u32, lied_to: usize) -> f64 {
        let mut size = Size::default();
        for n in 0..ENOUGH_SAMPLES {
            let place = of_bytes(format!("place {n}").as_bytes());
            let crowd = || (0..20u8).map(|n| std::array::from_fn(|at| if at == 31 { n } else { 0 })).collect();
            let distances = if n < lied_to { crowd() } else { nearest(nodes, &place) };
            size.on_lookup(Instant::now(), &distances, &HashSet::new());
        }
        assert!(!size.wants_more(Instant::now()));
        size.estimate().expect("there are samples") / f64::from(nodes)
    }

    #[test]
    fn sixteen_lookups_count_a_network_within_a_quarter_also_when_some_lie() {
        for nodes in [100, 300, 5_000] {
            for lied_to in [0, 4] {
                let ratio = near(nodes, lied_to);
                // A quarter of lies moves the median by as much.
                let most = if lied_to == 0 { 1.35 } else { 1.7 };
                assert!((0.75..most).contains(&ratio), "{ratio} of {nodes}, {lied_to} lies");
            }
        }
    }

    #[test]
    fn few_nodes_say_nothing() {
        let mut size = Size::default();
        size.on_lookup(Instant::now(), &[[0; 32]; 19], &HashSet::new());
        assert!(size.estimate().is_none() && size.wants_more(Instant::now()) && !size.is_good());
    }
}

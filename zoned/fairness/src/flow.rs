//! Whether demands fit on the CPUs they may use, and if not, which of them are too much together.
//!
//! Demands and kinds of CPUs are the two sides of a graph; demands fit if a flow carries all of them (Ford and Fulkerson
//! 1956; shortest paths first, so that it ends: Edmonds and Karp 1972). Where they do not, those from which no path leads to
//! a CPU with room are what is too much.

use std::collections::VecDeque;

/// Below this, in CPUs, nothing is asked for and nothing is left.
pub(crate) const NOTHING: f64 = 1e-9;

/// Which demand may use which kind of CPUs, and how many CPUs each kind has.
#[derive(Debug)]
pub(crate) struct Network {
    /// Kinds by demand.
    pub(crate) reach: Vec<Vec<usize>>,
    /// CPUs by kind.
    pub(crate) room: Vec<f64>,
}

/// How a search came to a demand.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Unseen,
    Start,
    /// By taking its CPUs of this kind away from it.
    Kind(usize),
}

/// Demands and kinds that a search came to; a kind by the demand that may use it.
struct Seen {
    demands: Vec<Way>,
    kinds: Vec<Option<usize>>,
}

impl Network {
    /// The demands that are too much together, if any are: whether each is one of them.
    pub(crate) fn overfull(&self, demands: &[f64]) -> Option<Vec<bool>> {
        let mut carried = vec![vec![0.0; self.room.len()]; demands.len()];
        let mut left = demands.to_vec();
        let mut room = self.room.clone();
        loop {
            let seen = self.search(&left, &carried);
            let end = (0..room.len()).find(|kind| seen.kinds[*kind].is_some() && room[*kind] > NOTHING);
            let Some(end) = end else {
                let stuck = left.iter().any(|left| *left > NOTHING);
                return stuck.then(|| seen.demands.iter().map(|way| *way != Way::Unseen).collect());
            };
            let path = seen.path(end);
            let taken = |step: &(usize, usize, Option<usize>)| step.2.map(|kind| carried[step.0][kind]);
            let start = path.last().map_or(0, |step| step.0);
            let amount = path.iter().filter_map(taken).fold(left[start].min(room[end]), f64::min);
            for (demand, gains, loses) in path {
                carried[demand][gains] += amount;
                if let Some(kind) = loses {
                    carried[demand][kind] -= amount;
                }
            }
            left[start] -= amount;
            room[end] -= amount;
        }
    }

    /// From every demand with something left, breadth first.
    fn search(&self, left: &[f64], carried: &[Vec<f64>]) -> Seen {
        let way = |left: &f64| if *left > NOTHING { Way::Start } else { Way::Unseen };
        let mut seen = Seen { demands: left.iter().map(way).collect(), kinds: vec![None; self.room.len()] };
        let mut queue: VecDeque<usize> =
            (0..left.len()).filter(|demand| seen.demands[*demand] == Way::Start).collect();
        while let Some(demand) = queue.pop_front() {
            for &kind in &self.reach[demand] {
                if seen.kinds[kind].is_some() {
                    continue;
                }
                seen.kinds[kind] = Some(demand);
                for (other, way) in seen.demands.iter_mut().enumerate() {
                    if *way == Way::Unseen && carried[other][kind] > NOTHING {
                        *way = Way::Kind(kind);
                        queue.push_back(other);
                    }
                }
            }
        }
        seen
    }
}

impl Seen {
    /// From a kind back to a start: each demand with the kind it gains and, but for the last, the kind it loses.
    fn path(&self, end: usize) -> Vec<(usize, usize, Option<usize>)> {
        let (mut path, mut gains) = (Vec::new(), end);
        while let Some(demand) = self.kinds[gains] {
            match self.demands[demand] {
                Way::Kind(loses) => {
                    path.push((demand, gains, Some(loses)));
                    gains = loses;
                }
                Way::Start | Way::Unseen => {
                    path.push((demand, gains, None));
                    break;
                }
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_told_with_all_that_is_in_its_way() {
        // The first may use both kinds, the others one each.
        let network = Network { reach: vec![vec![0, 1], vec![0], vec![1]], room: vec![1.0, 2.0] };
        assert_eq!(network.overfull(&[1.0, 1.0, 1.0]), None);
        assert_eq!(network.overfull(&[1.0, 0.5, 1.5]), None, "the first takes what is left of both");
        assert_eq!(network.overfull(&[0.5, 1.5, 0.5]), Some(vec![false, true, false]));
        assert_eq!(network.overfull(&[1.5, 1.0, 1.0]), Some(vec![true, true, true]));
        assert_eq!(network.overfull(&[1.5, 0.0, 2.0]), Some(vec![true, false, true]));
        assert_eq!(network.overfull(&[0.0, 0.0, 0.0]), None);
    }
}

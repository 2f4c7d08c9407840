//! The water level: where claims that rise together, each as fast as its weight, fill a vessel.

/// A claim that rises: its weight (above 0), and the most it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rising {
    pub(crate) weight: f64,
    pub(crate) most: f64,
}

impl Rising {
    /// What it takes at a level.
    pub(crate) fn at(self, level: f64) -> f64 {
        // Not `level * weight` first: an infinite level is one at which each has its most.
        if level.is_infinite() { self.most } else { self.most.min(level * self.weight) }
    }
}

/// The level at which these take `room` together; infinite if there is room for the most of each.
pub(crate) fn level(claims: impl IntoIterator<Item = Rising>, room: f64) -> f64 {
    let mut claims: Vec<_> = claims.into_iter().collect();
    claims.sort_by(|a, b| (a.most / a.weight).total_cmp(&(b.most / b.weight)));
    let mut weight: f64 = claims.iter().map(|claim| claim.weight).sum();
    let mut room = room.max(0.0);
    for claim in claims {
        let level = room / weight;
        // This one has the lowest rim: if the level stays below it, nobody's is reached.
        if level < claim.most / claim.weight {
            return level;
        }
        room -= claim.most;
        weight -= claim.weight;
    }
    f64::INFINITY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_where_it_is_full() {
        let claims = [(1.0, f64::INFINITY), (2.0, 0.5), (4.0, f64::INFINITY)];
        let claims = claims.map(|(weight, most)| Rising { weight, most });
        assert_eq!(level(claims, 2.0), 0.3);
        assert!((level(claims, 0.7) - 0.1).abs() < 1e-12);
        assert_eq!(level(claims.into_iter().skip(1).take(1), 0.6), f64::INFINITY);
        assert_eq!(level([], 1.0), f64::INFINITY);
        assert_eq!(level(claims, -1.0), 0.0);
        assert_eq!(claims.map(|claim| claim.at(0.3)), [0.3, 0.5, 1.2]);
        assert_eq!(claims[1].at(f64::INFINITY), 0.5);
    }
}

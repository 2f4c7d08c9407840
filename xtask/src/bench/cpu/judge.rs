//! What zones got against what they were entitled to.

use super::sample::Series;
use fairness::{Claim, Cpus};
use std::time::Duration;

/// How soon after a change of shares what zones get is held against the new ones.
pub(crate) const CONVERGED: Duration = Duration::from_secs(1);

/// Length of the windows of which the worst one counts, seconds.
const WINDOW: f64 = 1.0;

/// Errors are relative to the entitlement, of the zone that is farthest off, in percent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    /// Over all of the time.
    pub(crate) error: f64,
    /// In the worst window of a second.
    pub(crate) worst: f64,
    /// Jain's index of what each got of its entitlement: 1 if all got the same part.
    pub(crate) jain: f64,
    /// What all zones got together, of all CPUs.
    pub(crate) used: f64,
}

/// Judges a series from this sample on; with the CPUs that each zone was entitled to. A zone without a claim is no part of
/// it.
pub(crate) fn judge(
    series: &Series,
    from: usize,
    claims: &[Option<Claim<'_>>],
    cpus: &Cpus,
) -> (Verdict, Vec<Option<f64>>) {
    let judged = |series: Vec<f64>| {
        let own = claims.iter().zip(series).filter_map(|(claim, got)| claim.map(|_| got));
        own.collect::<Vec<_>>()
    };
    let asked: Vec<_> = claims.iter().flatten().copied().collect();
    let entitled = |got: &[f64]| fairness::fill(&asked, cpus, got.iter().sum());
    let parts = |from, to| {
        let got = judged(series.got(from, to));
        got.iter().zip(entitled(&got)).map(|(got, entitled)| got / entitled).collect::<Vec<_>>()
    };
    let got = judged(series.got(from, series.len() - 1));
    let all = parts(from, series.len() - 1);
    let verdict = Verdict {
        error: farthest(&all),
        worst: series.windows(from, WINDOW).map(|(a, b)| farthest(&parts(a, b))).fold(0.0, f64::max),
        jain: jain(&all),
        used: 100.0 * got.iter().sum::<f64>() / cpus.len() as f64,
    };
    let mut entitled = entitled(&got).into_iter();
    (verdict, claims.iter().map(|claim| claim.and_then(|_| entitled.next())).collect())
}

fn farthest(parts: &[f64]) -> f64 {
    100.0 * parts.iter().map(|part| (part - 1.0).abs()).fold(0.0, f64::max)
}

/// Jain, Chiu and Hawe, DEC-TR-301, 1984.
fn jain(parts: &[f64]) -> f64 {
    let (sum, squares) = (parts.iter().sum::<f64>(), parts.iter().map(|part| part * part).sum::<f64>());
    sum * sum / (parts.len() as f64 * squares)
}

#[cfg(test)]
mod tests {
    use super::{super::sample::series, *};

    fn claim(shares: u64, most: f64) -> Option<Claim<'static>> {
        Some(Claim { shares, most, cpus: None })
    }

    #[test]
    fn errors_are_of_the_zone_that_is_farthest_off() {
        let cpus: Cpus = [0, 1].into();
        let claims = [claim(1, 4.0), claim(3, 4.0)];
        let (fair, _) = judge(&series(&[(41, &[0.5, 1.5])]), 0, &claims, &cpus);
        assert!(fair.error < 1e-6 && fair.worst < 1e-6 && (fair.jain - 1.0).abs() < 1e-9, "{fair:?}");
        assert!((fair.used - 100.0).abs() < 1e-6);
        // Half of the time one way, half of it the other.
        let (even, _) = judge(&series(&[(20, &[0.4, 1.6]), (21, &[0.6, 1.4])]), 0, &claims, &cpus);
        assert!(even.error < 1e-6 && (even.worst - 20.0).abs() < 1e-6, "{even:?}");
        let (late, _) = judge(&series(&[(20, &[1.9, 0.1]), (21, &[0.5, 1.5])]), 20, &claims, &cpus);
        assert!(late.error < 1e-6, "{late:?}");
        // Equal shares, 4/3 against 2/3.
        let jain =
            judge(&series(&[(41, &[4.0 / 3.0, 2.0 / 3.0])]), 0, &[claim(1, 16.0), claim(1, 2.0)], &cpus)
                .0
                .jain;
        assert!((jain - 0.9).abs() < 1e-9, "{jain}");
    }

    #[test]
    fn what_cannot_be_had_is_not_missed_and_a_sleeper_is_not_judged() {
        let cpus: Cpus = [0, 1].into();
        let claims = [claim(1, 1.0), claim(2, 1.0), claim(4, 1.0), None];
        let (got, entitled) = judge(&series(&[(31, &[1.0 / 3.0, 2.0 / 3.0, 1.0, 0.001])]), 0, &claims, &cpus);
        assert!(got.error < 1e-6, "{got:?}");
        assert!(
            entitled[2].is_some_and(|cpus| (cpus - 1.0).abs() < 1e-6) && entitled[3].is_none(),
            "{entitled:?}"
        );
    }
}

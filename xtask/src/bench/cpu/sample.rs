//! What zones have got so far, read again and again from the kernel's own account of their groups.
//!
//! `cpu.stat` is there in every group of cgroup2, with the cpu controller and without.

use anyhow::{Context as _, Result};
use nix::time::ClockId;
use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// How often zones are looked at.
pub(crate) const EVERY: Duration = Duration::from_millis(100);

/// How long after a tick zones are looked at: by then every CPU has done what it does at one.
const AFTER_TICK: Duration = Duration::from_micros(500);

/// Waits for a tick. The kernel accounts a thread that goes on running at ticks only: right after one its account is up to
/// date, and just before one it lacks milliseconds. Ticks of all CPUs are at one time, which the coarse clock is set to
/// (`clock_gettime(2)`).
fn await_tick() -> Result<()> {
    let period = Duration::from(ClockId::CLOCK_MONOTONIC_COARSE.res()?);
    let tick = Duration::from(ClockId::CLOCK_MONOTONIC_COARSE.now()?) + period;
    thread::sleep((tick + AFTER_TICK).saturating_sub(Duration::from(ClockId::CLOCK_MONOTONIC.now()?)));
    Ok(())
}

/// The groups of zones that are looked at.
pub(crate) struct Meter(pub(crate) Vec<PathBuf>);

impl Meter {
    /// CPU seconds of each so far.
    fn read(&self) -> Result<Vec<f64>> {
        let usage = |group: &PathBuf| {
            let file = group.join("cpu.stat");
            let stat =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse::<u64>().ok());
            Ok(micros.with_context(|| format!("{} has no usage_usec", file.display()))? as f64 / 1e6)
        };
        self.0.iter().map(usage).collect()
    }
}

/// CPU seconds of each zone at one moment, in seconds since the first.
pub(crate) struct Sample {
    pub(crate) at: f64,
    pub(crate) used: Vec<f64>,
}

#[derive(Default)]
pub(crate) struct Series {
    pub(crate) samples: Vec<Sample>,
    begun: Option<Instant>,
}

impl Series {
    /// Looks at the zones for so long.
    pub(crate) fn record(&mut self, meter: &Meter, length: Duration) -> Result<()> {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let from = Instant::now();
        let mut next = from;
        while next <= from + length {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            await_tick()?;
            let at = begun.elapsed().as_secs_f64();
            self.samples.push(Sample { at, used: meter.read()? });
            next += EVERY;
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }

    /// CPUs that each zone got between two samples.
    pub(crate) fn got(&self, from: usize, to: usize) -> Vec<f64> {
        let (from, to) = (&self.samples[from], &self.samples[to]);
        let seconds = to.at - from.at;
        from.used.iter().zip(&to.used).map(|(before, after)| (after - before) / seconds).collect()
    }

    /// Each window of so many seconds, from its first sample to its last, that begins at this sample or later.
    pub(crate) fn windows(&self, first: usize, seconds: f64) -> impl Iterator<Item = (usize, usize)> {
        let end = move |from: usize| {
            let until = self.samples[from].at + seconds - EVERY.as_secs_f64() / 2.0;
            (from..self.samples.len()).find(|to| self.samples[*to].at >= until)
        };
        (first..self.samples.len()).map_while(move |from| Some((from, end(from)?)))
    }
}

#[cfg(test)]
pub(crate) fn series(rates: &[(usize, &[f64])]) -> Series {
    let mut series = Series::default();
    let mut used = vec![0.0; rates[0].1.len()];
    let mut count = 0;
    for (samples, rates) in rates {
        for _ in 0..*samples {
            let at = f64::from(count) * EVERY.as_secs_f64();
            series.samples.push(Sample { at, used: used.clone() });
            used.iter_mut().zip(*rates).for_each(|(used, rate)| *used += rate * EVERY.as_secs_f64());
            count += 1;
        }
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_a_second_long_and_hold_what_was_got_in_them() {
        let series = series(&[(20, &[1.0, 0.5]), (21, &[0.5, 1.0])]);
        let windows: Vec<_> = series.windows(0, 1.0).collect();
        assert_eq!((windows[0], windows.len()), ((0, 10), 31));
        let near = |a: Vec<f64>, b: [f64; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(near(series.got(0, 10), [1.0, 0.5]) && near(series.got(15, 25), [0.75, 0.75]));
        assert_eq!(series.windows(35, 1.0).count(), 0);
    }
}

//! Each zone's part of what all zones got, over time in windows of a second, with what it was entitled to: one SVG a case, a
//! panel a backend.

use super::{Run, cases::CASES, sample::Series};
use crate::svg::{COLOURS, Svg};
use anyhow::{Context as _, Result};
use std::{fs, path::Path};

const PANEL: (f64, f64) = (420.0, 260.0);
const MARGIN: f64 = 46.0;
const WINDOW: f64 = 1.0;

/// Draws the first run of each case with each backend.
pub(crate) fn write(folder: &Path, runs: &[Run], backends: &[String]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (number, case) in CASES.iter().enumerate() {
        let of =
            |backend: &String| runs.iter().find(|run| run.case.what == case.what && run.backend == *backend);
        let panels: Vec<&Run> = backends.iter().filter_map(of).collect();
        if panels.is_empty() {
            continue;
        }
        let same = CASES[..number].iter().filter(|other| other.letter == case.letter).count();
        let suffix = if same == 0 { String::new() } else { (same + 1).to_string() };
        let path = folder.join(format!("cpu-{}{suffix}.svg", case.letter.to_ascii_lowercase()));
        fs::write(&path, draw(&panels)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What is drawn of one run: the time of each window's end, and each zone's part of what all got in it, in percent.
fn curves(series: &Series) -> Vec<Vec<(f64, f64)>> {
    let mut curves = vec![Vec::new(); series.samples.first().map_or(0, |sample| sample.used.len())];
    for (from, to) in series.windows(0, WINDOW) {
        let at = series.samples[to].at;
        let got = series.got(from, to);
        let all: f64 = got.iter().sum();
        curves.iter_mut().zip(got).for_each(|(curve, got)| curve.push((at, 100.0 * got / all)));
    }
    curves
}

fn draw(panels: &[&Run]) -> String {
    let width = panels.len() as f64 * (PANEL.0 + MARGIN) + MARGIN;
    let mut svg = Svg::new(width, PANEL.1 + 2.0 * MARGIN);
    let drawn: Vec<_> = panels.iter().map(|run| curves(&run.series)).collect();
    // One scale for all.
    let top = drawn.iter().flatten().flatten().map(|point| point.1).fold(10.0, f64::max) * 1.05;
    let end = drawn.iter().flatten().flatten().map(|point| point.0).fold(1.0, f64::max);
    for (number, (run, curves)) in panels.iter().zip(&drawn).enumerate() {
        let left = MARGIN + number as f64 * (PANEL.0 + MARGIN);
        let place =
            |(at, part): (f64, f64)| (left + at / end * PANEL.0, MARGIN + (1.0 - part / top) * PANEL.1);
        axes(&mut svg, left, (end, top), place);
        svg.text(left, MARGIN - 22.0, "start", &format!("{}: {}", run.case.letter, run.case.what));
        let verdict = run.verdict;
        let title =
            format!("{}: off by {:.2} %, worst second {:.1} %", run.backend, verdict.error, verdict.worst);
        svg.text(left, MARGIN - 7.0, "start", &title);
        for (zone, curve) in curves.iter().enumerate() {
            svg.line(
                &curve.iter().copied().map(place).collect::<Vec<_>>(),
                COLOURS[zone % COLOURS.len()],
                1.6,
            );
        }
        let all: f64 = run.entitled.iter().flatten().sum();
        for (zone, cpus) in run.entitled.iter().enumerate() {
            if let Some(cpus) = cpus {
                let ends = [place((0.4 * end, 100.0 * cpus / all)), place((end, 100.0 * cpus / all))];
                svg.dashes(&ends, COLOURS[zone % COLOURS.len()]);
            }
        }
    }
    svg.finish()
}

/// A frame with seconds below it and percent at its left.
fn axes(svg: &mut Svg, left: f64, (end, top): (f64, f64), place: impl Fn((f64, f64)) -> (f64, f64)) {
    svg.line(&[place((0.0, top)), place((0.0, 0.0)), place((end, 0.0))], "#444", 1.0);
    let mut part = 0.0;
    while part <= top {
        let (x, y) = place((0.0, part));
        svg.text(x - 5.0, y + 4.0, "end", &format!("{part:.0}"));
        part += if top > 50.0 { 20.0 } else { 10.0 };
    }
    let mut at = 0.0;
    while at <= end {
        let (x, y) = place((at, 0.0));
        svg.text(x, y + 15.0, "middle", &format!("{at:.0}"));
        at += if end > 20.0 { 5.0 } else { 2.0 };
    }
    svg.text(
        left + PANEL.0,
        MARGIN + PANEL.1 + 32.0,
        "end",
        "seconds; % of what all zones got, in windows of one; dashes: entitled",
    );
}

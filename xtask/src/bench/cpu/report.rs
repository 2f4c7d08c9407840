//! What came out, as tables for people and figures for programs.

use super::{
    Run,
    cases::{CASES, Case},
};
use crate::bench::figures::{Figure, middle};
use comfy_table::{CellAlignment, Table, presets};

/// A figure of each run.
struct Metric {
    name: &'static str,
    unit: &'static str,
    digits: usize,
    of: fn(&Run) -> Option<f64>,
}

const METRICS: [Metric; 6] = [
    Metric { name: "error", unit: "%", digits: 2, of: |run| Some(run.verdict.error) },
    Metric { name: "worst second", unit: "%", digits: 1, of: |run| Some(run.verdict.worst) },
    Metric { name: "Jain", unit: "", digits: 5, of: |run| Some(run.verdict.jain) },
    Metric { name: "CPUs used", unit: "%", digits: 1, of: |run| Some(run.verdict.used) },
    Metric { name: "late p50", unit: "us", digits: 0, of: |run| Some(run.late_us?[0]) },
    Metric { name: "late p99", unit: "us", digits: 0, of: |run| Some(run.late_us?[1]) },
];

/// One run, as soon as it is done.
pub(crate) fn line(round: u32, rounds: u32, run: &Run) -> String {
    let figures = METRICS.iter().filter_map(|metric| {
        Some(
            format!("{} {:.*} {}", metric.name, metric.digits, (metric.of)(run)?, metric.unit)
                .trim()
                .to_owned(),
        )
    });
    let figures: Vec<_> = figures.collect();
    format!("{round}/{rounds} {} {:<8} {}", run.case.letter, run.backend, figures.join(", "))
}

/// A table for each metric: cases by backends, each the median of all runs with the least and the most.
pub(crate) fn tables(runs: &[Run], backends: &[String]) -> String {
    let all =
        METRICS.iter().map(|metric| format!("{}\n{}\n", heading(metric), table(metric, runs, backends)));
    let of = |case: &Case, backend: &String| series(&METRICS[0], runs, case, backend).len();
    let most = cases(runs).flat_map(|case| backends.iter().map(move |backend| of(case, backend))).max();
    // Fewer where one was not counted.
    let most = most.unwrap_or(0);
    format!("{}\nmedian (least to most) of {most} runs, or as many as were counted", all.collect::<String>())
}

fn heading(metric: &Metric) -> String {
    if metric.unit.is_empty() { metric.name.to_owned() } else { format!("{}, {}", metric.name, metric.unit) }
}

fn table(metric: &Metric, runs: &[Run], backends: &[String]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["", ""].into_iter().map(str::to_owned).chain(backends.iter().cloned()));
    for case in cases(runs) {
        let cells: Vec<_> = backends.iter().map(|backend| cell(metric, runs, case, backend)).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(Option::unwrap_or_default);
            table.add_row([case.letter.to_string(), case.what.to_owned()].into_iter().chain(cells));
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cell(metric: &Metric, runs: &[Run], case: &Case, backend: &str) -> Option<String> {
    let (median, least, most) = middle(&series(metric, runs, case, backend))?;
    let digits = metric.digits;
    Some(format!("{median:.digits$} ({least:.digits$} to {most:.digits$})"))
}

fn series(metric: &Metric, runs: &[Run], case: &Case, backend: &str) -> Vec<f64> {
    let of = |run: &&Run| run.case.what == case.what && run.backend == backend;
    runs.iter().filter(of).filter_map(metric.of).collect()
}

fn cases(runs: &[Run]) -> impl Iterator<Item = &'static Case> {
    CASES.iter().filter(|case| runs.iter().any(|run| run.case.what == case.what))
}

/// The same for programs.
pub(crate) fn figures(runs: &[Run], backends: &[String]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (case, metric) in cases(runs).flat_map(|case| METRICS.iter().map(move |metric| (case, metric))) {
        for backend in backends {
            let series = series(metric, runs, case, backend);
            let Some((median, min, max)) = middle(&series) else { continue };
            let (bench, subject, metric, unit) = ("cpu", backend.clone(), metric.name, metric.unit);
            let case = format!("{} {}", case.letter, case.what);
            figures.push(Figure { bench, case, subject, metric, unit, median, min, max, runs: series.len() });
        }
    }
    figures
}

//! What came out of a bench: medians and extremes, as a table for people and as JSON lines for programs.

use anyhow::{Context as _, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::{fmt::Write as _, fs, path::Path, time::Duration};

/// One row of the JSON file.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) bench: &'static str,
    pub(crate) case: String,
    pub(crate) subject: String,
    pub(crate) metric: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) runs: usize,
}

/// The middle of a series of times and its ends, in milliseconds; none for an empty one.
pub(crate) fn spread(series: &[Duration]) -> Option<(f64, f64, f64)> {
    middle(&series.iter().map(|time| time.as_secs_f64() * 1e3).collect::<Vec<_>>())
}

/// The middle of a series and its ends; none for an empty one.
pub(crate) fn middle(series: &[f64]) -> Option<(f64, f64, f64)> {
    let mut sorted = series.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some(((low + high) / 2.0, *sorted.first()?, *sorted.last()?))
}

/// Writes one JSON object a line.
pub(crate) fn write(path: &Path, figures: &[Figure]) -> Result<()> {
    let mut lines = String::new();
    for figure in figures {
        writeln!(lines, "{}", serde_json::to_string(figure)?)?;
    }
    fs::write(path, lines).with_context(|| format!("cannot write {}", path.display()))
}

/// A row for each subject of a case; for each metric its median with the extremes, and its ratio to that of `unit`.
pub(crate) fn table(figures: &[Figure], case: &str, metrics: &[&str], unit: &str) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let heads =
        metrics.iter().flat_map(|m| [format!("{m}, ms"), "min".into(), "max".into(), format!("× {unit}")]);
    table.set_header(std::iter::once(String::new()).chain(heads));
    let mut subjects: Vec<&str> = Vec::new();
    for figure in figures.iter().filter(|figure| figure.case == case) {
        if !subjects.contains(&figure.subject.as_str()) {
            subjects.push(&figure.subject);
        }
    }
    let find = |subject: &str, metric: &str| {
        figures.iter().find(|f| f.case == case && f.subject == subject && f.metric == metric)
    };
    for subject in subjects {
        let cells = metrics.iter().flat_map(|metric| match find(subject, metric) {
            Some(f) => {
                let ratio =
                    find(unit, metric).map_or_else(String::new, |u| format!("{:.2}", f.median / u.median));
                [format!("{:.2}", f.median), format!("{:.2}", f.min), format!("{:.2}", f.max), ratio]
            }
            None => [const { String::new() }; 4],
        });
        table.add_row(std::iter::once(subject.to_owned()).chain(cells));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_series_lies_between_two() {
        let ms = |n| Duration::from_millis(n);
        assert_eq!(spread(&[ms(9), ms(1), ms(5)]), Some((5.0, 1.0, 9.0)));
        assert_eq!(spread(&[ms(4), ms(1), ms(2), ms(9)]), Some((3.0, 1.0, 9.0)));
        assert_eq!(spread(&[]), None);
    }
}

//! Figures in the units people read.

use jiff::{Timestamp, tz::TimeZone};

/// Seconds as two units at most: `12s`, `3m04s`, `5h12m`, `3d04h`.
pub(crate) fn span(seconds: u64) -> String {
    let (m, h, d) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{m}m{:02}s", seconds % 60),
        3600..86_400 => format!("{h}h{:02}m", m % 60),
        _ => format!("{d}d{:02}h", h % 24),
    }
}

/// A short time: seconds with one digit.
pub(crate) fn seconds(ms: u64) -> String {
    format!("{:.1}s", ms as f64 / 1000.0)
}

/// CPU time: seconds with three digits.
pub(crate) fn cpu_time(ns: u64) -> String {
    format!("{:.3}s", ns as f64 / 1e9)
}

/// Bytes as a configuration has them, with three digits at least: `512`, `34.2M`, `1.50G`.
pub(crate) fn size(n: u64) -> String {
    let mut value = n as f64;
    let mut unit = "";
    for next in ["K", "M", "G", "T"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    match value {
        _ if unit.is_empty() => n.to_string(),
        ..9.995 => format!("{value:.2}{unit}"),
        ..99.95 => format!("{value:.1}{unit}"),
        _ => format!("{value:.0}{unit}"),
    }
}

/// Bytes with a binary prefix.
pub(crate) fn bytes(n: u64) -> String {
    indicatif::HumanBytes(n).to_string()
}

/// Time of day of an event in the local time zone, to the millisecond.
pub(crate) fn moment(ms: u64) -> String {
    at(ms, TimeZone::system(), "%Y-%m-%d %H:%M:%S%.3f")
}

/// When something began, in the local time zone, with its offset.
pub(crate) fn date(ms: u64) -> String {
    at(ms, TimeZone::system(), "%Y-%m-%d %H:%M:%S %:z")
}

fn at(ms: u64, zone: TimeZone, form: &str) -> String {
    let stamp = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(|| format!("{ms} ms"), |stamp| stamp.to_zoned(zone).strftime(form).to_string())
}

/// Milliseconds since the epoch, now.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        let cases = [(0, "0s"), (59, "59s"), (184, "3m04s"), (18_720, "5h12m"), (273_600, "3d04h")];
        for (seconds, text) in cases {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn sizes_have_three_digits() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1024, "1.00K"),
            (35_861_299, "34.2M"),
            (512 << 20, "512M"),
            (3 << 40, "3.00T"),
        ];
        for (n, text) in cases {
            assert_eq!(size(n), text);
        }
    }

    #[test]
    fn moments_are_told_to_the_millisecond() {
        let form = "%Y-%m-%d %H:%M:%S%.3f";
        assert_eq!(at(1_795_303_647_042, TimeZone::UTC, form), "2026-11-21 23:27:27.042");
        assert_eq!(at(u64::MAX, TimeZone::UTC, form), format!("{} ms", u64::MAX));
    }
}

//! Waiting for conditions, never for time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Waits until `condition` gives something, at most `limit`.
pub fn within<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Waits until `condition` holds.
///
/// # Panics
/// After 30 seconds.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let held = within(Duration::from_secs(30), || condition().then_some(()));
    assert!(held.is_some(), "still not so after 30 s: {what}");
}

//! Waiting for conditions, never for time.
//!
//! Limits are those of a machine that runs its own code. `ZONES_PATIENCE` multiplies all of them: a whole number, which
//! `cargo xtask vm` sets where code is emulated.

use std::{
    env,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

static PATIENCE: LazyLock<u32> = LazyLock::new(|| {
    let set = env::var("ZONES_PATIENCE").ok();
    set.map_or(1, |text| text.parse().unwrap_or_else(|e| panic!("ZONES_PATIENCE={text}: {e}")))
});

/// The longest that something may take here which on a machine that runs its own code ends within `seconds`.
pub fn limit(seconds: u64) -> Duration {
    patiently(Duration::from_secs(seconds))
}

/// As [`limit`].
pub fn patiently(limit: Duration) -> Duration {
    limit * *PATIENCE
}

/// Waits until `condition` gives something, at most `limit`, taken [`patiently`].
pub fn within<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patiently(limit);
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
/// After 30 seconds, taken [`patiently`].
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = Duration::from_secs(30);
    let held = within(limit, || condition().then_some(()));
    assert!(held.is_some(), "still not so after {:?}: {what}", patiently(limit));
}

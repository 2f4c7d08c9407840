//! From running to installed: at once, by asking, because it ended by itself; and round again.

use std::{convert::Infallible, future::pending, time::Duration};

use tokio::time::{sleep, timeout};
use zoned_api::{ApiError, State, report::Exit};

use super::{
    bring_up::{Until, bring_up},
    preflight,
    status::at_rest,
    tear_down::{in_words, tear_down},
    tether::{Tether, TetherError},
    work::Work,
};
use crate::{
    monitor::protocol::{ExitRecord, Request},
    plan::Plan,
    store::record::Reboot,
};

/// Stops a zone at once.
pub(super) async fn halt(work: &Work) -> Result<(), ApiError> {
    let reason = work.status().reason.clone().filter(|_| work.status().state == State::Down);
    work.enter(State::ShuttingDown, reason);
    let record = tear_down(work).await?;
    rest(work, record.exit, None).await;
    Ok(())
}

/// Asks a zone's init to stop, and halts the zone when it has, or has not in time. Returns what there is to say.
pub(super) async fn shut_down(work: &Work, seconds: Option<u32>) -> Result<Option<String>, ApiError> {
    let status = work.status();
    let seconds = match seconds {
        Some(seconds) => seconds,
        None => work.host.brands.stop_seconds(&status.config)?,
    };
    work.enter(State::ShuttingDown, None);
    let mut note = None;
    if let Some(run) = status.run.as_ref().filter(|_| status.state == State::Running) {
        work.step("waiting for its init to stop", None);
        let signal = stop_signal(work).await;
        let stopped = async {
            tokio::select! {
                _ = run.tether.ended() => Ok(()),
                Err(e) = ask_to_stop(&run.tether, signal) => Err(e),
            }
        };
        tokio::select! {
            stopped = timeout(Duration::from_secs(seconds.into()), stopped) => match stopped {
                Ok(Ok(())) => {}
                Ok(Err(e)) => note = Some(format!("its init could not be asked to stop ({e}), so it was halted")),
                Err(_) => note = Some(format!("its init had not stopped after {seconds} s, so it was halted")),
            },
            // The halt that interrupts goes on from here.
            () = work.cancel.cancelled() => return Err(work.interrupted()),
        }
    }
    let record = tear_down(work).await?;
    rest(work, record.exit, note.clone()).await;
    Ok(note)
}

/// Stops a zone, by asking if a time is given, and boots it again.
pub(super) async fn reboot(work: &Work, seconds: Option<u32>) -> Result<Option<String>, ApiError> {
    // A zone that could not come back is not stopped.
    let status = work.status();
    let ready = work.blocking(move |host| preflight::check(host, &status)).await;
    let done = match ready {
        Ok(()) => {
            let boot_id = work.host.boot_id.clone();
            work.keep_history(|history| {
                history.reboot = Some(Reboot { boot_id, boot: history.boot, timeout: seconds });
            })
            .await;
            down_and_up(work, seconds).await
        }
        Err(e) => Err(e),
    };
    // Done, failed or broken off: a daemon that comes later has nothing to go on with.
    if work.status().history.reboot.is_some() {
        work.keep_history(|history| history.reboot = None).await;
    }
    done
}

async fn down_and_up(work: &Work, seconds: Option<u32>) -> Result<Option<String>, ApiError> {
    let note = match seconds {
        _ if work.status().run.is_none() => None,
        Some(_) => shut_down(work, seconds).await?,
        None => halt(work).await.map(|()| None)?,
    };
    if work.cancel.is_cancelled() {
        return Err(work.interrupted());
    }
    work.enter(State::Installed, None);
    bring_up(work, Until::Running).await?;
    Ok(note)
}

/// Takes away a zone whose first process, or monitor, has ended by itself, and boots it again if that was a
/// reboot and `restart` allows it.
pub(super) async fn after_end(
    work: &Work,
    ended: Result<ExitRecord, ()>,
    restart: bool,
) -> Result<(), ApiError> {
    let word =
        |record: &Result<ExitRecord, ()>| record.as_ref().map_or("its monitor died".to_owned(), in_words);
    work.enter(State::ShuttingDown, Some(word(&ended)));
    let left = tear_down(work).await?;
    // The monitor's last word on the socket, or the one it left in a file.
    let record = ended.unwrap_or(left);
    let mut reason = in_words(&record);
    let asked = work.status().history.rebooting(&work.host.boot_id).is_some();
    let again = record.exit == Exit::Rebooted || asked;
    if again && !restart {
        reason = "it rebooted itself again and again; boot it by hand to try once more".into();
    }
    rest(work, record.exit, Some(reason)).await;
    let mut up = Ok(());
    if again && restart && !work.cancel.is_cancelled() {
        work.enter(State::Installed, None);
        up = bring_up(work, Until::Running).await;
    }
    if asked {
        work.keep_history(|history| history.reboot = None).await;
    }
    up
}

/// The zone rests again: installed, or what is kept of its root, which a panic may have left half made.
async fn rest(work: &Work, exit: Exit, reason: Option<String>) {
    let kept = reason.clone();
    work.keep_history(|history| (history.last_exit, history.reason) = (Some(exit), kept)).await;
    let (state, why) = at_rest(&work.status().record.root);
    work.end_in(state, why.or(reason));
}

/// Sends an init the signal that stops it, and once more if it did not seem to hear the first: the first process of a
/// pid namespace never gets a signal that it has no handler for (pid_namespaces(7)), and an init that has only just
/// started has none. (One that waits by sigwait(3) does not show that it hears, and needs no second.) Ends only if it
/// fails.
async fn ask_to_stop(tether: &Tether, signal: i32) -> Result<Infallible, TetherError> {
    loop {
        let heard = hears(tether.seen().init, signal);
        tether.ask(&Request::Signal { signal }, &[]).await?;
        if heard {
            return pending().await;
        }
        while !hears(tether.seen().init, signal) {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn hears(init: Option<u32>, signal: i32) -> bool {
    let status = init.and_then(|init| std::fs::read_to_string(format!("/proc/{init}/status")).ok());
    status.is_some_and(|status| is_heard(&status, signal))
}

/// Whether a process catches a signal, or blocks it to read it from a descriptor (proc_pid_status(5)).
fn is_heard(status: &str, signal: i32) -> bool {
    let masks = status.lines().filter_map(|line| line.split_once(':'));
    let masks = masks.filter(|(key, _)| matches!(*key, "SigCgt" | "SigBlk"));
    let bit = u32::try_from(signal - 1).ok().and_then(|shift| 1_u64.checked_shl(shift)).unwrap_or(0);
    masks.filter_map(|(_, mask)| u64::from_str_radix(mask.trim(), 16).ok()).any(|mask| mask & bit != 0)
}

/// Which signal asks the zone's init to stop everything: of the boot that runs, not of a configuration changed since.
async fn stop_signal(work: &Work) -> i32 {
    let uuid = work.status().uuid();
    let plan = work.blocking(move |host| Plan::load(&host.run_folder(&uuid))).await;
    plan.map_or(libc::SIGTERM, |plan| plan.process.stop_signal)
}

//! What an actor can have under way, and who carries it out.

use zoned_api::{ApiError, State, Verb, report::Exit};

use super::{
    bring_up::{bring_up, go_on, release},
    halt, pause,
    request::Arguments,
    roots,
    work::Work,
};
use crate::monitor::protocol::ExitRecord;

pub use super::bring_up::Until;

/// What is to be done.
#[derive(Debug)]
pub enum Task {
    /// A verb that a client asked for and the table allows.
    Move(Verb, Arguments),
    /// What comes after the end of the zone's first process or of its monitor.
    End {
        /// How it ended.
        end: Result<ExitRecord, ()>,
        /// Whether a reboot from inside is to be followed.
        restart: bool,
    },
    /// Follow a boot that an earlier daemon began, to where it goes by itself.
    Follow(Until),
}

impl Task {
    /// What to call it: a client that asks for the same joins it.
    pub fn verb(&self) -> (Verb, Arguments) {
        match self {
            Task::Move(verb, arguments) => (*verb, arguments.clone()),
            // So that a halt that comes meanwhile breaks in, and does not join what ends in a running zone.
            Task::End { end: Ok(ExitRecord { exit: Exit::Rebooted, .. }), restart: true } => {
                (Verb::Reboot, Arguments::default())
            }
            Task::End { .. } => (Verb::Halt, Arguments::default()),
            Task::Follow(Until::Ready) => (Verb::Ready, Arguments::default()),
            Task::Follow(Until::Running) => (Verb::Boot, Arguments::default()),
        }
    }
}

/// Carries out a task. Returns what there is to say about it.
pub async fn run(work: Work, task: Task) -> Result<Option<String>, ApiError> {
    match task {
        Task::Move(verb, arguments) => carry_out(&work, verb, arguments).await,
        Task::End { end, restart } => halt::after_end(&work, end, restart).await.map(|()| None),
        Task::Follow(until) => go_on(&work, until).await.map(|()| None),
    }
}

async fn carry_out(work: &Work, verb: Verb, arguments: Arguments) -> Result<Option<String>, ApiError> {
    match verb {
        Verb::Install => roots::install(work, arguments.from).await,
        Verb::Uninstall => roots::uninstall(work).await.map(|()| None),
        Verb::Delete => roots::delete(work).await.map(|()| None),
        Verb::Ready => bring_up(work, Until::Ready).await.map(|()| None),
        Verb::Boot if work.status().state == State::Ready => release(work).await.map(|()| None),
        Verb::Boot => bring_up(work, Until::Running).await.map(|()| None),
        Verb::Shutdown => halt::shut_down(work, arguments.timeout).await,
        Verb::Halt => halt::halt(work).await.map(|()| None),
        Verb::Reboot => halt::reboot(work, arguments.timeout).await,
        Verb::Pause => pause::pause(work).await.map(|()| None),
        Verb::Resume => pause::resume(work).await.map(|()| None),
        Verb::Edit | Verb::Set | Verb::Exec | Verb::Console | Verb::Cp => {
            Err(ApiError::failed(format!("{verb} moves no zone between states"), None))
        }
    }
}

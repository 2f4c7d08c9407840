//! One task a zone: takes its requests one by one, obeys [the table](super::transitions), and carries out one
//! operation at a time.
//!
//! ```text
//! requests ─▶ queue ─▶ actor ──▶ operation (a task of its own) ──┐
//!                      │  ▲                                      ├─▶ watch of the status ─▶ everybody
//!            monitor ──┘  └── done, failed, panicked ────────────┘
//! ```
//! An operation goes on when the client that asked for it vanishes. Whoever asks for the same joins it, a halt
//! breaks in. The end of the zone's first process, or of its monitor, begins an operation like a request does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use zoned_api::{ApiError, EventKind, State, Verb, report::Exit};

use super::{
    configure,
    operation::{self, Task},
    request::{Answer, Arguments, Request, What},
    session,
    status::Status,
    transitions::{Meeting, Transition, meet, transition},
    work::{Work, change},
};
use crate::{fault::failed, host::Host, monitor::protocol::ExitRecord};

/// Requests that may wait for one actor.
const QUEUE: usize = 64;

/// A zone that reboots itself more than this often within [`RESTARTS_WITHIN`] stays down.
const RESTARTS: usize = 5;

/// See [`RESTARTS`].
const RESTARTS_WITHIN: Duration = Duration::from_secs(20);

/// How others reach a zone's actor.
#[derive(Clone, Debug)]
pub struct Handle {
    /// Where requests go.
    pub inbox: mpsc::Sender<Request>,
    /// What is known of the zone.
    pub status: watch::Receiver<Arc<Status>>,
}

/// The actor of one zone.
#[derive(Debug)]
pub struct Actor {
    host: Arc<Host>,
    status: Arc<watch::Sender<Arc<Status>>>,
    inbox: mpsc::Receiver<Request>,
    operation: Option<Operation>,
    /// Requests that wait for the operation to break off.
    next: Vec<Request>,
    /// When the zone rebooted itself.
    restarts: Vec<Instant>,
}

/// What is under way.
#[derive(Debug)]
struct Operation {
    verb: Verb,
    arguments: Arguments,
    work: Work,
    task: JoinHandle<Result<Option<String>, ApiError>>,
    /// Who waits for it, first who asked for it, then who joined.
    waiting: Vec<Request>,
}

impl Actor {
    /// Starts the actor of a zone, with something to do at once if `first` is given. `gone` is called when the
    /// zone has been deleted.
    pub fn start(
        host: Arc<Host>,
        status: Status,
        first: Option<Task>,
        gone: impl FnOnce() + Send + 'static,
    ) -> Handle {
        let (inbox, requests) = mpsc::channel(QUEUE);
        let (status, watched) = watch::channel(Arc::new(status));
        let actor = Self {
            host,
            status: Arc::new(status),
            inbox: requests,
            operation: None,
            next: Vec::new(),
            restarts: Vec::new(),
        };
        tokio::spawn(async move {
            if actor.run(first).await {
                gone();
            }
        });
        Handle { inbox, status: watched }
    }

    /// Until the zone is deleted (true) or nobody can reach it any more.
    async fn run(mut self, first: Option<Task>) -> bool {
        if let Some(task) = first {
            self.begin(task, None);
        }
        loop {
            let idle = self.operation.is_none();
            tokio::select! {
                request = self.inbox.recv() => match request {
                    Some(request) => self.take(request),
                    None => return false,
                },
                result = result(&mut self.operation) => if self.finish(result) {
                    return true;
                },
                end = ended(self.status.borrow().clone()), if idle => self.begin_end(end),
            }
        }
    }

    fn take(&mut self, request: Request) {
        let verb = request.what.verb();
        if let Some(operation) = &mut self.operation {
            match meet(operation.verb, verb) {
                Meeting::Join if operation.joins(&request.what) => return operation.join(request),
                Meeting::Interrupt => {
                    operation.work.cancel.cancel();
                    return self.next.push(request);
                }
                Meeting::Beside => {}
                Meeting::Join | Meeting::Busy => {
                    let doing = operation.verb;
                    let zone = self.name();
                    return self.answer(request, Err(ApiError::Busy { zone, doing }));
                }
            }
        }
        let state = self.status.borrow().state;
        match transition(state, verb) {
            Transition::Refuse(hint) => {
                let error = ApiError::WrongState { zone: self.name(), state, verb, hint: hint.into() };
                self.answer(request, Err(error));
            }
            Transition::Nothing(note) => {
                let answer = match &request.what {
                    What::Move(_, Arguments { from: Some(_), .. }) => Err(ApiError::WrongState {
                        zone: self.name(),
                        state,
                        verb,
                        hint: "uninstall it first to give it another root".into(),
                    }),
                    _ => Ok(Answer { state: Some(state), note: Some(note.into()), session: None }),
                };
                self.answer(request, answer);
            }
            Transition::Do => self.carry_out(request),
        }
    }

    fn carry_out(&mut self, request: Request) {
        match &request.what {
            What::Move(verb, arguments) => {
                // Somebody looks after it again.
                self.restarts.clear();
                let task = Task::Move(*verb, arguments.clone());
                self.begin(task, Some(request));
            }
            What::Edit { .. } | What::Set(_) => {
                let status = self.status.borrow().clone();
                // Forced to the disk meanwhile; other zones' tasks move to another thread.
                let changed =
                    tokio::task::block_in_place(|| configure::change(&self.host, &status, &request.what));
                let answer = changed.map(|(yaml, config, note)| {
                    change(&self.host, &self.status, |status| {
                        (status.yaml, status.config) = (yaml.into(), Arc::new(config));
                    });
                    let kind = EventKind::Configured { what: "changed".into() };
                    self.host.journal.note(Some(&self.status.borrow().config.zone), kind);
                    Answer { state: Some(status.state), note, session: None }
                });
                self.answer(request, answer);
            }
            What::Session(..) => {
                let (host, status) = (self.host.clone(), self.status.borrow().clone());
                tokio::spawn(session::open(host, status, request));
            }
        }
    }

    fn begin(&mut self, task: Task, request: Option<Request>) {
        let (verb, arguments) = task.verb();
        let work = Work::new(self.host.clone(), self.status.clone());
        if let Some(steps) = request.as_ref().and_then(|r| r.steps.clone()) {
            work.listen(steps);
        }
        tracing::debug!(zone = self.name(), %verb, "begins");
        change(&self.host, &self.status, |status| status.doing = Some(verb));
        let task = tokio::spawn(operation::run(work.clone(), task));
        self.operation =
            Some(Operation { verb, arguments, work, task, waiting: request.into_iter().collect() });
    }

    /// The zone's first process, or its monitor, has ended by itself.
    fn begin_end(&mut self, end: Result<ExitRecord, ()>) {
        let mut restart = true;
        if end.as_ref().is_ok_and(|record| record.exit == Exit::Rebooted) {
            self.restarts.retain(|at| at.elapsed() < RESTARTS_WITHIN);
            restart = self.restarts.len() < RESTARTS;
            self.restarts.push(Instant::now());
        }
        self.begin(Task::End { end, restart }, None);
    }

    /// Answers all who waited. True if the zone is no more.
    fn finish(&mut self, result: Result<Option<String>, ApiError>) -> bool {
        let Some(operation) = self.operation.take() else { return false };
        tracing::debug!(zone = self.name(), verb = %operation.verb, "ends");
        operation.work.end();
        let deleted = operation.verb == Verb::Delete && result.is_ok();
        let state = (!deleted).then(|| self.status.borrow().state);
        if operation.waiting.is_empty()
            && let Err(e) = &result
        {
            tracing::warn!(zone = %self.name(), "{e}");
        }
        for (joined, request) in operation.waiting.into_iter().enumerate() {
            let answer = result.clone().map(|note| Answer {
                state,
                note: note.or_else(|| (joined > 0).then(|| "joined the request under way".into())),
                session: None,
            });
            self.answer(request, answer);
        }
        for request in std::mem::take(&mut self.next) {
            if deleted {
                let zone = self.name();
                self.answer(request, Err(ApiError::NoSuchZone { zone }));
            } else if operation.verb == Verb::Install && result.is_err() {
                let note = Some("install cancelled".into());
                self.answer(request, Ok(Answer { state, note, session: None }));
            } else {
                self.take(request);
            }
        }
        deleted
    }

    fn answer(&self, request: Request, answer: Result<Answer, ApiError>) {
        reply(&self.host, &self.status.borrow(), request, answer);
    }

    fn name(&self) -> String {
        self.status.borrow().config.zone.to_string()
    }
}

impl Operation {
    /// Whether a request of the same verb asks for the same.
    fn joins(&self, what: &What) -> bool {
        match what {
            What::Move(Verb::Install, arguments) => *arguments == self.arguments,
            _ => true,
        }
    }

    fn join(&mut self, request: Request) {
        if let Some(steps) = &request.steps {
            self.work.listen(steps.clone());
        }
        self.waiting.push(request);
    }
}

/// Answers a request and notes it.
pub(super) fn reply(host: &Host, status: &Status, request: Request, answer: Result<Answer, ApiError>) {
    let error = answer.as_ref().err().map(ToString::to_string);
    let kind = EventKind::Request { verb: request.what.verb(), uid: request.uid, error };
    host.journal.note(Some(&status.config.zone), kind);
    // Whoever asked may have gone.
    let _ = request.answer.send(answer);
}

/// How the operation under way ended, once it has.
async fn result(operation: &mut Option<Operation>) -> Result<Option<String>, ApiError> {
    match operation {
        Some(operation) => match (&mut operation.task).await {
            Ok(result) => result,
            Err(e) => {
                tracing::error!("an operation panicked: {e}");
                operation.work.enter(State::Down, Some("an error in zoned itself; see its log".into()));
                Err(failed(&e))
            }
        },
        None => std::future::pending().await,
    }
}

/// How the zone ended, once it has, if it runs.
async fn ended(status: Arc<Status>) -> Result<ExitRecord, ()> {
    match &status.run {
        Some(run) if matches!(status.state, State::Ready | State::Running | State::Paused) => {
            run.tether.ended().await
        }
        _ => std::future::pending().await,
    }
}

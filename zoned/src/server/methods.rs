//! What each method does. One place that says, for each, who knows the answer.

use std::{collections::BTreeMap, os::fd::OwnedFd, sync::Arc};

use tokio::sync::mpsc;
use uuid::Uuid;
use zoned_api::{API_VERSION, ApiError, INTERFACE, Method, Reply, Verb, config::GLOBAL, report::ZoneInfo};

use super::{connection::Client, describe::describe, global, stream::Calls};
use crate::{
    audit, cpu, doctor,
    fault::failed,
    host::Host,
    monitor::protocol,
    stats,
    zone::{
        check,
        limits::uses,
        online,
        request::{Answer, Arguments, What},
        warnings, weighed,
        zones::{Zones, infos},
    },
};

/// Most of a console's log that is sent, in bytes.
const CONSOLE_TEXT: usize = 1 << 20;

/// What answers the calls.
#[derive(Debug)]
pub struct Daemon {
    /// The zones.
    pub zones: Arc<Zones>,
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum Answering {
    /// The call failed; the client is told.
    Refused(ApiError),
    /// The client cannot be told anything.
    Gone(zlink::Error),
}

impl From<ApiError> for Answering {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

pub(super) type Answered = Result<(Reply, Vec<OwnedFd>), Answering>;

impl Daemon {
    pub(super) fn host(&self) -> &Arc<Host> {
        &self.zones.host
    }

    /// Carries out a call.
    pub(super) async fn call(
        self: &Arc<Self>,
        method: Method,
        fds: Vec<OwnedFd>,
        client: &mut Client,
        calls: &mut Calls,
    ) -> Answered {
        let plain = |reply: Reply| Ok((reply, Vec::new()));
        match method {
            Method::GetInfo {} => plain(service_info()),
            Method::GetInterfaceDescription { interface } => {
                plain(Reply::Description { description: describe(&interface)? })
            }
            Method::Version {} => {
                plain(Reply::Version { daemon: env!("CARGO_PKG_VERSION").into(), api: API_VERSION })
            }
            Method::List {} => plain(Reply::Zones { zones: infos(&self.zones.host, &self.zones.all()) }),
            Method::Info { zone } => plain(Reply::Zones { zones: vec![self.info(&zone)?] }),
            Method::Global {} => plain(Reply::Global { global: global::info(&self.zones) }),
            Method::Export { zone } => {
                let status = self.zones.find(&zone)?.status.borrow().clone();
                plain(Reply::Text { text: status.yaml.to_string() })
            }
            Method::Verify { yaml } => plain(self.verify(&yaml).await?),
            Method::Create { yaml } => {
                let status = self.zones.create(yaml).await?;
                plain(Reply::Done { state: Some(status.state), note: None })
            }
            Method::Edit { zone, yaml, base } => {
                self.ask(&zone, None, What::Edit { yaml, base }, client).await
            }
            Method::Set { zone, values } if zone == GLOBAL => {
                let host = self.host().clone();
                plain(blocking(move || global::set(&host, &values)).await??)
            }
            Method::Set { zone, values } => self.ask(&zone, None, What::Set(values), client).await,
            Method::WhatIf { zone, values } if zone == GLOBAL => {
                plain(global::what_would(&self.zones, &values)?)
            }
            Method::WhatIf { zone, values } => plain(self.what_if(&zone, &values)?),
            Method::Do { zone, verb, uuid } => self.ask(&zone, uuid, plain_verb(verb)?, client).await,
            Method::Install { zone, from } => {
                let arguments = Arguments { from, timeout: None };
                self.ask(&zone, None, What::Move(Verb::Install, arguments), client).await
            }
            Method::Shutdown { zone, timeout, reboot } => {
                let verb = if reboot { Verb::Reboot } else { Verb::Shutdown };
                let timeout = Some(match timeout {
                    Some(seconds) => seconds,
                    None => self.stop_seconds(&zone)?,
                });
                self.ask(&zone, None, What::Move(verb, Arguments { from: None, timeout }), client).await
            }
            Method::Wait { zone, timeout } => self.wait(&zone, timeout, client, calls).await,
            Method::Exec { zone, spec } => {
                let want = if spec.tty { 0 } else { 3 };
                let request = protocol::Request::Exec { spec };
                self.session(&zone, Verb::Exec, request, want, fds, client).await
            }
            Method::Console { zone } => {
                self.session(&zone, Verb::Console, protocol::Request::Console, 0, fds, client).await
            }
            Method::Copy { zone, path, into } => {
                let request = protocol::Request::Copy { path, into };
                self.session(&zone, Verb::Cp, request, 1, fds, client).await
            }
            Method::ConsoleLog { zone } => plain(Reply::Text { text: self.console_log(&zone).await? }),
            Method::Events { zone, since, follow, processes } => {
                let zone = zone.map(|zone| self.zones.find(&zone)).transpose()?;
                let of = zone.map(|handle| handle.status.borrow().config.zone.clone());
                let wanted = |event: &zoned_api::Event| of.is_none() || event.zone == of;
                self.events(wanted, since.unwrap_or(0), processes, follow, client, calls).await
            }
            Method::Stat { zone } => {
                let (zones, of) = (self.zones.clone(), zone.map(|zone| self.zones.find(&zone)).transpose()?);
                let of = of.map(|handle| handle.status.borrow().uuid());
                plain(Reply::Stats { stats: blocking(move || stats::collect(&zones, of)).await?? })
            }
            Method::Doctor {} => {
                let host = self.host().clone();
                plain(Reply::Findings { findings: blocking(move || doctor::examine(&host)).await? })
            }
            Method::Audit {} => {
                let zones = self.zones.clone();
                plain(Reply::Leftovers { leftovers: blocking(move || audit::audit(&zones)).await? })
            }
        }
    }

    fn info(&self, zone: &str) -> Result<ZoneInfo, ApiError> {
        let status = self.zones.find(zone)?.status.borrow().clone();
        Ok(ZoneInfo { limits: uses(self.host(), &status), ..status.info(&self.zones.host) })
    }

    /// What a change of a zone's part of the CPUs would come to.
    fn what_if(&self, zone: &str, values: &BTreeMap<String, String>) -> Result<Reply, ApiError> {
        let status = self.zones.find(zone)?.status.borrow().clone();
        let next = weighed(self.host(), &status, values)?;
        let (global, all) = (self.host().cpu.global_cpu(), self.zones.all());
        let next = cpu::Flow { name: status.config.zone.as_str(), cpu: &next.cpu };
        let shifts = cpu::what_if(&stats::flows(&global, &all), next, &self.host().tree.cpus());
        Ok(Reply::Shifts { shifts })
    }

    /// A configuration with every default written out, and what there is to say of it.
    async fn verify(&self, yaml: &str) -> Result<Reply, ApiError> {
        let config = check(self.host(), yaml)?;
        let (text, zones, cpus) = (config.to_yaml()?, self.zones.all(), self.host().tree.cpus());
        let warnings = blocking(move || {
            let zones: Vec<_> = zones.iter().map(|zone| &*zone.config).collect();
            warnings(&config, &zones, &cpus)
        });
        Ok(Reply::Checked { text, warnings: warnings.await? })
    }

    /// What a zone's brand gives its init to stop, in seconds.
    fn stop_seconds(&self, zone: &str) -> Result<u32, ApiError> {
        let status = self.zones.find(zone)?.status.borrow().clone();
        self.host().brands.stop_seconds(&status.config)
    }

    /// Asks a zone, and tells its steps meanwhile. If the client goes, the work goes on.
    async fn ask(&self, zone: &str, uuid: Option<Uuid>, what: What, client: &mut Client) -> Answered {
        let (steps, mut told) = mpsc::channel(64);
        let mut answer = std::pin::pin!(self.zones.ask(zone, uuid, what, client.uid, Some(steps)));
        let mut telling = true;
        let answer = loop {
            tokio::select! {
                biased;
                step = told.recv(), if telling => match step {
                    Some((step, amount)) => client.next(&Reply::Progress { step, amount }).await.map_err(Answering::Gone)?,
                    None => telling = false,
                },
                answer = &mut answer => break answer?,
            }
        };
        done(answer)
    }

    /// Waits until a zone is online. If the client goes, nobody waits any more.
    async fn wait(
        &self,
        zone: &str,
        timeout: Option<u32>,
        client: &mut Client,
        calls: &mut Calls,
    ) -> Answered {
        let handle = self.zones.find(zone)?;
        let (steps, mut told) = mpsc::channel(1);
        let mut waiting = std::pin::pin!(online::wait(&handle, timeout, steps));
        loop {
            tokio::select! {
                biased;
                answer = &mut waiting => return done(answer?),
                Some((step, amount)) = told.recv() => {
                    client.next(&Reply::Progress { step, amount }).await.map_err(Answering::Gone)?;
                }
                call = calls.receive_call::<serde::de::IgnoredAny>() => {
                    return Err(Answering::Gone(call.err().unwrap_or(zlink::Error::SocketRead)));
                }
            }
        }
    }

    async fn session(
        &self,
        zone: &str,
        verb: Verb,
        request: protocol::Request,
        want: usize,
        fds: Vec<OwnedFd>,
        client: &mut Client,
    ) -> Answered {
        if fds.len() != want {
            let parameter = format!("{verb} takes {want} descriptors, not {}", fds.len());
            return Err(ApiError::InvalidParameter { parameter }.into());
        }
        let answer = self.zones.ask(zone, None, What::Session(verb, request, fds), client.uid, None).await?;
        match answer.session {
            Some((pid, fds)) => Ok((Reply::Session { pid, session: protocol::VERSION }, fds)),
            None => done(answer),
        }
    }

    async fn console_log(&self, zone: &str) -> Result<String, ApiError> {
        let status = self.zones.find(zone)?.status.borrow().clone();
        let log = self.host().store.console_log(&status.uuid());
        blocking(move || {
            let mut text = Vec::new();
            for path in [log.with_extension("log.1"), log] {
                match std::fs::read(&path) {
                    Ok(part) => text.extend(part),
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                    Err(e) => {
                        return Err(ApiError::failed(
                            format!("{}: cannot be read: {e}", path.display()),
                            None,
                        ));
                    }
                }
            }
            let from = text.len().saturating_sub(CONSOLE_TEXT);
            Ok(String::from_utf8_lossy(text.get(from..).unwrap_or_default()).into_owned())
        })
        .await?
    }
}

fn service_info() -> Reply {
    Reply::ServiceInfo {
        vendor: "zoned".into(),
        product: "zones for Linux".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        url: String::new(),
        interfaces: vec!["org.varlink.service".into(), INTERFACE.into()],
    }
}

fn plain_verb(verb: Verb) -> Result<What, ApiError> {
    match verb {
        Verb::Delete
        | Verb::Install
        | Verb::Uninstall
        | Verb::Ready
        | Verb::Boot
        | Verb::Halt
        | Verb::Shutdown
        | Verb::Reboot
        | Verb::Pause
        | Verb::Resume => Ok(What::Move(verb, Arguments::default())),
        Verb::Edit | Verb::Set | Verb::Exec | Verb::Console | Verb::Cp => {
            Err(ApiError::InvalidParameter { parameter: format!("verb: {verb} has a method of its own") })
        }
    }
}

fn done(Answer { state, note, .. }: Answer) -> Answered {
    Ok((Reply::Done { state, note }, Vec::new()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| failed(&e))
}

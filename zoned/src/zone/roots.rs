//! Giving a zone its root, taking it away, and forgetting the zone.
//!
//! Between the first and the last step the zone is `incomplete` on disk too: whoever is interrupted, by whatever,
//! leaves a zone that says so, and that `uninstall` clears away. Only an install that failed before it made
//! anything, for want of its source, leaves the zone as it was.

use zoned_api::{ApiError, State, Verb, ZoneConfig, config::Root as RootConfig};

use super::{first, work::Work};
use crate::{
    fault::{failed, whole},
    image::{Cancel, ImageError, InstallError, Installed, Stage, Step},
    store::record::Root,
};

/// Gives the zone its root. `from` replaces the configured image.
pub(super) async fn install(work: &Work, from: Option<String>) -> Result<Option<String>, ApiError> {
    if let Some(image) = from {
        configure_image(work, image).await?;
    }
    let status = work.status();
    work.keep_root(Root::Incomplete { doing: Verb::Install, why: None }).await?;
    work.enter(State::Incomplete, None);

    let (cancel, asked) = (Cancel::default(), work.cancel.clone());
    let (running, teller) = (cancel.clone(), work.clone());
    let (uuid, root, ids) = (status.uuid(), status.config.root.clone(), status.ids);
    let installing = work.blocking(move |host| {
        let tell = |step: Step| teller.step(step.what, step.amount);
        host.images.install(uuid, &root, ids, &tell, &running)
    });
    let mut installing = std::pin::pin!(installing);
    let installed = tokio::select! {
        installed = &mut installing => installed,
        () = asked.cancelled() => {
            cancel.cancel();
            installing.await
        }
    };
    match installed {
        Ok(installed) => finish(work, installed).await,
        Err(InstallError { stage: Stage::Source, why }) => Err(not_begun(work, &why).await),
        Err(InstallError { stage: Stage::Unpack, why }) => Err(incomplete(work, Verb::Install, &why).await),
    }
}

/// Keeps what was installed, and says so if it could not be booted.
async fn finish(work: &Work, installed: Installed) -> Result<Option<String>, ApiError> {
    let root = Root::Installed {
        from: installed.describe,
        layers: installed.layers.iter().map(ToString::to_string).collect(),
        os: installed.os,
    };
    work.keep_root(root).await?;
    // An earlier install that could not begin is of no interest any more.
    if work.status().history.reason.is_some() {
        work.keep_history(|history| history.reason = None).await;
    }
    let status = work.status();
    let fault = work.blocking(move |host| first::fault(host, &status)).await;
    work.end_in(State::Installed, None);
    Ok(fault.map(|fault| format!("{fault}: {}", first::hint(&work.status().config.zone))))
}

/// Takes the zone's root and data away.
pub(super) async fn uninstall(work: &Work) -> Result<(), ApiError> {
    work.keep_root(Root::Incomplete { doing: Verb::Uninstall, why: None }).await?;
    work.enter(State::Incomplete, None);
    let uuid = work.status().uuid();
    let removed = work.blocking(move |host| {
        let log = host.store.console_log(&uuid);
        for path in [log.with_extension("log.1"), log] {
            // What it printed goes with it, if it ever ran.
            let _ = std::fs::remove_file(path);
        }
        host.images.uninstall(uuid)
    });
    if let Err(e) = removed.await {
        return Err(incomplete(work, Verb::Uninstall, &e).await);
    }
    work.keep_root(Root::None).await?;
    work.keep_history(|history| (history.last_exit, history.reason) = (None, None)).await;
    work.end_in(State::Configured, None);
    Ok(())
}

/// Forgets the zone.
pub(super) async fn delete(work: &Work) -> Result<(), ApiError> {
    let status = work.status();
    let uuid = status.uuid();
    work.blocking(move |host| host.store.remove(&uuid)).await.map_err(|e| failed(&e))?;
    work.host.names.release(&status.config.zone, uuid);
    work.host.network.put(uuid, None);
    let kind = zoned_api::EventKind::Configured { what: "deleted".into() };
    work.host.journal.note(Some(&status.config.zone), kind);
    Ok(())
}

/// Writes another image into the configuration.
async fn configure_image(work: &Work, image: String) -> Result<(), ApiError> {
    let status = work.status();
    let image = zoned_api::config::Image::try_from(image).map_err(|why| ApiError::invalid(why, None))?;
    if status.config.root.image.as_ref() == Some(&image) {
        return Ok(());
    }
    let root = RootConfig { sparse: false, image: Some(image), ..status.config.root.clone() };
    let root = serde_json::to_string(&root).map_err(|e| failed(&e))?;
    // JSON is YAML.
    let yaml = ZoneConfig::set(&status.yaml, &[("root".to_owned(), root)].into())?;
    let config = ZoneConfig::parse(&yaml)?;
    let (uuid, text) = (status.uuid(), yaml.clone());
    work.blocking(move |host| host.store.save_config(&uuid, &text)).await.map_err(|e| failed(&e))?;
    work.change(|status| (status.yaml, status.config) = (yaml.into(), std::sync::Arc::new(config)));
    Ok(())
}

/// The zone is configured as before, and says why. Nothing is taken away: nothing was made.
async fn not_begun(work: &Work, error: &ImageError) -> ApiError {
    if work.keep_root(Root::None).await.is_err() {
        return incomplete(work, Verb::Install, error).await;
    }
    let why = whole(error);
    work.keep_history(|history| history.reason = Some(why.clone())).await;
    work.end_in(State::Configured, Some(why.clone()));
    let zone = &work.status().config.zone;
    let again = format!("`zonectl install {zone}` tries again; nothing of it is left");
    let hint = error.hint().map_or(again.clone(), |hint| format!("{hint}; {again}"));
    ApiError::failed(format!("zone {zone}: install failed: {why}"), Some(hint))
}

/// The zone stays incomplete, and says why.
async fn incomplete(work: &Work, doing: Verb, error: &ImageError) -> ApiError {
    let why = whole(error);
    let root = Root::Incomplete { doing, why: Some(why.clone()) };
    if let Err(e) = work.keep_root(root).await {
        tracing::error!("{e}");
    }
    work.end_in(State::Incomplete, Some(why.clone()));
    let zone = &work.status().config.zone;
    let clear = format!("`zonectl uninstall {zone}` clears away what there is of it");
    let hint = error.hint().map_or(clear.clone(), |hint| format!("{hint}; {clear}"));
    ApiError::failed(format!("zone {zone}: {doing} failed: {why}"), Some(hint))
}

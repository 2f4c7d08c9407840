//! The control socket: varlink, one task a connection.
//!
//! ```text
//! listener ──▶ connection (task) ──▶ call ──▶ methods ──▶ zones, journal, stats, …
//!              own reader and writer, so that a slow call or client stalls nobody else
//! ```
//! Owns the socket and nothing behind it. Only the host's root is served, whatever the mode of the socket's file.
//! A message has a bounded size and a connection a bounded number of siblings.

mod call;
mod connection;
mod describe;
mod follow;
mod global;
mod methods;
mod stream;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{net::UnixListener, sync::Semaphore};

pub use methods::Daemon;

/// Connections served at once; more wait to be accepted. One that only sits there costs a descriptor and a few KiB,
/// so there are far more places than clients that forget to hang up.
const CONNECTIONS: usize = 4096;

/// Why nobody can connect.
#[derive(Debug, thiserror::Error)]
#[error("{path}: cannot listen there")]
pub struct ListenError {
    path: PathBuf,
    source: io::Error,
}

/// Listens at a path (0600). A socket left behind by a daemon that is gone is replaced: whoever calls holds the
/// lock that says so.
pub fn listen(path: &Path) -> Result<UnixListener, ListenError> {
    let bind = || {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        // Between bind and here it has the umask's mode; the caller's is 077, and credentials are checked too.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bind().map_err(|source| ListenError { path: path.to_owned(), source })
}

/// Serves for ever.
pub async fn serve(listener: UnixListener, daemon: Arc<Daemon>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let daemon = daemon.clone();
                tokio::spawn(async move {
                    connection::serve(stream, daemon).await;
                    drop(place);
                });
            }
            Err(e) => {
                // Out of descriptors, mostly: another try at once would only spin.
                tracing::warn!("cannot accept a connection: {e}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

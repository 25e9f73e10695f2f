//! SIGTERM and SIGINT: the first asks the process to end, the second ends it.

use std::process;
use std::sync::mpsc::SyncSender;

use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::health::Event;
use crate::error::AppError;

/// What a shell says of a process that SIGINT has ended.
const INTERRUPTED: i32 = 130;

/// Tells `events` of the first signal, and ends the process at the second.
pub(super) fn listen(events: SyncSender<Event>, runtime: &Handle) -> Result<(), AppError> {
    let _entered = runtime.enter();
    let failed = |error| AppError::Failed(format!("cannot listen to signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    runtime.spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        // Full means that the process is told to end already.
        let _ = events.try_send(Event::Signal);
        either(&mut terminate, &mut interrupt).await;
        tracing::warn!("a second signal: ending without a last commit");
        process::exit(INTERRUPTED);
    });
    Ok(())
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

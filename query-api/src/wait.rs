//! Reading one's own writes: waiting until a view reflects a token.
//!
//! A waiting request holds no thread and no permit to search.

use std::time::Duration;

use serde::Deserialize;
use stores::position::Token;
use stores::views::{Snapshot, View};
use utoipa::IntoParams;

use crate::api::Api;
use crate::errors::Problem;

/// The parameters that every route takes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct After {
    /// A token of positions, as an append or an earlier answer gave it: waits until the answer can
    /// reflect it. Positions that do not feed the view are ignored.
    pub(crate) after: Option<String>,
    /// The longest wait, in milliseconds. Without it, as long as the server allows.
    pub(crate) after_timeout_ms: Option<u64>,
}

impl Api {
    /// Takes a snapshot of `view` that reflects what `after` asks for.
    pub(crate) async fn snapshot(&self, view: &View, after: &After) -> Result<Snapshot, Problem> {
        let most = self.settings.after_wait_max_ms;
        let waited_ms = after.after_timeout_ms.unwrap_or(most);
        if waited_ms > most {
            let parameter = "after_timeout_ms";
            return Err(Problem::LimitExceeded { parameter, given: waited_ms, most });
        }
        let token: Token = match &after.after {
            Some(text) => text.parse()?,
            None => return Ok(view.snapshot()),
        };
        let reflects = |snapshot: &Snapshot| snapshot.progress().contains(view.schema(), &token);
        let present = view.snapshot();
        if reflects(&present) {
            return Ok(present);
        }
        let most = self.settings.after_waiting_max;
        let _permit = self.waiting.try_acquire().map_err(|_| Problem::TooMany { most })?;
        let mut snapshots = view.subscribe();
        let reflected = snapshots.wait_for(reflects);
        match tokio::time::timeout(Duration::from_millis(waited_ms), reflected).await {
            Ok(Ok(snapshot)) => Ok(snapshot.clone()),
            // The channel closes with the view, which we hold: what remains is the time.
            Ok(Err(_)) | Err(_) => {
                let missing = view.snapshot().progress().missing(view.schema(), &token);
                Err(Problem::NotReached { waited_ms, missing })
            }
        }
    }
}

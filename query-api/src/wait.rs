//! Reading one's own writes: waiting until a view reflects a token.
//!
//! A waiting request holds no thread and no permit to search.

use std::sync::Arc;
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
    /// Takes a snapshot of every view, each reflecting what `after` asks for. They share the time
    /// that `after` gives.
    pub(crate) async fn snapshots(
        &self,
        after: &After,
    ) -> Result<Vec<(Arc<View>, Snapshot)>, Problem> {
        let views = self.views.list();
        let taking = async {
            let mut taken = Vec::with_capacity(views.len());
            for view in &views {
                taken.push((Arc::clone(view), self.snapshot(view, after).await?));
            }
            Ok(taken)
        };
        let waited_ms = self.wait_ms(after)?;
        match tokio::time::timeout(Duration::from_millis(waited_ms), taking).await {
            Ok(taken) => taken,
            Err(_) => {
                let token = after.token()?;
                let missing = views
                    .iter()
                    .flat_map(|view| view.snapshot().progress().missing(view.schema(), &token));
                Err(Problem::NotReached { waited_ms, missing: missing.collect() })
            }
        }
    }

    /// Takes a snapshot of `view` that reflects what `after` asks for.
    pub(crate) async fn snapshot(&self, view: &View, after: &After) -> Result<Snapshot, Problem> {
        let waited_ms = self.wait_ms(after)?;
        let token = after.token()?;
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

    fn wait_ms(&self, after: &After) -> Result<u64, Problem> {
        let most = self.settings.after_wait_max_ms;
        match after.after_timeout_ms.unwrap_or(most) {
            given if given > most => {
                Err(Problem::LimitExceeded { parameter: "after_timeout_ms", given, most })
            }
            wait_ms => Ok(wait_ms),
        }
    }
}

impl After {
    /// The token, which every view contains if there is none.
    fn token(&self) -> Result<Token, Problem> {
        Ok(self.after.as_deref().map_or(Ok(Token::default()), str::parse)?)
    }
}

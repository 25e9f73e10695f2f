//! `millpond demo`: everything in one process, on traffic that is made up.
//!
//! ```text
//! generator -> log -> topologies -> views  <- searches
//!                               '-> alerts -> webhooks -> receiver (on the same listener)
//! ```
//! The data directory survives restarts. It is a process like any other: only the generator, the
//! receiver and the screen are its own.

mod generator;
mod pace;
mod screen;
mod source;
mod welcome;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alerts::receiver::{Receiver, ReceiverConfig};
use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use pipeline::clock::{Clock, SystemClock};

pub use source::{DemoRecord, DemoSearch, DemoSource, DemoTraffic};

use generator::Generator;
use screen::Screen;

use crate::app::App;
use crate::config::{Config, Endpoint, EndpointStart, Secret};
use crate::error::AppError;
use crate::logs;
use crate::roles::{self, DataDirectory, Ending, Process, Roles, Setup};

const SETTINGS: &str = include_str!("demo.toml");
/// Where the receiver is mounted.
const RECEIVER: &str = "/demo/webhooks";
/// The bytes of the secret that webhooks are signed with.
const SECRET_BYTES: usize = 32;

/// What the demo is told.
pub(crate) struct DemoOptions {
    /// Records a second.
    pub(crate) rate: u32,
    /// The seed of the traffic.
    pub(crate) seed: u64,
    /// The port; 0 is any.
    pub(crate) port: u16,
    /// Where the data lies.
    pub(crate) data_dir: PathBuf,
    /// How long it runs; without it, until it is stopped.
    pub(crate) duration: Option<Duration>,
}

/// Runs the demo until it is stopped or its time is over.
///
/// # Errors
/// When it cannot start, or a part fails.
pub(crate) fn run(app: &App, source: &DemoSource, options: &DemoOptions) -> Result<(), AppError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut config = config(app, options)?;
    let mut screen = Screen::new();
    let directives = format!("{},{}=info", config.log_level, screen::LINE_TARGET);
    logs::start(&directives, screen.block());
    let directory = DataDirectory::lock(&config.data_dir, clock.wall_ms())?;
    let bound = roles::bind(&config.http)?;
    let address = bound.address;
    let receiver = receiver(&mut config, address, &clock)?;
    let setup = Setup {
        app,
        config: &config,
        roles: Roles::All,
        clock: Arc::clone(&clock),
        place: (directory, bound),
        more: routes(&receiver),
    };
    let process = Process::start(setup)?;
    let traffic = (source.traffic)(options.seed, clock.wall_ms());
    let generator = Generator::start(Arc::clone(&process.overview), traffic, options.rate)?;
    welcome::print(source, options, address)?;
    let until = options.duration.map(|duration| clock.elapsed() + duration);
    let ending = process.wait(until, screen.interval(), |overview| screen.show(overview.figures()));
    screen.clear();
    generator.stop();
    let overview = Arc::clone(&process.overview);
    let figures = overview.figures();
    drop(overview);
    let stopped = process.stop();
    match ending {
        Ending::Failed(reason) => return Err(AppError::Failed(reason)),
        Ending::Asked => stopped?,
    }
    welcome::say(&format!("{}\n", screen::summary(&figures)))
}

/// The receiver, and ways to it.
fn routes(receiver: &Receiver) -> Router {
    let to_it = || get(async || Redirect::temporary(RECEIVER));
    Router::new()
        .nest(RECEIVER, receiver.router())
        .route(&format!("{RECEIVER}/"), to_it())
        .route("/", to_it())
}

fn config(app: &App, options: &DemoOptions) -> Result<Config, AppError> {
    let mut config = app.load_text("demo.toml", SETTINGS)?;
    config.data_dir = options.data_dir.clone();
    config.http.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    Ok(config)
}

/// A receiver, and the endpoint in `config` that sends to it.
fn receiver(
    config: &mut Config,
    address: SocketAddr,
    clock: &Arc<dyn Clock>,
) -> Result<Receiver, AppError> {
    let failed = |reason: String| AppError::Failed(format!("cannot make a secret: {reason}"));
    let bytes = roles::random_bytes::<SECRET_BYTES>().map_err(|error| failed(error.to_string()))?;
    let secret = alerts::Secret::from_bytes(&bytes).map_err(|error| failed(error.to_string()))?;
    config.endpoints.push(Endpoint {
        name: "demo".to_owned(),
        start: EndpointStart::Oldest,
        url: format!("http://{address}{RECEIVER}/hook"),
        secret: Some(Secret::new(secret_text(&bytes))),
        secret_file: None,
        rules: Vec::new(),
        concurrency_max: 16,
        timeout_ms: 5_000,
        attempts_max: 10,
        backoff_first_ms: 500,
        backoff_max_ms: 10_000,
        allow_private_addresses: true,
    });
    Ok(Receiver::new(ReceiverConfig::new(vec![secret]), Arc::clone(clock)))
}

/// The text form of a secret.
fn secret_text(bytes: &[u8]) -> String {
    use base64::Engine as _;
    format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

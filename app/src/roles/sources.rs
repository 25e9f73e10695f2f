//! What brings events in: HTTP ingest, files and syslog sockets, as the configuration says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use connectors::file::{FileSettings, FileTail, FileThread, Start};
use connectors::ingest::{Ingest, IngestSettings, TopicSettings};
use connectors::listen::{ListenSettings, SyslogListener};
use connectors::syslog;
use connectors::{FieldPath, Format, ParserSettings};
use pipeline::log::Log;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::overview::Overview;
use crate::config::{
    Config, FileFormat, FileSource, FileStart, SyslogListen, SyslogSource, Topic, Year,
};
use crate::error::AppError;

/// The sources that run beside HTTP.
pub(super) struct Sources {
    files: Vec<FileThread>,
    sockets: Vec<JoinHandle<()>>,
    stopping: watch::Sender<bool>,
}

impl Sources {
    /// Starts to follow the files and to listen on the sockets of the configuration.
    pub(super) fn start(
        config: &Config,
        overview: &Arc<Overview>,
        runtime: &Handle,
    ) -> Result<Self, AppError> {
        let (stopping, stopped) = watch::channel(false);
        let mut sources = Self { files: Vec::new(), sockets: Vec::new(), stopping };
        let log: Arc<dyn Log> = overview.log.clone();
        let mut names = BTreeSet::new();
        for source in &config.sources.file {
            let name = source.path.display().to_string();
            if !names.insert(name.clone()) {
                let reason = format!("two [[sources.file]] follow `{name}`: keep one of them");
                return Err(AppError::Usage(reason));
            }
            let tail = FileTail::open(&log, file(&name, source, config)?, &overview.counters)?;
            let thread = tail.spawn(Arc::clone(&overview.clock));
            sources.files.push(thread.map_err(|error| {
                AppError::Failed(format!("cannot start the thread of file `{name}`: {error}"))
            })?);
        }
        for source in &config.sources.syslog {
            let settings = socket(source);
            let clock = Arc::clone(&overview.clock);
            let bound = SyslogListener::bind(Arc::clone(&log), clock, settings, &overview.counters);
            let listener = runtime.block_on(bound)?;
            sources.sockets.push(runtime.spawn(run(
                listener,
                Arc::clone(overview),
                stopped.clone(),
            )));
        }
        Ok(sources)
    }

    /// Stops them; what they have read is committed.
    pub(super) fn stop(self, runtime: &Handle) {
        let Self { files, sockets, stopping } = self;
        // No receiver means that no socket is open.
        let _ = stopping.send(true);
        drop(files);
        for socket in sockets {
            // A task that panicked has said so already.
            let _ = runtime.block_on(socket);
        }
    }
}

async fn run(
    listener: SyslogListener,
    overview: Arc<Overview>,
    mut stopped: watch::Receiver<bool>,
) {
    let stop = async move {
        // A sender that is gone means to stop, too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    if let Err(error) = listener.run(stop).await {
        overview.health.fail(error.to_string());
    }
}

/// The gateway's ingest for `topics`.
pub(super) fn ingest(
    config: &Config,
    overview: &Overview,
    topics: BTreeSet<String>,
) -> Result<Arc<Ingest>, AppError> {
    let settings = IngestSettings {
        topics: topics
            .into_iter()
            .map(|name| {
                let fields = topic_fields(&name, config)?;
                Ok((name, fields))
            })
            .collect::<Result<BTreeMap<_, _>, AppError>>()?,
        body_bytes_max: bytes(config.http.body_bytes_max),
        line_bytes_max: bytes(config.log.record_bytes_max),
        requests_max: config.http.ingest_concurrency_max,
        records_per_second_max: u32::try_from(config.http.ingest_records_per_second_max)
            .unwrap_or(u32::MAX),
        ..IngestSettings::default()
    };
    let clock = Arc::clone(&overview.clock);
    let log: Arc<dyn Log> = overview.log.clone();
    Ok(Arc::new(Ingest::open(log, clock, "http", settings, &overview.counters)?))
}

fn file(name: &str, source: &FileSource, config: &Config) -> Result<FileSettings, AppError> {
    let fields = topic_fields(&source.topic, config)?;
    let is_json = source.format == FileFormat::Ndjson;
    let parser = ParserSettings {
        format: match source.format {
            FileFormat::Lines => Format::Lines,
            FileFormat::Ndjson => Format::Json,
            FileFormat::Syslog => Format::Syslog { year: year(source.year), zone: source.zone.0 },
        },
        key_field: fields.key_field.filter(|_| is_json),
        timestamp_field: fields.timestamp_field.filter(|_| is_json),
        line_bytes_max: bytes(config.log.record_bytes_max),
    };
    let start = match source.start {
        FileStart::Beginning => Start::Beginning,
        FileStart::End => Start::End,
    };
    Ok(FileSettings { start, ..FileSettings::new(name, &source.path, &source.topic, parser) })
}

fn socket(source: &SyslogSource) -> ListenSettings {
    let address = source.listen.address();
    let protocol = match source.listen {
        SyslogListen::Udp(_) => "udp",
        SyslogListen::Tcp(_) => "tcp",
    };
    let name = format!("{protocol}:{address}");
    let mut settings = ListenSettings::new(&name, &source.topic, source.zone.0);
    match source.listen {
        SyslogListen::Udp(address) => settings.udp = Some(address),
        SyslogListen::Tcp(address) => settings.tcp = Some(address),
    }
    settings.line_bytes_max = source.line_bytes_max;
    settings.connections_max = source.connections_max;
    settings.insecure = source.insecure;
    settings
}

fn topic_fields(topic: &str, config: &Config) -> Result<TopicSettings, AppError> {
    let Some(Topic { key_field, timestamp_field, .. }) = config.topics.get(topic) else {
        return Ok(TopicSettings::default());
    };
    let path = |setting: &str, field: &Option<String>| -> Result<Option<FieldPath>, AppError> {
        let parsed = field.as_ref().map(|field| field.parse()).transpose();
        parsed.map_err(|error: connectors::FieldError| {
            AppError::Usage(format!("`topics.{topic}.{setting}`: {error}"))
        })
    };
    Ok(TopicSettings {
        key_field: path("key_field", key_field)?,
        timestamp_field: path("timestamp_field", timestamp_field)?,
    })
}

fn year(year: Year) -> syslog::Year {
    match year {
        Year::Auto => syslog::Year::Auto,
        Year::Is(year) => syslog::Year::Fixed { year, month: None },
    }
}

fn bytes(setting: u64) -> usize {
    usize::try_from(setting).unwrap_or(usize::MAX)
}

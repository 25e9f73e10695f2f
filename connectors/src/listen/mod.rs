//! Syslog over the network: UDP and TCP, in batches into the log.
//!
//! ```text
//! udp socket ─try_send─┐
//!                      ├> bounded queue -> Batcher -> one commit {records, batch number}
//! tcp connections ─────┘  (send waits)
//! ```
//! When the log is slow, TCP is no longer read and senders wait; datagrams are dropped and counted.
//! What a sender has sent and the process has not committed is lost with the process: syslog has no
//! acknowledgements. No TLS and no authentication: hence nothing beyond loopback unless allowed.

mod batcher;
mod framing;
mod tcp;
mod udp;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use chrono_tz::Tz;
use pipeline::clock::Clock;
use pipeline::log::{Log, LogError};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use batcher::Batcher;
use framing::Frame;

use crate::counters::{Counters, SourceCounters};

/// Where to listen, and the limits. At most `queue_lines_max * line_bytes_max` bytes wait, and each
/// connection holds one line and 16 KiB.
#[derive(Clone, Debug)]
pub struct ListenSettings {
    /// The source's name. Unique, and stays the same.
    pub name: String,
    /// The topic that takes the records.
    pub topic: String,
    /// Where to take datagrams.
    pub udp: Option<SocketAddr>,
    /// Where to take connections.
    pub tcp: Option<SocketAddr>,
    /// The zone of the senders' clocks, for lines that say none.
    pub zone: Tz,
    /// The longest line, in bytes.
    pub line_bytes_max: usize,
    /// How many connections may be open.
    pub connections_max: usize,
    /// How long a connection may be silent, in milliseconds; 0 is for ever.
    pub idle_ms_max: u64,
    /// How many lines may wait to be appended.
    pub queue_lines_max: usize,
    /// How many lines go into one commit.
    pub batch_lines_max: usize,
    /// How long the first line of a batch waits for more, in milliseconds.
    pub batch_wait_ms: u64,
    /// Whether to listen beyond loopback, where anybody may write and read along.
    pub insecure: bool,
}

impl ListenSettings {
    /// A source with the usual limits that listens nowhere yet.
    pub fn new(name: &str, topic: &str, zone: Tz) -> Self {
        Self {
            name: name.to_owned(),
            topic: topic.to_owned(),
            udp: None,
            tcp: None,
            zone,
            line_bytes_max: 16 << 10,
            connections_max: 256,
            idle_ms_max: 600_000,
            queue_lines_max: 4096,
            batch_lines_max: 2048,
            batch_wait_ms: 5,
            insecure: false,
        }
    }
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The settings cannot be.
    #[error("syslog source `{name}`: {reason}")]
    Settings {
        /// The source.
        name: String,
        /// What to change.
        reason: String,
    },
    /// The address is taken, or not ours.
    #[error("syslog source `{name}` cannot listen on {address}: {error}")]
    Bind {
        /// The source.
        name: String,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The log could not be asked.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Another process has the same source.
    #[error("another process runs syslog source `{name}`: {reason}")]
    Fenced {
        /// The source.
        name: String,
        /// What the log said.
        reason: String,
    },
}

/// A line on its way from a socket to the log.
struct Received {
    frame: Frame,
    peer: IpAddr,
    protocol: &'static str,
    arrival_ms: i64,
}

/// What the readers of sockets share.
struct Inlet {
    settings: ListenSettings,
    clock: Arc<dyn Clock>,
    counters: Arc<SourceCounters>,
    queue: mpsc::Sender<Received>,
}

/// Tells readers and batcher that the process stops.
#[derive(Clone)]
struct Stopped(watch::Receiver<bool>);

impl Stopped {
    /// Waits for it.
    async fn wait(&mut self) {
        // The sender outlives the readers; if it did not, that would mean to stop, too.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }

    /// Whether it is so.
    fn is_now(&self) -> bool {
        *self.0.borrow()
    }
}

impl Inlet {
    fn received(&self, frame: Frame, peer: IpAddr, protocol: &'static str) -> Received {
        Received { frame, peer, protocol, arrival_ms: self.clock.wall_ms() }
    }
}

/// Sockets that are bound, and the way from them into the log.
pub struct SyslogListener {
    udp: Option<UdpSocket>,
    tcp: Option<TcpListener>,
    inlet: Inlet,
    batcher: Batcher,
}

impl SyslogListener {
    /// Binds the sockets.
    ///
    /// # Errors
    /// When the settings cannot be, an address cannot be had, the topic is not there, or the log is
    /// away.
    pub async fn bind(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        settings: ListenSettings,
        counters: &Counters,
    ) -> Result<Self, ListenError> {
        check(&settings)?;
        let counters = counters.source(&format!("syslog:{}", settings.name));
        let failed = |address| {
            let name = settings.name.clone();
            move |error| ListenError::Bind { name, address, error }
        };
        let udp = match settings.udp {
            Some(address) => Some(UdpSocket::bind(address).await.map_err(failed(address))?),
            None => None,
        };
        let tcp = match settings.tcp {
            Some(address) => Some(TcpListener::bind(address).await.map_err(failed(address))?),
            None => None,
        };
        let (queue, receiver) = mpsc::channel(settings.queue_lines_max);
        let batcher = Batcher::open(log, &settings, Arc::clone(&counters), receiver)?;
        Ok(Self { udp, tcp, inlet: Inlet { settings, clock, counters, queue }, batcher })
    }

    /// Where datagrams are taken.
    pub fn udp_address(&self) -> Option<SocketAddr> {
        self.udp.as_ref().and_then(|socket| socket.local_addr().ok())
    }

    /// Where connections are taken.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|socket| socket.local_addr().ok())
    }

    /// Takes lines until `stop` is there, then commits what was received.
    ///
    /// # Errors
    /// When another process has taken over the source.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<(), ListenError> {
        let Self { udp, tcp, inlet, batcher } = self;
        let (stopping, stopped) = watch::channel(false);
        let stopped = Stopped(stopped);
        let clock = Arc::clone(&inlet.clock);
        let inlet = Arc::new(inlet);
        let mut readers = JoinSet::new();
        if let Some(socket) = udp {
            readers.spawn(udp::run(socket, Arc::clone(&inlet), stopped.clone()));
        }
        if let Some(listener) = tcp {
            readers.spawn(tcp::run(listener, Arc::clone(&inlet), stopped.clone()));
        }
        // The readers have the only senders: when they end, the batcher ends.
        drop(inlet);
        let batches = batcher.run(clock, stopped);
        tokio::pin!(batches);
        let ended = tokio::select! {
            () = stop => None,
            ended = &mut batches => Some(ended),
        };
        // No receiver is left if the batcher has ended by itself; then the readers end by that.
        let _ = stopping.send(true);
        let ended = match ended {
            Some(ended) => ended,
            None => batches.await,
        };
        readers.shutdown().await;
        ended
    }
}

fn check(settings: &ListenSettings) -> Result<(), ListenError> {
    let refuse = |reason: &str| {
        Err(ListenError::Settings { name: settings.name.clone(), reason: reason.to_owned() })
    };
    let addresses = [settings.udp, settings.tcp];
    if addresses.iter().all(Option::is_none) {
        return refuse("neither `udp` nor `tcp` has an address");
    }
    let limits = [
        settings.line_bytes_max,
        settings.connections_max,
        settings.queue_lines_max,
        settings.batch_lines_max,
    ];
    if limits.contains(&0) {
        return refuse("a limit is 0");
    }
    if !settings.insecure && addresses.iter().flatten().any(|address| !address.ip().is_loopback()) {
        return refuse(
            "syslog has no authentication: listen on loopback, or allow more with `insecure`",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;

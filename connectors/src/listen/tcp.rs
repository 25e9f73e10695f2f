//! Connections: messages framed by RFC 6587. Waits while the queue is full, so that senders do.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::framing::Framer;
use super::{Inlet, Stopped};
use crate::counters::Count;

const READ_BYTES: usize = 16 << 10;
/// How long to wait when the system has no connection to give (no file descriptors, say).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

pub(super) async fn run(listener: TcpListener, inlet: Arc<Inlet>, mut stopped: Stopped) {
    let permits = Arc::new(Semaphore::new(inlet.settings.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stopped.wait() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, source = %inlet.settings.name, "cannot accept a connection");
                if tokio::time::timeout(ACCEPT_RETRY, stopped.wait()).await.is_ok() {
                    break;
                }
                continue;
            }
        };
        match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => {
                let (inlet, stopped) = (Arc::clone(&inlet), stopped.clone());
                connections.spawn(async move {
                    let _permit = permit;
                    read(stream, peer.ip(), &inlet, stopped).await;
                });
            }
            // Dropping the stream closes it.
            Err(_) => inlet.counters.add(Count::ConnectionRefused, 1),
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Reads one connection to its end, or until it is silent for too long, or the process stops.
async fn read(mut stream: TcpStream, peer: IpAddr, inlet: &Inlet, mut stopped: Stopped) {
    let mut framer = Framer::new(inlet.settings.line_bytes_max);
    let mut buffer = vec![0; READ_BYTES];
    let mut frames = Vec::new();
    let idle = match inlet.settings.idle_ms_max {
        0 => Duration::MAX,
        ms => Duration::from_millis(ms),
    };
    loop {
        let read = tokio::select! {
            () = stopped.wait() => break,
            read = tokio::time::timeout(idle, stream.read(&mut buffer)) => read,
        };
        match read {
            Ok(Ok(0)) => break,
            Ok(Ok(bytes)) => framer.feed(&buffer[..bytes], |frame| frames.push(frame)),
            Ok(Err(error)) => {
                tracing::debug!(%error, %peer, "a connection broke");
                break;
            }
            Err(_) => {
                inlet.counters.add(Count::ConnectionIdle, 1);
                break;
            }
        }
        for frame in frames.drain(..) {
            if inlet.queue.send(inlet.received(frame, peer, "tcp")).await.is_err() {
                return;
            }
        }
    }
    if !framer.finish(|frame| frames.push(frame)) {
        inlet.counters.add(Count::CutOff, 1);
    }
    for frame in frames {
        if inlet.queue.send(inlet.received(frame, peer, "tcp")).await.is_err() {
            return;
        }
    }
}

//! Datagrams: one message each. Never waits for the log; what finds the queue full is dropped.

use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::framing::Frame;
use super::{Inlet, Stopped};
use crate::counters::Count;

pub(super) async fn run(socket: UdpSocket, inlet: Arc<Inlet>, mut stopped: Stopped) {
    let limit = inlet.settings.line_bytes_max;
    // One more than the limit tells a longer datagram, whose rest the system throws away.
    let mut buffer = vec![0; limit + 1];
    loop {
        let (bytes, peer) = tokio::select! {
            () = stopped.wait() => return,
            received = socket.recv_from(&mut buffer) => match received {
                Ok(received) => received,
                Err(error) => {
                    // An earlier answer of ICMP, say: the socket goes on.
                    tracing::debug!(%error, "cannot receive a datagram");
                    tokio::task::yield_now().await;
                    continue;
                }
            },
        };
        let frame = if bytes > limit {
            Frame::TooLong(buffer[..limit].to_vec())
        } else {
            Frame::Whole(buffer[..bytes].to_vec())
        };
        match inlet.queue.try_send(inlet.received(frame, peer.ip(), "udp")) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => inlet.counters.add(Count::QueueFull, 1),
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
    }
}

//! How many HTTP connections are open at once.
//!
//! A connection over the limit is told so and closed before anything is read of it. What requests
//! may cost is bounded elsewhere, by the limits of each kind.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    connection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";

/// A listener with a bound on its open connections.
pub(super) struct Limited {
    listener: TcpListener,
    free: Arc<Semaphore>,
    refused: u64,
}

impl Limited {
    /// Lets `most` connections of `listener` be open at once.
    pub(super) fn new(listener: TcpListener, most: usize) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(most)), refused: 0 }
    }

    fn refuse(&mut self, stream: &TcpStream, address: SocketAddr) {
        // The buffer of a fresh connection has room; a peer that is gone need not be told.
        let _ = stream.try_write(FULL);
        self.refused += 1;
        if self.refused.is_power_of_two() {
            let refused = self.refused;
            tracing::warn!(%address, refused, "http.connections_max are open: refusing more");
        }
    }
}

impl Listener for Limited {
    type Io = Counted;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Counted, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            match Arc::clone(&self.free).try_acquire_owned() {
                Ok(permit) => return (Counted { stream, _permit: permit }, address),
                Err(_) => self.refuse(&stream, address),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that gives its place free when it is closed.
pub(super) struct Counted {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use axum::Router;
    use axum::routing::get;

    use super::*;

    /// What a peer that asks is answered, up to the end of the connection or of the answer.
    fn ask(stream: &mut std::net::TcpStream) -> String {
        // A connection that is refused may be closed before the request is written.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(length) => answer.extend_from_slice(&buffer[..length]),
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn more_connections_than_allowed_are_refused_until_one_is_closed() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let address = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let router = Router::new().route("/", get(|| async { "well" }));
            let serving = axum::serve(Limited::new(listener, 2), router);
            tokio::spawn(std::future::IntoFuture::into_future(serving));
            address
        });
        let connect = || std::net::TcpStream::connect(address).unwrap();
        let (mut first, mut second) = (connect(), connect());
        assert!(ask(&mut first).starts_with("HTTP/1.1 200"));
        assert!(ask(&mut second).starts_with("HTTP/1.1 200"));
        let refused = ask(&mut connect());
        assert!(!refused.starts_with("HTTP/1.1 200"), "{refused}");
        assert!(ask(&mut first).starts_with("HTTP/1.1 200"), "those that are open go on");
        drop(second);
        // The server hears of the end in its own time: a bounded number of attempts.
        let answered = (0..1_000).any(|_| ask(&mut connect()).starts_with("HTTP/1.1 200"));
        assert!(answered, "the place was never given free");
    }
}

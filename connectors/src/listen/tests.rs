//! Syslog listeners on real sockets.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::counters::Count;
use crate::shared_tests::{Fault, TestLog};

/// A listener on real sockets.
struct Running {
    log: Arc<TestLog>,
    counters: Counters,
    udp: SocketAddr,
    tcp: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ListenError>>,
}

fn settings() -> ListenSettings {
    let any = "127.0.0.1:0".parse().unwrap();
    ListenSettings {
        udp: Some(any),
        tcp: Some(any),
        line_bytes_max: 60,
        ..ListenSettings::new("s", "t", Tz::UTC)
    }
}

async fn bind(
    log: &Arc<TestLog>,
    settings: ListenSettings,
    counters: &Counters,
) -> Result<SyslogListener, ListenError> {
    let clock = Arc::clone(&log.clock) as _;
    SyslogListener::bind(Arc::clone(log) as _, clock, settings, counters).await
}

async fn start(settings: ListenSettings) -> Running {
    let log = TestLog::with_topic("t", 1);
    let counters = Counters::new();
    let listener = bind(&log, settings, &counters).await.unwrap();
    let (udp, tcp) = (listener.udp_address().unwrap(), listener.tcp_address().unwrap());
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(listener.run(async {
        let _ = stopped.await;
    }));
    Running { log, counters, udp, tcp, stop, task }
}

impl Running {
    fn counted(&self, count: Count) -> u64 {
        self.counters.source("syslog:s").get(count)
    }

    /// Waits until so much was counted.
    async fn until(&self, count: Count, value: u64) {
        while self.counted(count) < value {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    async fn stop(self) -> Arc<TestLog> {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
        self.log
    }

    async fn send_udp(&self, datagrams: &[&[u8]]) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for datagram in datagrams {
            socket.send_to(datagram, self.udp).await.unwrap();
        }
    }
}

#[tokio::test]
async fn datagrams_become_records_and_dead_letters() {
    let running = start(settings()).await;
    let long = [b'x'; 61];
    running
        .send_udp(&[
            b"<38>Nov 21 13:34:37 web1 sshd[7]: one",
            b"<38>Nov 21 13:34:37 sshd[7]: two\n",
            b"nonsense",
            &long,
        ])
        .await;
    running.until(Count::Records, 2).await;
    running.until(Count::DeadLetters, 2).await;
    assert_eq!(running.counted(Count::LineTooLong), 1);
    let log = running.stop().await;
    let stored = log.stored("t");
    assert_eq!(stored[0].key.as_deref(), Some("web1"));
    assert_eq!(stored[0].timestamp, crate::shared_tests::NOW_MS);
    assert_eq!(stored[1].key.as_deref(), Some("127.0.0.1"), "the sender, where no host is named");
    let dead = log.stored("t-dlq");
    assert_eq!((dead[0].value.as_str(), dead[1].value.len()), ("nonsense", 60));
    assert_eq!(dead[0].headers["__streams.errors.topic"], "syslog+udp://127.0.0.1");
}

#[tokio::test]
async fn both_framings_come_over_tcp_and_a_last_line_needs_no_end() {
    let running = start(settings()).await;
    let mut stream = TcpStream::connect(running.tcp).await.unwrap();
    let counted = "<13>Nov 21 13:34:37 h a: 2\n2";
    let text = format!(
        "Nov 21 13:34:37 h a: 1\n{} {counted}Nov 21 13:34:37 h a: {}\nNov 21 13:34:37 h a: 3",
        counted.len(),
        "x".repeat(60),
    );
    for part in text.as_bytes().chunks(7) {
        stream.write_all(part).await.unwrap();
        stream.flush().await.unwrap();
    }
    drop(stream);
    running.until(Count::Records, 3).await;
    running.until(Count::DeadLetters, 1).await;
    let log = running.stop().await;
    let messages: Vec<String> = log
        .values("t")
        .iter()
        .map(|value| serde_json::from_str::<serde_json::Value>(value).unwrap())
        .map(|value| value["message"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(messages, ["1", "2\n2", "3"]);
}

#[tokio::test]
async fn what_was_received_is_committed_before_the_end() {
    let mut settings = settings();
    settings.batch_wait_ms = 60_000;
    let running = start(settings).await;
    let mut stream = TcpStream::connect(running.tcp).await.unwrap();
    stream.write_all(&b"Nov 21 13:34:37 h a: x\n".repeat(1000)).await.unwrap();
    stream.shutdown().await.unwrap();
    // The connection is read to its end before it counts as closed by the listener.
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await.unwrap();
    assert_eq!(running.stop().await.values("t").len(), 1000);
}

#[tokio::test]
async fn a_log_that_fails_is_tried_again_and_nothing_is_doubled() {
    let running = start(settings()).await;
    running.log.spoil([Fault::Abort, Fault::UnknownLost, Fault::UnknownMade]);
    let mut stream = TcpStream::connect(running.tcp).await.unwrap();
    stream.write_all(b"Nov 21 13:34:37 h a: 1\n").await.unwrap();
    running.until(Count::Records, 1).await;
    stream.write_all(b"Nov 21 13:34:37 h a: 2\n").await.unwrap();
    running.until(Count::Records, 2).await;
    assert_eq!(running.stop().await.values("t").len(), 2);
}

#[tokio::test]
async fn a_slow_log_makes_tcp_wait_and_drops_datagrams_by_count() {
    let mut settings = settings();
    (settings.queue_lines_max, settings.batch_lines_max) = (2, 1);
    let running = start(settings).await;
    running.log.spoil([Fault::Hang]);
    let line = b"Nov 21 13:34:37 h a: x\n";
    let mut stream = TcpStream::connect(running.tcp).await.unwrap();
    stream.write_all(&line.repeat(50)).await.unwrap();
    while !running.log.is_hanging() {
        tokio::task::yield_now().await;
    }
    while running.counted(Count::QueueFull) == 0 {
        running.send_udp(&[b"Nov 21 13:34:37 h a: dropped"]).await;
        tokio::task::yield_now().await;
    }
    // One line in the commit, two in the queue, one in the hands of the connection: the rest waits.
    assert_eq!(running.counted(Count::Records), 0);
    running.log.release();
    running.until(Count::Records, 50).await;
    let log = running.stop().await;
    let from_tcp = log.values("t").iter().filter(|value| value.contains("\"x\"")).count();
    assert_eq!(from_tcp, 50);
}

#[tokio::test]
async fn connections_are_bounded_in_number_and_in_silence() {
    let mut settings = settings();
    (settings.connections_max, settings.idle_ms_max) = (1, 200);
    let running = start(settings).await;
    let _first = TcpStream::connect(running.tcp).await.unwrap();
    let mut second = TcpStream::connect(running.tcp).await.unwrap();
    let mut bytes = Vec::new();
    // Closed without a word.
    let read = tokio::io::AsyncReadExt::read_to_end(&mut second, &mut bytes).await;
    assert_eq!(read.unwrap_or(0), 0);
    assert_eq!(running.counted(Count::ConnectionRefused), 1);
    running.until(Count::ConnectionIdle, 1).await;
    running.stop().await;
}

#[tokio::test]
async fn a_second_listener_of_the_same_name_ends_the_first() {
    let running = start(settings()).await;
    let _second = bind(&running.log, settings(), &running.counters).await.unwrap();
    running.send_udp(&[b"Nov 21 13:34:37 h a: x"]).await;
    assert!(matches!(running.task.await.unwrap(), Err(ListenError::Fenced { .. })));
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let log = TestLog::with_topic("t", 1);
    let counters = Counters::new();
    let refuse = async |change: fn(&mut ListenSettings)| {
        let mut settings = settings();
        change(&mut settings);
        bind(&log, settings, &counters).await.err().map(|error| error.to_string()).unwrap()
    };
    let error = refuse(|it| it.udp = Some("0.0.0.0:0".parse().unwrap())).await;
    assert!(error.contains("insecure"), "{error}");
    let error = refuse(|it| (it.udp, it.tcp) = (None, None)).await;
    assert!(error.contains("address"), "{error}");
    let error = refuse(|it| it.queue_lines_max = 0).await;
    assert!(error.contains("limit"), "{error}");
    let error = refuse(|it| it.topic = "none".into()).await;
    assert!(error.contains("does not exist"), "{error}");
    let error = refuse(|it| it.udp = Some("192.0.2.1:9".parse().unwrap())).await;
    assert!(error.contains("insecure"), "{error}");
}

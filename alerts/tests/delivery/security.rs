//! Calls that must not be made, and what a receiver shows of those that were.

use std::sync::Arc;

use alerts::receiver::{Receiver, ReceiverConfig};
use pipeline::clock::SystemClock;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_to_a_private_address_is_not_called() {
    let hooks = Hooks::start(|_, _| Reply::Status(200)).await;
    let log = log();
    write_alerts(&*log, 0..1);
    let url = format!("http://localhost:{}/hook", hooks.address.port());
    let mut closed = endpoint("closed", &url);
    closed.allow_private_addresses = false;
    closed.attempts_max = 2;
    let notifier = start(&log, vec![closed]);
    eventually("given up", || stats(&notifier).undelivered == 1).await;
    assert_eq!(hooks.calls().len(), 0);
    let kept = undelivered(&*log);
    let reason = kept.values().next().unwrap()["reason"].as_str().unwrap();
    assert!(reason.contains("one is loopback"), "{reason}");
    assert!(!reason.contains("/hook"), "the url may be confidential: {reason}");
    stop(notifier).await;

    // The same name is called once a setting allows it, so it was the address and nothing else.
    let notifier = start(&log, vec![endpoint("open", &url)]);
    hooks.wait_for(&ids(0..1)).await;
    stop(notifier).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_shows_what_the_notifier_sends() {
    let clock = Arc::new(SystemClock::new());
    let receiver = Receiver::new(ReceiverConfig::new(vec![secret()]), clock);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = receiver.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let log = log();
    write_alerts(&*log, 0..20);
    let notifier = start(&log, vec![endpoint("demo", format!("http://{address}/hook"))]);
    eventually("all arrive", || receiver.summary().accepted == 20).await;
    eventually("all is committed", || uncommitted(&*log, "demo") == 0).await;
    assert_eq!((receiver.summary().repeats, receiver.summary().refused), (0, 0));

    let page = get(&format!("http://{address}/")).await;
    assert!(page.contains("many small payments") && page.contains(&id(7)), "{page}");
    let json: serde_json::Value =
        serde_json::from_str(&get(&format!("http://{address}/received")).await).unwrap();
    assert_eq!((&json["accepted"], json["alerts"].as_array().unwrap().len()), (&20.into(), 20));
    stop(notifier).await;

    // With another secret nothing is accepted, and the reason stands on the page.
    let mut stranger = endpoint("stranger", format!("http://{address}/hook"));
    stranger.secrets = vec![alerts::Secret::from_bytes(&[1; 24]).unwrap()];
    stranger.attempts_max = 1;
    let notifier = start(&log, vec![stranger]);
    eventually("all are refused", || stats(&notifier).undelivered == 20).await;
    assert_eq!((receiver.summary().accepted, receiver.summary().refused), (20, 20));
    assert!(get(&format!("http://{address}/")).await.contains("no signature"));
    assert!(undelivered(&*log).values().all(|value| value["status"] == 401));
}

async fn get(url: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// A server that speaks TLS with a certificate that nobody has vouched for; it counts the
/// handshakes that come to an end, and says how the others broke off.
fn self_signed_server() -> (std::net::SocketAddr, std::sync::mpsc::Receiver<Result<(), String>>) {
    let directory = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("openssl")
        .current_dir(directory.path())
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .output()
        .expect("this test makes a certificate with openssl: install the package `openssl`");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
    let certificate = CertificateDer::from_pem_slice(&read("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut ended = Ok(());
            while ended.is_ok() && connection.is_handshaking() {
                let step = connection.complete_io(&mut stream);
                ended = step.map(drop).map_err(|error| error.to_string());
            }
            if sender.send(ended).is_err() {
                break;
            }
        }
    });
    (address, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_has_vouched_for_is_refused() {
    let (address, handshakes) = self_signed_server();
    let log = log();
    write_alerts(&*log, 0..1);
    let url = format!("https://localhost:{}/hook", address.port());
    let mut endpoint = endpoint("tls", &url);
    endpoint.attempts_max = 2;
    let notifier = start(&log, vec![endpoint]);
    eventually("given up", || stats(&notifier).undelivered == 1).await;
    let kept = undelivered(&*log);
    let reason = kept.values().next().unwrap()["reason"].as_str().unwrap();
    assert!(reason.contains("certificate"), "{reason}");
    for _ in 0..2 {
        let ended = handshakes.recv_timeout(PATIENCE).unwrap();
        assert!(ended.is_err(), "the client went on with a certificate that it cannot trust");
    }
    stop(notifier).await;
}

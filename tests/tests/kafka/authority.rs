//! An authority for certificates that is known to one test alone, made with `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a key is made with.
const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/// It signs for as long as it lives; its files go with it.
pub(super) struct Authority {
    folder: tempfile::TempDir,
}

/// A key with the certificate that goes with it.
pub(super) struct Identity {
    pub(super) key: PathBuf,
    pub(super) certificate: PathBuf,
    /// Both in one file, as brokers want them.
    pub(super) both: PathBuf,
}

impl Authority {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut arguments = vec!["req", "-x509", "-days", "365", "-subj", "/CN=test-authority"];
        arguments.extend(KEY);
        arguments.extend(["-keyout", "ca.key", "-out", "ca.pem"]);
        openssl(folder.path(), &arguments);
        Self { folder }
    }

    /// Its own certificate, which clients and brokers trust.
    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A new key, signed for `name` on this machine.
    pub(super) fn sign(&self, name: &str) -> Identity {
        let folder = self.folder.path();
        let file = |ending: &str| format!("{name}.{ending}");
        let (key, request, signed) = (file("key"), file("csr"), file("pem"));
        let subject = format!("/CN={name}");
        let mut arguments = vec!["req", "-new", "-subj", &subject];
        arguments.extend(KEY);
        arguments.extend(["-keyout", &key, "-out", &request]);
        openssl(folder, &arguments);
        std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
            .unwrap();
        let mut arguments = vec!["x509", "-req", "-in", &request, "-days", "365"];
        arguments.extend(["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]);
        arguments.extend(["-extfile", "names", "-out", &signed]);
        openssl(folder, &arguments);
        let [key, certificate] = [key, signed].map(|name| folder.join(name));
        let both = folder.join(file("both.pem"));
        let text = [&key, &certificate].map(|path| std::fs::read_to_string(path).unwrap()).concat();
        std::fs::write(&both, text).unwrap();
        Identity { key, certificate, both }
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| {
        panic!("cannot run openssl: {error}; `./dev setup` installs it");
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {said}");
}

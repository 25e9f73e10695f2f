//! Java, and Apache Kafka's jars from Maven Central.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest Java that Kafka 4 runs on.
const JAVA_MIN: u32 = 17;

/// What a broker of our own is started with.
pub(super) struct Jars {
    /// The program.
    pub(super) java: PathBuf,
    /// The settings of its logging and all jars.
    pub(super) classpath: String,
}

impl Jars {
    /// Finds Java and the jars; fetches the jars with Maven if they are not there yet.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub(super) fn find() -> Result<Self, String> {
        let java = java()?;
        let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka");
        let jars = jars(&pom.join("pom.xml"))?;
        let classpath = format!("{}:{}/*", pom.display(), jars.display());
        Ok(Self { java, classpath })
    }

    /// A Java command with the jars.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.java);
        command.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
        command.arg(&self.classpath).stdin(Stdio::null());
        command
    }
}

fn java() -> Result<PathBuf, String> {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let found = home.filter(|java| java.exists()).unwrap_or_else(|| PathBuf::from("java"));
    let help = format!("`./dev setup` installs it, or set JAVA_HOME to Java {JAVA_MIN} or later");
    let output = Command::new(&found).arg("-version").output();
    let output =
        output.map_err(|error| format!("cannot run {}: {error}; {help}", found.display()))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let version: Option<u32> =
        said.split('"').nth(1).and_then(|text| text.split('.').next()?.parse().ok());
    match version {
        Some(version) if version >= JAVA_MIN => Ok(found),
        _ => Err(format!("{} is no Java {JAVA_MIN} or later: {said}; {help}", found.display())),
    }
}

/// The folder with the jars, beside what cargo builds. Another process may fetch them at the same
/// time: each into a folder of its own, and the first one stays.
fn jars(pom: &Path) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let jars = root.join("kafka-4.3.1");
    if jars.exists() {
        return Ok(jars);
    }
    let fetched = tempfile::tempdir_in(root).map_err(|error| error.to_string())?;
    let mut maven = Command::new("mvn");
    maven.args([
        "-B",
        "-ntp",
        "-q",
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        "-f",
    ]);
    maven.arg(pom).arg(format!("-DoutputDirectory={}", fetched.path().display()));
    let output = maven.stdin(Stdio::null()).output();
    let output = output
        .map_err(|error| format!("cannot run Maven (mvn): {error}; `./dev setup` installs it"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        return Err(format!("Maven cannot fetch Kafka's jars: {said}"));
    }
    let path = fetched.keep();
    if std::fs::rename(&path, &jars).is_err() {
        // Somebody else was first; this copy is of no use.
        let _ = std::fs::remove_dir_all(&path);
    }
    Ok(jars)
}

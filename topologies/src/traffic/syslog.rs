//! The system logs of two hundred hosts: cron, systemd, the kernel, people who log in.
//!
//! The attacks among them are in `brute_force`. Addresses are those that RFC 5737 and RFC 3849
//! reserve for documentation.

use super::dice::Dice;
use super::faults::Faults;
use super::{Generated, SYSLOG};

/// The roles of hosts and how many there are of each.
const ROLES: [(&str, u32); 6] =
    [("web", 80), ("app", 50), ("db", 24), ("cache", 16), ("mail", 10), ("legacy", 20)];

pub(super) const USERS: [&str; 8] =
    ["alice", "bob", "carol", "dave", "deploy", "backup", "erin", "root"];
const UNITS: [&str; 8] = [
    "Daily apt download activities",
    "Rotate log files",
    "Cleanup of Temporary Directories",
    "Message of the Day",
    "Daily man-db regeneration",
    "Discard unused blocks on filesystems",
    "PHP session cleanup",
    "Certificate renewal",
];
const JOBS: [&str; 5] = [
    "command -v debian-sa1 > /dev/null && debian-sa1 1 1",
    "cd / && run-parts --report /etc/cron.hourly",
    "/usr/local/bin/backup --incremental",
    "/usr/local/bin/report-metrics",
    "test -x /usr/sbin/logrotate && /usr/sbin/logrotate /etc/logrotate.conf",
];

/// No repeats: syslog over TCP has no retry, and lines have no id to know a copy by.
pub(super) const FAULTS: Faults = Faults { delayed: 500, late: 0, repeated: 0, damaged: 3 };

/// Makes the lines of all hosts.
pub(super) struct Syslog {
    pub(super) dice: Dice,
    hosts: Vec<Host>,
}

/// A host that writes a log.
pub(super) struct Host {
    pub(super) name: String,
    pub(super) sshd: Sshd,
}

/// How a host's sshd writes failed logins. Each writes its own way only.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Sshd {
    /// `sshd(pam_unix)`, the PAM of 2005.
    Old,
    /// `sshd`, until OpenSSH 9.7.
    Modern,
    /// `sshd-session`, from OpenSSH 9.8 on.
    Session,
}

impl Sshd {
    /// Names the program in a line of `sshd` itself.
    pub(super) fn app(self) -> &'static str {
        match self {
            Sshd::Old => "sshd(pam_unix)",
            Sshd::Modern => "sshd",
            Sshd::Session => "sshd-session",
        }
    }
}

impl Syslog {
    pub(super) fn new(seed: u64) -> Syslog {
        let names = ROLES.iter().flat_map(|&(role, n)| (1..=n).map(move |i| (role, i)));
        let host = |(role, i)| {
            let sshd = match (role, i % 4) {
                ("legacy", _) => Sshd::Old,
                (_, 0) => Sshd::Session,
                _ => Sshd::Modern,
            };
            Host { name: format!("{role}-{i:02}"), sshd }
        };
        Syslog { dice: Dice::new(seed, 3), hosts: names.map(host).collect() }
    }

    /// Draws the number of a host.
    pub(super) fn some_host(&mut self) -> usize {
        self.dice.index(self.hosts.len())
    }

    /// The host of that number.
    pub(super) fn host(&self, number: usize) -> &Host {
        &self.hosts[number]
    }

    /// Lets something ordinary happen on some host.
    pub(super) fn line(&mut self, now_ms: i64) -> Generated {
        let host = self.some_host();
        let ts_ms = now_ms - FAULTS.delay_ms(&mut self.dice);
        let (host, dice) = (&self.hosts[host], &mut self.dice);
        match dice.below(1_000) {
            0..250 => cron(host, dice),
            250..500 => systemd(host, dice),
            500..600 => firewall(dice),
            600..998 => login(host, dice),
            _ => mistyped(host, dice),
        }
        .write(host, ts_ms)
    }
}

/// A line before it is written.
pub(super) struct Line {
    pub(super) app: &'static str,
    /// The kernel has none.
    pub(super) pid: Option<u32>,
    pub(super) facility: &'static str,
    pub(super) message: String,
}

impl Line {
    /// A line of a host's sshd.
    pub(super) fn sshd(host: &Host, pid: u32, message: String) -> Line {
        Line { app: host.sshd.app(), pid: Some(pid), facility: "authpriv", message }
    }

    /// Writes the line as the syslog connector does. Nothing in it needs escapes in JSON.
    pub(super) fn write(&self, host: &Host, ts_ms: i64) -> Generated {
        let Line { app, pid, facility, message } = self;
        let name = &host.name;
        let pid = pid.map(|pid| format!(r#""pid":{pid},"#)).unwrap_or_default();
        // The files of the old hosts have no priority in front of their lines.
        let value = if host.sshd == Sshd::Old {
            format!(r#"{{"host":"{name}","app":"{app}",{pid}"message":"{message}"}}"#)
        } else {
            format!(
                r#"{{"host":"{name}","app":"{app}",{pid}"message":"{message}","facility":"{facility}","severity":"info"}}"#
            )
        };
        Generated::new(SYSLOG, name.clone(), value, ts_ms)
    }
}

/// Draws an address outside, one in eight of them IPv6.
pub(super) fn address(dice: &mut Dice) -> String {
    if dice.below(8) == 0 {
        let (network, host) = (dice.below(0x1_0000), dice.between(1, 0xffff));
        return format!("2001:db8:{network:x}::{host:x}");
    }
    let network = dice.pick(&["192.0.2", "198.51.100", "203.0.113"]);
    format!("{network}.{}", dice.between(1, 254))
}

pub(super) fn pid(dice: &mut Dice) -> u32 {
    dice.between(300, 65_000)
}

pub(super) fn port(dice: &mut Dice) -> u32 {
    dice.between(1_024, 65_535)
}

fn cron(host: &Host, dice: &mut Dice) -> Line {
    let pid = Some(pid(dice));
    if host.sshd == Sshd::Old {
        let message = "session opened for user root by (uid=0)".to_owned();
        return Line { app: "crond(pam_unix)", pid, facility: "cron", message };
    }
    let message = match dice.below(3) {
        0 => format!("(root) CMD ({})", dice.pick(&JOBS)),
        1 => "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)".to_owned(),
        _ => "pam_unix(cron:session): session closed for user root".to_owned(),
    };
    Line { app: "CRON", pid, facility: "cron", message }
}

fn systemd(host: &Host, dice: &mut Dice) -> Line {
    if host.sshd == Sshd::Old {
        let message = "cupsd startup succeeded".to_owned();
        return Line { app: "cups", pid: None, facility: "daemon", message };
    }
    let verb = dice.pick(&["Starting", "Started", "Finished"]);
    let message = format!("{verb} {}.", dice.pick(&UNITS));
    Line { app: "systemd", pid: Some(1), facility: "daemon", message }
}

fn firewall(dice: &mut Dice) -> Line {
    let (source, from, to) = (address(dice), port(dice), dice.pick(&["23", "445", "3389", "8080"]));
    let message =
        format!("[UFW BLOCK] IN=eth0 OUT= SRC={source} LEN=44 PROTO=TCP SPT={from} DPT={to} SYN");
    Line { app: "kernel", pid: None, facility: "kern", message }
}

/// Somebody who may log in does, or leaves.
fn login(host: &Host, dice: &mut Dice) -> Line {
    let (user, pid, port) = (dice.pick(&USERS), pid(dice), port(dice));
    let source = office(dice);
    let message = match (host.sshd, dice.below(5)) {
        (Sshd::Old, 0..3) => format!("session opened for user {user} by (uid=0)"),
        (Sshd::Old, _) => format!("session closed for user {user}"),
        (_, 0) => format!("Accepted password for {user} from {source} port {port} ssh2"),
        (_, 1) => {
            let key = dice.bits();
            format!(
                "Accepted publickey for {user} from {source} port {port} ssh2: ED25519 SHA256:{key:016x}"
            )
        }
        (_, 2) => format!("pam_unix(sshd:session): session opened for user {user} by (uid=0)"),
        (_, 3) => format!("Disconnected from user {user} {source} port {port}"),
        _ => format!("pam_unix(sshd:session): session closed for user {user}"),
    };
    Line::sshd(host, pid, message)
}

/// Somebody who may log in gets it wrong once.
fn mistyped(host: &Host, dice: &mut Dice) -> Line {
    let (user, pid, port) = (dice.pick(&USERS), pid(dice), port(dice));
    let source = office(dice);
    let message = if host.sshd == Sshd::Old {
        format!(
            "authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost={source}  user={user}"
        )
    } else {
        let method = dice.pick(&["password", "password", "password", "publickey"]);
        format!("Failed {method} for {user} from {source} port {port} ssh2")
    };
    Line::sshd(host, pid, message)
}

/// Draws an address of those who may log in.
fn office(dice: &mut Dice) -> String {
    format!("2001:db8:0:{:x}::{:x}", dice.between(1, 4), dice.between(1, 0x40))
}

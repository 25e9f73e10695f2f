//! Password guessing: one address tries names and passwords on one or several hosts, for minutes.

use super::Generated;
use super::syslog::{Line, Sshd, Syslog, address, pid, port};

/// Names that guessers try and that no host here has.
const NOBODIES: [&str; 16] = [
    "admin",
    "test",
    "guest",
    "oracle",
    "postgres",
    "ubuntu",
    "pi",
    "git",
    "ftpuser",
    "nagios",
    "minecraft",
    "jenkins",
    "hadoop",
    "user",
    "support",
    "steam",
];

/// An attack under way.
pub(super) struct BruteForce {
    source: String,
    /// Hosts with the number of connections still to make to each.
    targets: Vec<(usize, u32)>,
    pause_ms: u32,
    connection: Option<Connection>,
}

/// One connection of the guesser, and how far its lines are written.
struct Connection {
    host: usize,
    pid: u32,
    port: u32,
    user: &'static str,
    guesses: u32,
    lines: &'static [Says],
}

/// The lines that a failed login leaves.
#[derive(Clone, Copy)]
enum Says {
    InvalidUser,
    UserUnknown,
    PamFailure,
    Failed,
    FailedInvalid,
    FailedAgain,
    TooMany,
    PamMore,
    Closed,
    ClosedInvalid,
    OldUserUnknown,
    OldFailure,
    OldFailureInvalid,
}

const MODERN_ROOT: &[Says] = &[Says::PamFailure, Says::Failed, Says::Closed];
const MODERN_ROOT_AGAIN: &[Says] =
    &[Says::PamFailure, Says::Failed, Says::FailedAgain, Says::TooMany, Says::PamMore];
const MODERN_NOBODY: &[Says] =
    &[Says::InvalidUser, Says::UserUnknown, Says::FailedInvalid, Says::ClosedInvalid];
const OLD_ROOT: &[Says] = &[Says::OldFailure];
const OLD_NOBODY: &[Says] = &[Says::OldUserUnknown, Says::OldFailureInvalid];

impl BruteForce {
    pub(super) fn new(syslog: &mut Syslog) -> BruteForce {
        // Mostly one or two: the smaller of two draws.
        let hosts = syslog.dice.between(1, 5).min(syslog.dice.between(1, 5));
        let mut targets: Vec<(usize, u32)> = Vec::new();
        for _ in 0..hosts {
            let host = syslog.some_host();
            if targets.iter().all(|(other, _)| *other != host) {
                targets.push((host, syslog.dice.between(20, 200)));
            }
        }
        let connections: u32 = targets.iter().map(|(_, connections)| connections).sum();
        let duration_ms = syslog.dice.between(60_000, 240_000);
        BruteForce {
            source: address(&mut syslog.dice),
            targets,
            pause_ms: duration_ms / connections,
            connection: None,
        }
    }

    /// Writes the next line, and says when the one after it is due.
    pub(super) fn step(&mut self, at_ms: i64, syslog: &mut Syslog) -> (Generated, Option<i64>) {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect(syslog),
        };
        let (says, rest) =
            connection.lines.split_first().expect("a connection without lines is not kept");
        let host = syslog.host(connection.host);
        let message = connection.message(*says, &self.source);
        let record = Line::sshd(host, connection.pid, message).write(host, at_ms);
        if rest.is_empty() {
            let pause_ms = syslog.dice.below(2 * self.pause_ms + 1);
            let next = at_ms + i64::from(pause_ms);
            return (record, (!self.targets.is_empty()).then_some(next));
        }
        connection.lines = rest;
        self.connection = Some(connection);
        (record, Some(at_ms + i64::from(syslog.dice.below(50))))
    }

    fn connect(&mut self, syslog: &mut Syslog) -> Connection {
        let target = syslog.dice.index(self.targets.len());
        let host = self.targets[target].0;
        self.targets[target].1 -= 1;
        if self.targets[target].1 == 0 {
            self.targets.swap_remove(target);
        }
        let sshd = syslog.host(host).sshd;
        let dice = &mut syslog.dice;
        let root = dice.in_10_000(4_000);
        Connection {
            host,
            pid: pid(dice),
            port: port(dice),
            user: if root { "root" } else { dice.pick(&NOBODIES) },
            guesses: dice.between(2, 5),
            lines: match (sshd, root) {
                (Sshd::Old, true) => OLD_ROOT,
                (Sshd::Old, false) => OLD_NOBODY,
                (Sshd::Modern | Sshd::Session, false) => MODERN_NOBODY,
                (Sshd::Modern | Sshd::Session, true) if dice.in_10_000(3_000) => MODERN_ROOT_AGAIN,
                (Sshd::Modern | Sshd::Session, true) => MODERN_ROOT,
            },
        }
    }
}

impl Connection {
    fn message(&self, says: Says, source: &str) -> String {
        let Connection { port, user, guesses, .. } = self;
        match says {
            Says::InvalidUser => format!("Invalid user {user} from {source} port {port}"),
            Says::UserUnknown => "pam_unix(sshd:auth): check pass; user unknown".to_owned(),
            Says::PamFailure => format!(
                "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={source}  user={user}"
            ),
            Says::Failed => format!("Failed password for {user} from {source} port {port} ssh2"),
            Says::FailedInvalid => {
                format!("Failed password for invalid user {user} from {source} port {port} ssh2")
            }
            Says::FailedAgain => format!(
                "message repeated {guesses} times: [ Failed password for {user} from {source} port {port} ssh2]"
            ),
            Says::TooMany => format!(
                "error: maximum authentication attempts exceeded for {user} from {source} port {port} ssh2 [preauth]"
            ),
            Says::PamMore => format!(
                "PAM {guesses} more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost={source}  user={user}"
            ),
            Says::Closed => {
                format!(
                    "Connection closed by authenticating user {user} {source} port {port} [preauth]"
                )
            }
            Says::ClosedInvalid => {
                format!("Connection closed by invalid user {user} {source} port {port} [preauth]")
            }
            Says::OldUserUnknown => "check pass; user unknown".to_owned(),
            Says::OldFailure => format!(
                "authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost={source}  user={user}"
            ),
            Says::OldFailureInvalid => format!(
                "authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost={source} "
            ),
        }
    }
}

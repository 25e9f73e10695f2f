//! Lines of syslog from 1,000 hosts, one every two milliseconds; a fifth are failed logins.

use chrono::DateTime;

use super::dice::Dice;
use super::{EPOCH_MS, Record};

const HOSTS: u64 = 1_000;
const USERS: [&str; 6] = ["root", "admin", "oracle", "postgres", "git", "ubuntu"];

pub(super) fn records(seed: u64, count: u64) -> impl Iterator<Item = Record> {
    let mut dice = Dice::new(seed);
    (0..count).map(move |number| {
        let timestamp_ms = EPOCH_MS + 2 * number as i64;
        let host = format!("host-{:04}", dice.below(HOSTS));
        let at = DateTime::from_timestamp_millis(timestamp_ms).expect("a time of this century");
        let (at, message) = (at.format("%b %e %H:%M:%S"), message(&mut dice));
        let value = format!("<38>{at} {host} {message}");
        Record { topic: "syslog", key: host, value, timestamp_ms }
    })
}

fn message(dice: &mut Dice) -> String {
    let (pid, port) = (dice.between(300, 32_767), dice.between(1_024, 65_535));
    let (user, source) =
        (dice.pick(&USERS), format!("10.0.{}.{}", dice.below(256), dice.below(256)));
    match dice.below(10) {
        0 => format!("sshd[{pid}]: Failed password for {user} from {source} port {port} ssh2"),
        1 => format!("sshd[{pid}]: Invalid user {user} from {source} port {port}"),
        2..=4 => {
            format!("sshd[{pid}]: Accepted publickey for {user} from {source} port {port} ssh2")
        }
        5 | 6 => format!("CRON[{pid}]: (root) CMD (test -x /usr/sbin/anacron || run-parts {port})"),
        7 => format!("systemd[1]: Started Session {port} of user {user}."),
        _ => {
            format!("kernel: [{port}.{pid}] TCP: request_sock_TCP: possible SYN flooding on {port}")
        }
    }
}

//! What has happened in a run, as one number: two runs of a seed must agree in it.

use super::shadow::Stored;
use crate::log::{Outcome, TopicPartition};

/// FNV-1a (Fowler, Noll, Vo), 64 bits, over everything that is told to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace {
    hash: u64,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325 }
    }

    pub(super) fn hash(self) -> u64 {
        self.hash
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.number(bytes.len() as u64);
    }

    pub(super) fn number(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn record(&mut self, at: &TopicPartition, record: &Stored) {
        self.bytes(at.topic.as_bytes());
        self.number(at.partition.into());
        self.number(record.offset);
        self.number(record.timestamp.cast_unsigned());
        self.bytes(record.key.as_deref().unwrap_or(b"null"));
        self.bytes(record.value.as_deref().unwrap_or(b"null"));
        self.bytes(&record.headers);
    }

    pub(super) fn outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Committed { appended } => {
                self.number(1);
                for appended in appended {
                    self.number(appended.next.offset);
                    self.number(appended.next.epoch.into());
                }
            }
            Outcome::Aborted(_) => self.number(2),
            Outcome::Fenced(_) => self.number(3),
            Outcome::Unknown(_) => self.number(4),
        }
    }
}

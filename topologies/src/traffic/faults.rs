//! What goes wrong between an event and the log: delay, repetition, damage.

use super::dice::Dice;

/// How often, in 10,000 records of a topic, each fault happens.
pub(super) struct Faults {
    /// A delay of up to 5 seconds: out of order, but within everybody's grace.
    pub(super) delayed: u32,
    /// A delay of 75 to 200 seconds: always behind a window of 60 seconds with 10 seconds of grace.
    pub(super) late: u32,
    /// A second copy, a little later.
    pub(super) repeated: u32,
    /// Bytes that nobody can decode.
    pub(super) damaged: u32,
}

impl Faults {
    /// Draws how long a record was under way, mostly 0.
    pub(super) fn delay_ms(&self, dice: &mut Dice) -> i64 {
        let fate = dice.below(10_000);
        if fate < self.delayed {
            i64::from(dice.between(1, 5_000))
        } else if fate < self.delayed + self.late {
            i64::from(dice.between(75_000, 200_000))
        } else {
            0
        }
    }

    /// Draws how much later the second copy comes, if there is one.
    pub(super) fn repeat_after_ms(&self, dice: &mut Dice) -> Option<i64> {
        dice.in_10_000(self.repeated).then(|| i64::from(dice.between(50, 3_000)))
    }

    /// Damages a record's value, rarely.
    pub(super) fn damage(&self, value: &mut Vec<u8>, dice: &mut Dice) {
        if !dice.in_10_000(self.damaged) {
            return;
        }
        match dice.below(4) {
            0 => value.truncate(1 + dice.index(value.len() - 1)),
            1 => *value = br#"{"event_id":17,"host":false,"ts":"yesterday"}"#.to_vec(),
            2 => value.clear(),
            _ => {
                let at = dice.index(value.len());
                value[at] = 0xff;
            }
        }
    }
}

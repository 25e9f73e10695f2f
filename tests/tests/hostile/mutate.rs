//! Inputs made from others: what coverage-blind fuzzers do, in one page.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Mutated inputs do not grow beyond this, in bytes.
const BYTES_MAX: usize = 16 * 1024;
/// Numbers at which lengths, offsets and times break.
const NUMBERS: [&[u8]; 12] = [
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"-1",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"1e999",
];
/// Texts at which parsers break.
const TEXTS: [&[u8]; 20] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"(",
    b")",
    b"*",
    b"~",
    b"\n",
    b"\r\n",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"null",
    "\u{202e}".as_bytes(),
    b"%00",
];

/// Makes one input after the other; the same seed makes the same ones.
pub(super) struct Mutator {
    inputs: Vec<Vec<u8>>,
    random: ChaCha8Rng,
}

impl Mutator {
    pub(super) fn new(seed: u64, inputs: Vec<Vec<u8>>) -> Self {
        Self { inputs, random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// One to six changes of one of the inputs.
    pub(super) fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.any().clone();
        for _ in 0..self.random.random_range(1..=6) {
            self.change(&mut input);
        }
        input.truncate(BYTES_MAX);
        input
    }

    fn any(&mut self) -> &Vec<u8> {
        let index = self.random.random_range(0..self.inputs.len());
        &self.inputs[index]
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.random.random_range(0..=input.len());
        match self.random.random_range(0..9) {
            0 => input.truncate(at),
            1 => self.flip(input),
            2 => self.replace(input),
            3 => insert(input, at, NUMBERS[self.random.random_range(0..NUMBERS.len())]),
            4 => insert(input, at, TEXTS[self.random.random_range(0..TEXTS.len())]),
            5 => self.splice(input, at),
            6 => self.repeat(input, at),
            7 => {
                let end = self.random.random_range(at..=input.len());
                input.drain(at..end);
            }
            _ => {
                let bytes: [u8; 8] = self.random.random();
                insert(input, at, &bytes);
            }
        }
    }

    fn flip(&mut self, input: &mut [u8]) {
        if !input.is_empty() {
            let at = self.random.random_range(0..input.len());
            input[at] ^= 1 << self.random.random_range(0..8);
        }
    }

    fn replace(&mut self, input: &mut [u8]) {
        if !input.is_empty() {
            let at = self.random.random_range(0..input.len());
            input[at] = self.random.random();
        }
    }

    /// Goes on with the rest of another input.
    fn splice(&mut self, input: &mut Vec<u8>, at: usize) {
        let other = self.any().clone();
        let from = self.random.random_range(0..=other.len());
        input.truncate(at);
        input.extend_from_slice(&other[from..]);
    }

    /// Repeats a stretch, up to a thousand times: nesting, long tokens.
    fn repeat(&mut self, input: &mut Vec<u8>, at: usize) {
        let end = self.random.random_range(at..=input.len()).min(at + 64);
        let stretch = input[at..end].to_vec();
        let times = if self.random.next_u32().is_multiple_of(4) { 1_000 } else { 3 };
        insert(input, at, &stretch.repeat(times));
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

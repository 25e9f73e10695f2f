//! Popularity: a few items are drawn often, most of them rarely.
//!
//! The weights are those of Zipf and Mandelbrot with exponent one, 1 / (rank + flatness); the
//! sampling is the alias method (Walker 1977; built as in Vose, "A linear algorithm for generating
//! random numbers with a given distribution", IEEE Transactions on Software Engineering 17(9),
//! 1991): two table look-ups for a draw. It needs no logarithm, which would differ between
//! platforms: division and addition give the same bits everywhere.

use super::dice::{Dice, scale};

/// Draws ranks from `0..n`, the lower the more often.
pub(super) struct Skew {
    cells: Vec<Cell>,
}

/// One of `n` cells of equal probability, shared by at most two ranks.
#[derive(Clone, Copy)]
struct Cell {
    /// The part of the cell, out of 2^32, that belongs to the rank with the cell's number.
    own: u32,
    /// The rank that has the rest.
    alias: u32,
}

impl Skew {
    /// Prepares draws from `n` ranks. With `flatness` 0 this is Zipf's law; a higher one takes
    /// the peak off the first ranks and leaves the tail as it is.
    pub(super) fn new(n: u32, flatness: u32) -> Skew {
        assert!(n > 0, "there is something to draw from");
        let weight = |rank: u32| 1.0 / (f64::from(rank) + 1.0 + f64::from(flatness));
        let total: f64 = (0..n).map(weight).sum();
        // In units of a cell: ranks below one have room to give away, the others need more.
        let mut shares: Vec<f64> = (0..n).map(|rank| weight(rank) * f64::from(n) / total).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..n).partition(|&rank| shares[rank as usize] < 1.0);
        let mut cells: Vec<Cell> = (0..n).map(|alias| Cell { own: u32::MAX, alias }).collect();
        while let (Some(poor), Some(rich)) = (small.pop(), large.pop()) {
            let own = shares[poor as usize];
            cells[poor as usize] = Cell { own: (own * f64::from(u32::MAX)) as u32, alias: rich };
            shares[rich as usize] -= 1.0 - own;
            if shares[rich as usize] < 1.0 { small.push(rich) } else { large.push(rich) }
        }
        Skew { cells }
    }

    /// Draws a rank.
    pub(super) fn draw(&self, dice: &mut Dice) -> u32 {
        let bits = dice.bits();
        let n = u32::try_from(self.cells.len()).expect("made from a u32 in `new`");
        let rank = scale((bits >> 32) as u32, n);
        let cell = self.cells[rank as usize];
        if (bits as u32) <= cell.own { rank } else { cell.alias }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frequencies(n: u32, flatness: u32, draws: u32) -> Vec<f64> {
        let (skew, mut dice) = (Skew::new(n, flatness), Dice::new(1, 0));
        let mut counts = vec![0.0; n as usize];
        for _ in 0..draws {
            counts[skew.draw(&mut dice) as usize] += 1.0 / f64::from(draws);
        }
        counts
    }

    #[test]
    fn zipf_frequencies_are_one_over_rank() {
        let harmonic: f64 = (1..=10).map(|k| 1.0 / f64::from(k)).sum();
        for (rank, got) in (1..).zip(frequencies(10, 0, 400_000)) {
            let want = 1.0 / f64::from(rank) / harmonic;
            assert!((got - want).abs() < 0.004, "rank {rank}: {got} for {want}");
        }
    }

    #[test]
    fn flatness_takes_the_peak_off() {
        let steep = frequencies(1_000, 0, 100_000);
        let flat = frequencies(1_000, 100, 100_000);
        assert!(flat[0] < steep[0] / 10.0, "{} against {}", flat[0], steep[0]);
        assert!(flat[0] > flat[999] * 3.0, "{} against {}", flat[0], flat[999]);
    }

    #[test]
    fn one_rank_is_always_drawn() {
        assert_eq!(frequencies(1, 0, 100).len(), 1);
    }
}

//! Different texts, counted exactly up to a bound.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A set of texts that holds a bounded number of them, and remembers if there were more.
///
/// Of too many texts it keeps the first ones in alphabetical order, not in order of arrival: so it
/// ends up the same in whatever order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distinct {
    texts: BTreeSet<String>,
    more: bool,
}

impl Distinct {
    /// Adds `text`, and keeps at most `max` texts.
    pub fn add(&mut self, text: &str, max: usize) {
        if self.texts.contains(text) {
            return;
        }
        self.texts.insert(text.to_owned());
        if self.texts.len() > max {
            self.texts.pop_last();
            self.more = true;
        }
    }

    /// How many texts are held: all of them, unless there were [more](Self::has_more).
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty() && !self.more
    }

    /// Whether there were more texts than the bound.
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// The texts held, sorted.
    pub fn texts(&self) -> &BTreeSet<String> {
        &self.texts
    }
}

/// The longest beginning of `text` that has at most `bytes_max` bytes.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str], max: usize) -> Distinct {
        let mut distinct = Distinct::default();
        texts.iter().for_each(|text| distinct.add(text, max));
        distinct
    }

    #[test]
    fn up_to_the_bound_it_is_exact() {
        let distinct = of(&["b", "a", "b"], 2);
        assert_eq!((distinct.len(), distinct.has_more()), (2, false));
        assert!(distinct.texts().iter().eq(["a", "b"]));
        assert!(Distinct::default().is_empty());
    }

    #[test]
    fn beyond_the_bound_the_order_of_arrival_does_not_matter() {
        let texts = ["d", "b", "a", "c", "b", "d"];
        let expected = of(&texts, 2);
        assert!(expected.has_more() && expected.texts().iter().eq(["a", "b"]));
        for turn in 0..texts.len() {
            let mut turned = texts;
            turned.rotate_left(turn);
            assert_eq!(of(&turned, 2), expected, "{turned:?}");
        }
        assert!(!of(&["a"], 0).is_empty(), "something was there, though nothing is kept");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("für", 9), "für");
        assert_eq!(cut("für", 2), "f");
        assert_eq!(cut("für", 0), "");
    }
}

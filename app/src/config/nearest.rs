//! Which known name a mistyped one is nearest to.

/// How alike two names must be, from 0 to 1, before one is proposed for the other.
const LIKENESS_MIN: f64 = 0.8;

/// The name of `known` that `name` was probably meant to be.
pub(crate) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&name, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    const KNOWN: [&str; 4] =
        ["retention_ms", "retention_bytes", "batch_bytes_max", "commit_durability"];

    #[test]
    fn typing_errors_and_swapped_words_are_recognised() {
        assert_eq!(nearest("retension_ms", KNOWN), Some("retention_ms"));
        assert_eq!(nearest("batch_max_bytes", KNOWN), Some("batch_bytes_max"));
        assert_eq!(nearest("commit.durability", KNOWN), Some("commit_durability"));
    }

    #[test]
    fn a_name_like_no_other_gets_no_proposal() {
        assert_eq!(nearest("colour", KNOWN), None);
    }
}

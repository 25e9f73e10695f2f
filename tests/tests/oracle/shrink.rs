//! Makes a failing input smaller: delta debugging (Zeller and Hildebrandt 2002) over its records.

/// The fewest records found for which `fails` is still true: without any one of them it is not.
pub(super) fn shrink<T: Clone>(records: Vec<T>, fails: &mut dyn FnMut(&[T]) -> bool) -> Vec<T> {
    let mut left = records;
    let mut chunk = left.len().div_ceil(2);
    while chunk > 0 {
        let mut from = 0;
        let mut smaller = false;
        while from < left.len() {
            let to = (from + chunk).min(left.len());
            let without: Vec<T> = left[..from].iter().chain(&left[to..]).cloned().collect();
            if fails(&without) {
                left = without;
                smaller = true;
            } else {
                from = to;
            }
        }
        if chunk > 1 || !smaller {
            chunk /= 2;
        }
    }
    left
}

#[test]
fn what_does_not_matter_goes() {
    let mut asked = 0;
    let mut fails = |records: &[u32]| {
        asked += 1;
        records.contains(&17) && records.contains(&42)
    };
    assert_eq!(shrink((0..100).collect(), &mut fails), [17, 42]);
    assert!(asked < 60, "{asked} runs");
}

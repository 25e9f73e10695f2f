//! Durations as people type them.

use std::time::Duration;

/// Reads `30s`, `500ms`, `5m` or `2h`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let number_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a number and a unit, such as 30s, 5m or 2h".to_owned()),
    };
    let number: u64 =
        number.parse().map_err(|_| "the number is missing or too large".to_owned())?;
    let ms = number.checked_mul(ms).ok_or("the duration is too long")?;
    Ok(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["30", "s", "", "1 s", "-1s", "99999999999999999999s", "18446744073709551615h"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}

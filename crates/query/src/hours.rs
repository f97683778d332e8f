//! Which hours of a root are asked of.

use std::str::FromStr;

/// Hours of a root: the first and the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    first: String,
    last: String,
}

impl FromStr for Hours {
    type Err = String;

    /// `2026-11-28-21`, or `2026-11-28-21..2026-11-29-03`, both with it; a day is its hours.
    fn from_str(text: &str) -> Result<Hours, String> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let is_hour = |text: &str| matches!(text.len(), 10 | 13) && digits(text);
        if !is_hour(first) || !is_hour(last) || last < first && !first.starts_with(last) {
            return Err("hours are such as 2026-11-28-21, 2026-11-28 or 2026-11-28-21..2026-11-29-03 (UTC)".into());
        }
        Ok(Hours { first: first.into(), last: last.into() })
    }
}

impl Hours {
    /// Whether an hour is one of them.
    pub(crate) fn has(&self, hour: &str) -> bool {
        hour.starts_with(|c: char| c.is_ascii_digit())
            && hour >= self.first.as_str()
            && (hour <= self.last.as_str() || hour.starts_with(&self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_an_hour_a_day_or_a_stretch() {
        let of = |text: &str| text.parse::<Hours>();
        let has = |text: &str, hour: &str| of(text).unwrap().has(hour);
        assert!(has("2026-11-28-21", "2026-11-28-21") && !has("2026-11-28-21", "2026-11-28-22"));
        assert!(has("2026-11-28", "2026-11-28-00") && has("2026-11-28", "2026-11-28-23"));
        assert!(!has("2026-11-28", "2026-11-29-00") && !has("2026-11-28", "2026-11-27-23"));
        let stretch = "2026-11-28-21..2026-11-29";
        assert!(has(stretch, "2026-11-28-21") && has(stretch, "2026-11-29-23") && !has(stretch, "2026-11-28-20"));
        assert!(!has(stretch, "unknown"));
        for wrong in ["", "today", "2026-11-28 21", "2026-11-29..2026-11-28", "2026-11-28-21.."] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}

//! Times as people write them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};

/// A time in ms since 1970, in UTC: `2026-11-30T23:40:26.123Z`.
pub fn show(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis);
    time.map_or_else(|| format!("{ms} ms"), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Reads a time: RFC 3339, the same without an offset (UTC) or without a time of day, or seconds since 1970.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let naive = || {
        let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
        let time = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
        time.or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
    };
    let seconds = || {
        text.parse::<f64>()
            .ok()
            .filter(|seconds| seconds.is_finite() && text.starts_with(|c: char| c.is_ascii_digit()))
    };
    let ms = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => Some(time.timestamp_millis()),
        Err(_) => naive()
            .map(|time| time.and_utc().timestamp_millis())
            .or_else(|| seconds().map(|seconds| (seconds * 1_000.0).round() as i64)),
    };
    ms.and_then(|ms| u64::try_from(ms).ok()).ok_or_else(|| {
        format!("'{text}' is no time: write it like 2026-11-30T23:40:26Z, or as seconds since 1970")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [
            ("2026-11-30T23:40:26Z", "2026-11-30T23:40:26.000Z"),
            ("2026-11-30T23:40:26.5+01:00", "2026-11-30T22:40:26.500Z"),
            ("2026-11-30 23:40:26", "2026-11-30T23:40:26.000Z"),
            ("2026-11-30T23:40", "2026-11-30T23:40:00.000Z"),
            ("2026-11-30", "2026-11-30T00:00:00.000Z"),
            ("1796082026", "2026-11-30T23:40:26.000Z"),
            ("0", "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(parse(text).map(show).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "1969-12-31", "-5", "nan", "inf", "2026-11-30T25:00:00Z"]
        {
            assert!(parse(text).unwrap_err().contains("2026-11-30T23:40:26Z"), "{text}");
        }
    }
}

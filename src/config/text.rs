//! How serde reads and writes the settings that are clearer as text than as plain numbers.

/// A limit: a number, or `"unlimited"` for the largest, which many formats can't hold.
pub(super) mod limit {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    const UNLIMITED: &str = "unlimited";

    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }

    pub(in super::super) fn serialize<S: Serializer>(limit: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        if *limit == u64::MAX { UNLIMITED.serialize(serializer) } else { limit.serialize(serializer) }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        match Either::deserialize(deserializer) {
            Ok(Either::Number(number)) => Ok(number),
            Ok(Either::Text(text)) if text == UNLIMITED => Ok(u64::MAX),
            Ok(Either::Text(text)) => Err(D::Error::custom(format!(
                "\"{text}\" is no limit: a number is expected, or \"{UNLIMITED}\""
            ))),
            Err(_) => Err(D::Error::custom(format!("a number is expected, or \"{UNLIMITED}\""))),
        }
    }
}

/// A time: a whole number and its unit, as in `"2ms"`.
pub(super) mod time {
    use std::time::Duration;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    /// In nanoseconds, the largest first.
    const UNITS: [(&str, u64); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000), ("ns", 1)];

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let nanos = time.as_nanos();
        let fits = |(_, size): &(&str, u64)| nanos.is_multiple_of(u128::from(*size));
        let (unit, size) = UNITS.into_iter().find(fits).unwrap_or(("ns", 1));
        format!("{}{unit}", nanos / u128::from(size)).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "\"{text}\" is no time: a number and s, ms, us or ns is expected, as in \"2ms\""
            ))
        })
    }

    fn parse(text: &str) -> Option<Duration> {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let (_, size) = UNITS.into_iter().find(|(known, _)| *known == unit.trim_start())?;
        let number: u64 = number.parse().ok()?;
        number.checked_mul(size).map(Duration::from_nanos)
    }
}

/// Permissions: an octal number as text, as in `"0o640"`.
pub(super) mod mode {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(in super::super) fn serialize<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{mode:#o}"))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0o").filter(|digits| !digits.starts_with('+'));
        digits.and_then(|digits| u32::from_str_radix(digits, 8).ok()).ok_or_else(|| {
            D::Error::custom(format!(
                "\"{text}\" are no permissions: octal digits are expected, as in \"0o640\""
            ))
        })
    }
}

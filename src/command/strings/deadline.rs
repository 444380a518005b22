//! Expiry as an option of other commands: `EX`, `PX`, `EXAT`, `PXAT`, and `KEEPTTL` or `PERSIST`.
//!
//! Pure: the time is that of the call. The rules for numbers are those of Redis's `getExpireMillisecondsOrReply`.

use crate::command::base::Call;
use crate::engine::{Event, Expiry, WriteTxn};
use crate::error::Error;
use crate::store::Key;

/// The unit and base of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// In so many seconds.
    Ex,
    /// In so many milliseconds.
    Px,
    /// At so many seconds since 1970.
    ExAt,
    /// At so many milliseconds since 1970.
    PxAt,
}

impl Timing {
    fn parse(word: &[u8]) -> Option<Timing> {
        let options =
            [("EX", Timing::Ex), ("PX", Timing::Px), ("EXAT", Timing::ExAt), ("PXAT", Timing::PxAt)];
        let named = options.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, timing)| timing)
    }

    /// The point in time in milliseconds since 1970. `None` for a number that isn't positive, or a time that doesn't
    /// fit in 63 bits. A time in the past is valid.
    pub fn deadline_ms(self, number: i64, now_ms: u64) -> Option<u64> {
        let scale = if matches!(self, Timing::Ex | Timing::ExAt) { 1_000 } else { 1 };
        let origin = if matches!(self, Timing::Ex | Timing::Px) { i64::try_from(now_ms).ok()? } else { 0 };
        let deadline = number.checked_mul(scale)?.checked_add(origin)?;
        if number > 0 { u64::try_from(deadline).ok() } else { None }
    }

    /// Like [`deadline_ms`](Timing::deadline_ms), for the word at a position, with Redis's errors.
    pub fn deadline_at(self, call: &Call<'_>, at: usize) -> Result<u64, Error> {
        let number = call.integer(at)?;
        self.deadline_ms(number, call.now_ms).ok_or(Error::ExpireTime(call.spec.name))
    }
}

/// Notifies of what a command did to a record that it wrote, and of the record's new deadline, if it got one.
pub fn notify_put(txn: &mut WriteTxn<'_>, key: &Key, event: Event, expiry: Expiry) {
    txn.notify(key, event);
    if let Expiry::At(deadline) = expiry {
        txn.notify(key, Event::EXPIRE);
        if deadline <= txn.now_ms() {
            txn.notify(key, Event::EXPIRED);
        }
    }
}

/// The expiry, as the options of a command give it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExpiryOption {
    #[default]
    Unsaid,
    KeepTtl,
    Persist,
    /// The word at this position is the time.
    Time(Timing, usize),
}

impl ExpiryOption {
    /// Parses the option at a position, if it is `wordless` or a time, and returns how many words it uses after it. Two
    /// options that exclude each other are a syntax error; the same one again replaces the first, as in Redis.
    pub fn take(
        &mut self,
        call: &Call<'_>,
        at: usize,
        wordless: ExpiryOption,
    ) -> Result<Option<usize>, Error> {
        let (said, words) = if call.is(at, wordless.name()) {
            (wordless, 0)
        } else if let Some(timing) = Timing::parse(call.arg(at)) {
            (ExpiryOption::Time(timing, at + 1), 1)
        } else {
            return Ok(None);
        };
        if *self != ExpiryOption::Unsaid && self.name() != said.name() {
            return Err(Error::Syntax);
        }
        *self = said;
        Ok(Some(words))
    }

    /// The same for the engine; `None` if no option was given.
    pub fn resolve(self, call: &Call<'_>) -> Result<Option<Expiry>, Error> {
        Ok(match self {
            ExpiryOption::Unsaid => None,
            ExpiryOption::KeepTtl => Some(Expiry::Keep),
            ExpiryOption::Persist => Some(Expiry::Persist),
            ExpiryOption::Time(timing, at) => Some(Expiry::At(timing.deadline_at(call, at)?)),
        })
    }

    fn name(self) -> &'static str {
        match self {
            ExpiryOption::Unsaid => "",
            ExpiryOption::KeepTtl => "KEEPTTL",
            ExpiryOption::Persist => "PERSIST",
            ExpiryOption::Time(Timing::Ex, _) => "EX",
            ExpiryOption::Time(Timing::Px, _) => "PX",
            ExpiryOption::Time(Timing::ExAt, _) => "EXAT",
            ExpiryOption::Time(Timing::PxAt, _) => "PXAT",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::command::strings::deadline::*;

    const NOW_MS: u64 = 1_700_000_000_000;
    const NOW: i64 = NOW_MS as i64;

    #[test]
    fn seconds_or_milliseconds_from_now_or_from_1970() {
        assert_eq!(Timing::Ex.deadline_ms(5, NOW_MS), Some(NOW_MS + 5_000));
        assert_eq!(Timing::Px.deadline_ms(5, NOW_MS), Some(NOW_MS + 5));
        assert_eq!(Timing::ExAt.deadline_ms(5, NOW_MS), Some(5_000));
        assert_eq!(Timing::PxAt.deadline_ms(5, NOW_MS), Some(5));
    }

    #[test]
    fn the_last_time_there_is() {
        let last = i64::MAX as u64;
        assert_eq!(Timing::PxAt.deadline_ms(i64::MAX, NOW_MS), Some(last));
        assert_eq!(Timing::Px.deadline_ms(i64::MAX - NOW, NOW_MS), Some(last));
        assert_eq!(Timing::Px.deadline_ms(i64::MAX - NOW + 1, NOW_MS), None);
        assert_eq!(Timing::ExAt.deadline_ms(i64::MAX / 1_000, NOW_MS), Some(last / 1_000 * 1_000));
        assert_eq!(Timing::ExAt.deadline_ms(i64::MAX / 1_000 + 1, NOW_MS), None);
        assert_eq!(Timing::Ex.deadline_ms(i64::MAX / 1_000, NOW_MS), None);
    }

    #[test]
    fn a_time_is_positive() {
        for timing in [Timing::Ex, Timing::Px, Timing::ExAt, Timing::PxAt] {
            for number in [0, -1, i64::MIN] {
                assert_eq!(timing.deadline_ms(number, NOW_MS), None, "{timing:?} {number}");
            }
        }
    }

    #[test]
    fn the_names_that_are_parsed_are_those_that_are_compared() {
        for word in ["EX", "px", "ExAt", "PXAT"] {
            let timing = Timing::parse(word.as_bytes());
            let name = timing.map(|timing| ExpiryOption::Time(timing, 1).name());
            assert_eq!(name, Some(&*word.to_uppercase()));
        }
        assert_eq!(Timing::parse(b""), None);
    }
}

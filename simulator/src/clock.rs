//! What a point in time looks like in each protocol. All times are UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment, taken apart by the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i32,
    pub(crate) month: u8,
    pub(crate) day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    millisecond: u32,
    /// Days since Sunday.
    weekday: u8,
}

impl Civil {
    pub(crate) fn at(time: SystemTime) -> Self {
        let millisecond = time.duration_since(UNIX_EPOCH).map_or(0, |passed| passed.subsec_millis());
        Self { millisecond, ..Self::at_unix(unix(time)) }
    }

    pub(crate) fn at_unix(seconds: u64) -> Self {
        let of_day = seconds % 86_400;
        let (year, month, day) = date_of_day(i64::try_from(seconds / 86_400).unwrap_or(0));
        let small = |n: u64| u8::try_from(n).unwrap_or(0);
        Self {
            year,
            month,
            day,
            hour: small(of_day / 3600),
            minute: small(of_day / 60 % 60),
            second: small(of_day % 60),
            millisecond: 0,
            // The first of January 1970 was a Thursday.
            weekday: small((seconds / 86_400 + 4) % 7),
        }
    }

    /// As in Entra's errors: `2026-09-01 10:11:12Z`.
    pub(crate) fn entra(&self) -> String {
        let Self { year, month, day, hour, minute, second, .. } = self;
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
    }

    /// RFC 3501 `date-time`, without the quotes: `01-Sep-2026 10:11:12 +0000`.
    pub(crate) fn imap(&self) -> String {
        let Self { year, day, hour, minute, second, .. } = self;
        format!("{day:02}-{}-{year:04} {hour:02}:{minute:02}:{second:02} +0000", self.month_name())
    }

    /// RFC 5322 `date-time`, as in SMTP's greeting: `Tue, 1 Sep 2026 10:11:12 +0000`.
    pub(crate) fn smtp(&self) -> String {
        let Self { year, day, hour, minute, second, weekday, .. } = self;
        let weekday = WEEKDAYS.get(usize::from(*weekday)).copied().unwrap_or("Sun");
        format!("{weekday}, {day} {} {year:04} {hour:02}:{minute:02}:{second:02} +0000", self.month_name())
    }

    /// As in the brackets behind SMTP's refusals: `2026-09-01T10:11:12.000Z`.
    pub(crate) fn smtp_refusal(&self) -> String {
        let Self { year, month, day, hour, minute, second, millisecond, .. } = self;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
    }

    fn month_name(&self) -> &'static str {
        MONTHS.get(usize::from(self.month) - 1).copied().unwrap_or("Jan")
    }
}

/// Seconds since 1970; a clock before that counts as 1970.
pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}

pub(crate) fn now() -> u64 {
    unix(SystemTime::now())
}

/// RFC 3501 `date-time` or `date`, with or without quotes, to seconds since 1970.
pub(crate) fn parse_imap(text: &str) -> Option<u64> {
    let within = |text: &str, range: std::ops::RangeInclusive<i64>| text.parse().ok().filter(|n| range.contains(n));
    let mut parts = text.trim_matches('"').split_ascii_whitespace();
    let mut date = parts.next()?.splitn(3, '-');
    let day = within(date.next()?, 1..=31)?;
    let month_name = date.next()?;
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month_name))? + 1;
    let year = within(date.next()?, 1970..=9999)?;
    let mut seconds = day_of_date(year, i64::try_from(month).ok()?, day) * 86_400;
    if let Some(time) = parts.next() {
        let mut fields = time.splitn(3, ':');
        for (unit, most) in [(3600, 23), (60, 59), (1, 60)] {
            seconds += unit * within(fields.next()?, 0..=most)?;
        }
    }
    if let Some(zone) = parts.next() {
        let offset = within(zone, -2359..=2359)?;
        seconds -= (offset / 100) * 3600 + (offset % 100) * 60;
    }
    u64::try_from(seconds).ok()
}

/// Days since 1970 to year, month and day: Howard Hinnant's `civil_from_days`.
fn date_of_day(days: i64) -> (i32, u8, u8) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (i32::try_from(year).unwrap_or(1970), u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
}

/// The inverse: Howard Hinnant's `days_from_civil`.
fn day_of_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let yoe = year.rem_euclid(400);
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        let moment = Civil::at_unix(1_788_257_472);
        assert_eq!(moment.entra(), "2026-09-01 10:11:12Z");
        assert_eq!(moment.imap(), "01-Sep-2026 10:11:12 +0000");
        assert_eq!(moment.smtp(), "Tue, 1 Sep 2026 10:11:12 +0000");
        assert_eq!(moment.smtp_refusal(), "2026-09-01T10:11:12.000Z");
        assert_eq!(Civil::at_unix(951_782_400).entra(), "2000-02-29 00:00:00Z");
    }

    #[test]
    fn imap_dates_are_read_with_their_zone() {
        assert_eq!(parse_imap("01-Sep-2026 10:11:12 +0000"), Some(1_788_257_472));
        assert_eq!(parse_imap("\" 1-Sep-2026 12:11:12 +0200\""), Some(1_788_257_472));
        assert_eq!(parse_imap("29-Feb-2000"), Some(951_782_400));
        for text in ["yesterday", "", "1-Sep-99999999999999", "1-Sep-2026 24:00:00", "32-Sep-2026", "1-Sep-2026 1:2"] {
            assert_eq!(parse_imap(text), None, "{text}");
        }
    }
}

//! Days and microseconds since 1970-01-01 in the proleptic Gregorian calendar, for the years 0 to 9999.
//!
//! Not here: reading date text (`convert`). The arithmetic counts days in eras of 400 years that begin on 1 March,
//! so the leap day is the last of its year.

/// Microseconds of a day.
pub const MICROS_PER_DAY: i64 = 86_400_000_000;
const DAYS_PER_ERA: i64 = 146_097;
const DAYS_FROM_YEAR_0_MARCH_TO_1970: i64 = 719_468;

/// Days since 1970-01-01 of a date that exists; negative before.
pub fn days_from_date(year: i32, month: u32, day: u32) -> i32 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * DAYS_PER_ERA + day_of_era - DAYS_FROM_YEAR_0_MARCH_TO_1970) as i32
}

/// Year, month and day of `days` since 1970-01-01.
pub fn date_from_days(days: i32) -> (i32, u32, u32) {
    let days = i64::from(days) + DAYS_FROM_YEAR_0_MARCH_TO_1970;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as i32, month as u32, day as u32)
}

/// Days of a month, 28 to 31; 0 for a month that does not exist.
pub fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_agree() {
        let rows = [
            // date              days      why
            ((1970, 1, 1), 0, "the epoch"),
            ((1969, 12, 31), -1, "before it"),
            ((2000, 2, 29), 11_016, "a leap day of a century"),
            ((0, 1, 1), -719_528, "the smallest DATE"),
            ((9999, 12, 31), 2_932_896, "the largest DATE"),
        ];
        for ((year, month, day), days, why) in rows {
            assert_eq!(days_from_date(year, month, day), days, "{why}");
            assert_eq!(date_from_days(days), (year, month, day), "{why}");
        }
    }
}

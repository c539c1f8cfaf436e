//! Text forms of values: what codecs, CAST and result tables read and write.
//!
//! Reading takes the whole text (surrounding ASCII blanks are allowed for dates, times and intervals) and
//! answers `None` for anything else; writing appends to a byte buffer and never fails. Nothing here allocates.
//! Years run from 0001 to 9999 on input; a value outside that arose from arithmetic is written
//! with ISO 8601's expanded years (`+012345-01-01`).

mod datetime;
mod interval;
mod number;
mod short;

pub use datetime::{
    civil_from_days, date_from_civil, days_from_civil, parse_date, parse_time, parse_timestamp, write_date,
    write_time, write_timestamp,
};
pub use interval::{parse_interval, write_interval};
pub use number::{parse_decimal, parse_f64, parse_i64, write_decimal, write_f32, write_f64, write_i64};
pub use short::{ShortNumber, short_number};

/// Microseconds in a day.
pub const MICROS_PER_DAY: i64 = 86_400_000_000;

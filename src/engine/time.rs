//! The event time of a stream: WATERMARK FOR and the options beside it.

use std::time::Duration;

use crate::catalog::{
    ALLOWED_LATENESS, IDLE_TIMEOUT, LATE, MAX_FUTURE_SKEW, OptionError, OptionSpec, OptionValue, Options,
    TIME_OPTIONS, WatermarkDef,
};
use crate::plan::LatePolicy;
use crate::sql::EventTime;

const IDLE: Duration = Duration::from_secs(30);
const SKEW: Duration = Duration::from_secs(3600);

/// What a declaration says of time; `None` if it says nothing.
///
/// # Errors
/// An option that does not fit, or one without WATERMARK FOR.
pub(super) fn event_time(
    watermark: Option<&WatermarkDef>,
    options: &Options,
    bounded: bool,
) -> Result<Option<EventTime>, OptionError> {
    let Some(watermark) = watermark else {
        return match TIME_OPTIONS.iter().find(|o| options.get(o.name).is_some()) {
            None => Ok(None),
            Some(option) => Err(wrong(option, format!("'{}' needs WATERMARK FOR column AS …", option.name))),
        };
    };
    let late = match options.value(&LATE)? {
        Some(OptionValue::Text(word)) if word == "dlq" => LatePolicy::DeadLetter,
        Some(OptionValue::Text(word)) if word == "update" => LatePolicy::Update,
        _ => LatePolicy::Drop,
    };
    let unbounded = |default: Duration| (!bounded).then_some(default);
    Ok(Some(EventTime {
        watermark: watermark.clone(),
        lateness: micros(options, &ALLOWED_LATENESS, None)?.unwrap_or(0),
        late,
        max_future_skew: micros(options, &MAX_FUTURE_SKEW, unbounded(SKEW))?,
        idle_timeout: micros(options, &IDLE_TIMEOUT, unbounded(IDLE))?,
    }))
}

/// A duration in µs; none if it is off.
fn micros(
    options: &Options,
    spec: &OptionSpec,
    default: Option<Duration>,
) -> Result<Option<i64>, OptionError> {
    let duration = match options.value(spec)? {
        Some(OptionValue::Duration(d)) => Some(d),
        Some(OptionValue::Off) => None,
        _ => default,
    };
    let Some(duration) = duration else { return Ok(None) };
    match i64::try_from(duration.as_micros()) {
        Ok(micros) => Ok(Some(micros)),
        Err(_) => {
            let text = options.get(spec.name).unwrap_or_default();
            Err(wrong(spec, format!("'{}' can't be '{text}': it is too long", spec.name)))
        }
    }
}

fn wrong(option: &OptionSpec, message: String) -> OptionError {
    OptionError { name: option.name.into(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &[(&str, &str)], bounded: bool) -> Result<EventTime, String> {
        let def = WatermarkDef { column: "ts".into(), expression: "ts".into() };
        let options = Options::new(options.iter().copied());
        event_time(Some(&def), &options, bounded).map(Option::unwrap).map_err(|e| e.message)
    }

    #[test]
    fn silence_and_the_future_matter_where_input_never_ends() {
        let live = of(&[], false).unwrap();
        assert_eq!((live.idle_timeout, live.max_future_skew), (Some(30_000_000), Some(3_600_000_000)));
        assert_eq!((live.lateness, live.late), (0, LatePolicy::Drop));
        let file = of(&[], true).unwrap();
        assert_eq!((file.idle_timeout, file.max_future_skew), (None, None));
        let off = of(&[("idle_timeout", "off"), ("max_future_skew", "OFF")], false).unwrap();
        assert_eq!((off.idle_timeout, off.max_future_skew), (None, None));
        let on = of(&[("idle_timeout", "5s"), ("max_future_skew", "1m"), ("late", "UPDATE")], true).unwrap();
        assert_eq!((on.idle_timeout, on.max_future_skew), (Some(5_000_000), Some(60_000_000)));
        assert_eq!(on.late, LatePolicy::Update);
    }

    #[test]
    fn durations_are_checked() {
        let e = of(&[("allowed_lateness", "400000000 days")], true).unwrap_err();
        assert_eq!(e, "'allowed_lateness' can't be '400000000 days': it is too long");
        assert!(of(&[("allowed_lateness", "-1s")], true).unwrap_err().contains("a duration such as"));
        assert!(of(&[("idle_timeout", "never")], true).unwrap_err().contains("or off"));
        assert!(of(&[("late", "keep")], true).unwrap_err().contains("one of drop, dlq, update"));
    }

    #[test]
    fn options_of_time_need_a_watermark() {
        let options = Options::new([("late", "dlq")]);
        let e = event_time(None, &options, true).unwrap_err();
        assert_eq!(e.message, "'late' needs WATERMARK FOR column AS …");
        assert_eq!(event_time(None, &Options::default(), true).unwrap(), None);
    }
}

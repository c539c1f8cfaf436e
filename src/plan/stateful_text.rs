//! EXPLAIN's words for operators that keep state or know time.

use super::{
    AggregateSpec, Emit, Frame, FrameBound, LatePolicy, OverFunction, OverSpec, Slices, Stateful, TopNSpec,
    Ttl, WindowKind, WindowSpec,
};
use crate::expr::{AggregateCall, Expr, SortKey};
use crate::record::{DataType, Decimal};

type Attributes = Vec<(&'static str, String)>;

impl Stateful {
    /// Its title in a logical plan.
    pub(super) fn title(&self) -> &'static str {
        match self {
            Stateful::Watermark(_) => "Watermark",
            Stateful::Aggregate(spec) if spec.calls.is_empty() && spec.window.is_none() => "Distinct",
            Stateful::Aggregate(_) => "Aggregate",
            Stateful::WindowTable(_) => "Window",
            Stateful::Over(_) => "Over",
            Stateful::TopN(_) => "TopN",
            Stateful::Sort(_) => "Sort",
        }
    }

    /// What it does.
    pub(super) fn attributes(&self) -> Attributes {
        match self {
            Stateful::Watermark(spec) => {
                let mut text =
                    vec![("time", spec.time.to_string()), ("watermark", spec.watermark.to_string())];
                text.extend(spec.max_future_skew.map(|d| ("max_future_skew", duration(d))));
                text.extend(spec.idle_timeout.map(|d| ("idle_timeout", duration(d))));
                text.extend(lateness(spec.lateness, spec.late));
                text
            }
            Stateful::Aggregate(spec) => aggregate(spec),
            Stateful::WindowTable(spec) => {
                let mut text = window(&spec.window);
                if !spec.partition_by.is_empty() {
                    text.push(("partition", exprs(&spec.partition_by)));
                }
                text
            }
            Stateful::Over(spec) => over(spec),
            Stateful::TopN(spec) => top_n(spec),
            Stateful::Sort(spec) => vec![("by", sort_keys(&spec.order_by))],
        }
    }
}

fn list<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn exprs(items: &[Expr]) -> String {
    list(items, ToString::to_string)
}

fn sort_keys(keys: &[SortKey]) -> String {
    list(keys, |k| {
        let direction = if k.descending { " DESC" } else { "" };
        let nulls = if k.nulls_first { " NULLS FIRST" } else { "" };
        format!("{}{direction}{nulls}", k.expr)
    })
}

fn aggregate(spec: &AggregateSpec) -> Attributes {
    let mut text = Vec::new();
    let names: Vec<&str> = spec.schema.names().collect();
    let named = |expr: String, at: usize| match names.get(at) {
        Some(name) if *name != expr => format!("{expr} AS {name}"),
        _ => expr,
    };
    let keys: Vec<String> = spec.keys.iter().enumerate().map(|(i, k)| named(k.to_string(), i)).collect();
    if !keys.is_empty() {
        text.push(("by", keys.join(", ")));
    }
    if !spec.grouping_sets.is_empty() {
        let set = |set: &Vec<usize>| {
            format!("({})", list(set, |i| spec.keys.get(*i).map_or_else(String::new, |k| k.to_string())))
        };
        text.push(("sets", list(&spec.grouping_sets, set)));
    }
    text.extend(spec.window.iter().flat_map(window));
    let first = spec.keys.len() + if spec.window.is_some() { 2 } else { 0 };
    let calls: Vec<String> = spec.calls.iter().enumerate().map(|(i, c)| named(call(c), first + i)).collect();
    if !calls.is_empty() {
        text.push(("calls", calls.join(", ")));
    }
    text.extend(spec.having.iter().map(|h| ("having", h.to_string())));
    text.push(("emit", emit(spec.emit).into()));
    text.extend(spec.expiry().map(time_to_live));
    match spec.slices() {
        Slices::NotNeeded => {}
        Slices::Shared => text.push(("slices", "shared".into())),
        Slices::Apart(reason) => text.push(("slices", format!("none, as {reason}"))),
    }
    if spec.retracts {
        text.push(("input", "changes".into()));
    }
    text
}

fn emit(emit: Emit) -> &'static str {
    match emit {
        Emit::Final => "final",
        Emit::Changes => "changes",
        Emit::EveryChange => "every change",
    }
}

/// A call as it is written.
pub(super) fn call(call: &AggregateCall) -> String {
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let args = if call.args.is_empty() { "*".to_owned() } else { exprs(&call.args) };
    let mut text = format!("{}({distinct}{args}", call.function.name);
    if !call.order_by.is_empty() {
        text.push_str(&format!(" ORDER BY {}", sort_keys(&call.order_by)));
    }
    text.push(')');
    if let Some(filter) = &call.filter {
        text.push_str(&format!(" FILTER (WHERE {filter})"));
    }
    text
}

impl WindowKind {
    /// The call that makes such windows, as a user writes it, with durations such as `1m`.
    pub(crate) fn call(self, time: Option<&Expr>) -> String {
        let (name, durations) = match self {
            WindowKind::Tumble { size } => ("TUMBLE", vec![size]),
            WindowKind::Hop { slide, size } => ("HOP", vec![slide, size]),
            WindowKind::Cumulate { step, size } => ("CUMULATE", vec![step, size]),
            WindowKind::Session { gap } => ("SESSION", vec![gap]),
            WindowKind::Given => return time.map(Expr::to_string).unwrap_or_default(),
        };
        let args = time.map(Expr::to_string).into_iter().chain(durations.into_iter().map(duration));
        format!("{name}({})", args.collect::<Vec<_>>().join(", "))
    }
}

fn window(spec: &WindowSpec) -> Attributes {
    let kind = match (&spec.start, spec.kind) {
        (Some(start), WindowKind::Given) => format!("({start}, {})", spec.time),
        _ => spec.kind.call(Some(&spec.time)),
    };
    let mut text = vec![("window", kind)];
    if !spec.has_watermark {
        text.push(("fires", "at the end of the input".into()));
        return text;
    }
    text.extend(lateness(spec.lateness, spec.late));
    text
}

/// What is allowed to late records, unless it is nothing.
fn lateness(allowed: i64, late: LatePolicy) -> Attributes {
    let policy = match late {
        LatePolicy::Drop => None,
        LatePolicy::DeadLetter => Some("dlq"),
        LatePolicy::Update => Some("update"),
    };
    let allowed = (allowed > 0).then(|| ("allowed_lateness", duration(allowed)));
    allowed.into_iter().chain(policy.map(|p| ("late", p.to_owned()))).collect()
}

fn over(spec: &OverSpec) -> Attributes {
    let mut text = Vec::new();
    let first = spec.schema.len().saturating_sub(spec.calls.len());
    let names: Vec<&str> = spec.schema.names().skip(first).collect();
    let calls = spec.calls.iter().zip(&names).map(|(c, name)| format!("{} AS {name}", over_call(c)));
    text.push(("calls", calls.collect::<Vec<_>>().join(", ")));
    if !spec.partition_by.is_empty() {
        text.push(("partition", exprs(&spec.partition_by)));
    }
    if !spec.order_by.is_empty() {
        text.push(("by", sort_keys(&spec.order_by)));
    }
    let over_time = matches!(
        spec.order_by.first().map(|k| k.expr.data_type()),
        Some(DataType::Timestamp | DataType::Date | DataType::Time)
    );
    text.push(("frame", frame(&spec.frame, over_time)));
    let emit = match spec.streaming {
        Some(streaming) if streaming.lateness > 0 => {
            format!("streaming, {} behind the watermark", duration(streaming.lateness))
        }
        Some(_) => "streaming, as the watermark passes".into(),
        None => "at the end".into(),
    };
    text.push(("emit", emit));
    text.extend(spec.ttl.map(|ttl| ("state_ttl", format!("{} by event time", duration(ttl)))));
    text
}

fn over_call(function: &OverFunction) -> String {
    let value = |name: &str, expr: &Expr, n: &Expr, default: &Option<Expr>| match default {
        Some(default) => format!("{name}({expr}, {n}, {default})"),
        None => format!("{name}({expr}, {n})"),
    };
    match function {
        OverFunction::Aggregate(c) => call(c),
        OverFunction::RowNumber => "row_number()".into(),
        OverFunction::Rank => "rank()".into(),
        OverFunction::DenseRank => "dense_rank()".into(),
        OverFunction::PercentRank => "percent_rank()".into(),
        OverFunction::CumeDist => "cume_dist()".into(),
        OverFunction::Ntile(n) => format!("ntile({n})"),
        OverFunction::Lag { expr, offset, default } => value("lag", expr, offset, default),
        OverFunction::Lead { expr, offset, default } => value("lead", expr, offset, default),
        OverFunction::FirstValue(e) => format!("first_value({e})"),
        OverFunction::LastValue(e) => format!("last_value({e})"),
        OverFunction::NthValue { expr, n } => format!("nth_value({expr}, {n})"),
    }
}

fn frame(frame: &Frame, over_time: bool) -> String {
    let distance = |n: i64| match frame.scale {
        0 if over_time && !frame.rows => duration(n),
        0 => n.to_string(),
        scale => Decimal::new(n, u32::from(scale)).to_string(),
    };
    let bound = |b: FrameBound| match b {
        FrameBound::UnboundedPreceding => "UNBOUNDED PRECEDING".to_owned(),
        FrameBound::Preceding(n) => format!("{} PRECEDING", distance(n)),
        FrameBound::CurrentRow => "CURRENT ROW".to_owned(),
        FrameBound::Following(n) => format!("{} FOLLOWING", distance(n)),
        FrameBound::UnboundedFollowing => "UNBOUNDED FOLLOWING".to_owned(),
    };
    let unit = if frame.rows { "ROWS" } else { "RANGE" };
    format!("{unit} BETWEEN {} AND {}", bound(frame.start), bound(frame.end))
}

fn top_n(spec: &TopNSpec) -> Attributes {
    let mut text = Vec::new();
    if !spec.partition_by.is_empty() {
        text.push(("partition", exprs(&spec.partition_by)));
    }
    if !spec.order_by.is_empty() {
        text.push(("by", sort_keys(&spec.order_by)));
    }
    if spec.limit < u64::MAX {
        text.push(("count", spec.limit.to_string()));
    }
    if spec.offset > 0 {
        text.push(("offset", spec.offset.to_string()));
    }
    if spec.with_rank {
        let name = spec.schema.names().last().unwrap_or("rank");
        text.push(("rank", name.to_owned()));
    }
    text.push(("emit", emit(spec.emit).into()));
    text.extend(spec.expiry().map(time_to_live));
    if spec.retracts {
        text.push(("input", "changes".into()));
    }
    text
}

fn time_to_live(ttl: Ttl) -> (&'static str, String) {
    let time = if ttl.event_time { "event time" } else { "the clock" };
    ("state_ttl", format!("{} by {time}", duration(ttl.micros)))
}

/// A duration in its largest whole unit: `90s`, `1h`.
pub(super) fn duration(micros: i64) -> String {
    const UNITS: [(i64, &str); 6] = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1_000, "ms"),
        (1, "us"),
    ];
    let fits = UNITS.iter().find(|(unit, _)| micros != 0 && micros % unit == 0);
    fits.map_or_else(|| "0s".to_owned(), |(unit, name)| format!("{}{name}", micros / unit))
}

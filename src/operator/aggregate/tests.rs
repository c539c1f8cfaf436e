//! Aggregations by hand-made plans, against a reference that sees all rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::AggregateOp;
use crate::expr::{AggregateCall, BinaryOp, Expr, FunctionRegistry, typing};
use crate::operator::crash_kit;
use crate::operator::test_kit::Bench;
use crate::operator::{InputId, Operator, Shards, StateReader, StateWriter, Workers};
use crate::plan::{AggregateSpec, Emit, LatePolicy, Ttl, WindowKind, WindowSpec};
use crate::record::{Batch, DataType, Field, FieldValue, RowKind, Schema, StreamRecord};

/// Small, seeded, and the same everywhere (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    fn below(&mut self, n: i64) -> i64 {
        (self.next() % n as u64) as i64
    }
}

fn input() -> Arc<Schema> {
    Schema::of([("t", DataType::Timestamp), ("k", DataType::BigInt), ("x", DataType::BigInt)])
}

fn column(at: usize) -> Expr {
    typing::column(&input(), at).unwrap()
}

fn call(name: &str, args: Vec<Expr>, distinct: bool) -> AggregateCall {
    typing::aggregate_call(&FunctionRegistry::builtin(), name, args, distinct, None, vec![]).unwrap()
}

fn calls() -> Vec<AggregateCall> {
    vec![
        call("count", vec![], false),
        call("sum", vec![column(2)], false),
        call("min", vec![column(2)], false),
        call("max", vec![column(2)], false),
        call("avg", vec![column(2)], false),
    ]
}

fn spec(kind: Option<WindowKind>, lateness: i64, late: LatePolicy, emit: Emit) -> AggregateSpec {
    let window = kind.map(|kind| WindowSpec {
        kind,
        time: column(0),
        start: None,
        lateness,
        late,
        has_watermark: true,
    });
    let mut fields = vec![Field::new("k", DataType::BigInt)];
    if window.is_some() {
        fields.push(Field::new("window_start", DataType::Timestamp));
        fields.push(Field::new("window_end", DataType::Timestamp));
    }
    let calls = calls();
    fields.extend(calls.iter().enumerate().map(|(i, c)| Field::new(format!("c{i}"), c.data_type.clone())));
    AggregateSpec {
        keys: vec![column(1)],
        grouping_sets: vec![],
        window,
        calls,
        having: None,
        unseen: Vec::new(),
        emit,
        retracts: false,
        ttl: None,
        schema: Schema::new(fields),
    }
}

/// One row of a random stream, with the watermark that holds just before it.
#[derive(Clone, Copy, Debug)]
struct Event {
    t: i64,
    k: Option<i64>,
    x: Option<i64>,
    watermark: i64,
    kind: RowKind,
}

/// Out of order within `bound` and beyond, ties, duplicates, NULLs, gaps of many windows.
fn stream(random: &mut Random, rows: usize, keys: i64) -> Vec<Event> {
    let bound = random.below(20);
    let (gaps, mess) = (random.below(3) == 0, random.below(40) + 1);
    let mut now = random.below(200) - 100;
    let mut watermark = i64::MIN;
    let mut events: Vec<Event> = Vec::new();
    for _ in 0..rows {
        now += random.below(4);
        if gaps && random.below(40) == 0 {
            now += random.below(1000);
        }
        let t = now - if random.below(3) == 0 { random.below(mess) } else { 0 };
        let null = |v: i64, n: i64| (n != 0).then_some(v);
        let mut event = Event {
            t,
            k: null(random.below(keys), random.below(20)),
            x: null(random.below(100) - 30, random.below(10)),
            watermark,
            kind: RowKind::Insert,
        };
        if let Some(last) = events.last().filter(|_| random.below(15) == 0) {
            event = Event { watermark, ..*last };
        }
        events.push(event);
        watermark = watermark.max(event.t - bound);
    }
    events
}

fn record(e: &Event) -> Arc<StreamRecord> {
    let int = |v: Option<i64>| v.map_or(FieldValue::Null, FieldValue::Integer);
    let mut r = StreamRecord::with_values(input(), [FieldValue::Timestamp(e.t), int(e.k), int(e.x)]);
    r.set_watermark(e.watermark);
    r.set_kind(e.kind);
    Arc::new(r)
}

/// A row as text: kind, values.
type Rows = Vec<String>;

fn text(values: &[FieldValue]) -> String {
    values.iter().map(crate::expr::to_text).collect::<Vec<_>>().join(",")
}

fn rows(bench: &Bench) -> Rows {
    bench.records().map(|r| format!("{} {}", r.kind().symbol(), text(r.values()))).collect()
}

/// Runs events in batches of `batch`, telling the watermark at batch ends; at `cut` the state moves to `shards.1` shards.
fn run(spec: &AggregateSpec, events: &[Event], batch: usize, shards: (usize, usize), cut: usize) -> Bench {
    let mut op = AggregateOp::new(spec, Shards { count: shards.0, forced: true }).unwrap();
    let mut bench = Bench::new();
    bench.workers = Workers::new(shards.0);
    let mut done = 0;
    for chunk in events.chunks(batch) {
        bench.process(&mut op, Batch::new(chunk.iter().map(record).collect()));
        done += chunk.len();
        if let Some(next) = events.get(done) {
            bench.watermark(&mut op, InputId(0), next.watermark);
        }
        if done >= cut && done - chunk.len() < cut {
            let mut to = StateWriter::new();
            op.snapshot(&mut to).unwrap();
            let bytes = to.into_bytes();
            op = AggregateOp::new(spec, Shards { count: shards.1, forced: true }).unwrap();
            let mut from = StateReader::new(&bytes);
            op.restore(&mut from).unwrap();
            assert!(from.is_empty());
            // What was restored is written, and restored and written again, the same.
            let mut again = StateWriter::new();
            op.snapshot(&mut again).unwrap();
            let again = again.into_bytes();
            let mut copy = AggregateOp::new(spec, Shards { count: shards.1, forced: true }).unwrap();
            copy.restore(&mut StateReader::new(&again)).unwrap();
            let mut third = StateWriter::new();
            copy.snapshot(&mut third).unwrap();
            assert_eq!(third.into_bytes(), again);
        }
    }
    bench.end(&mut op);
    assert_eq!(bench.fatal, None);
    bench.check_ledger();
    bench
}

/// What the calls give for these rows.
fn results(xs: &[Option<i64>]) -> Vec<FieldValue> {
    let some: Vec<i64> = xs.iter().flatten().copied().collect();
    let or_null = |v: Option<i64>| v.map_or(FieldValue::Null, FieldValue::Integer);
    let sum: i64 = some.iter().sum();
    vec![
        FieldValue::Integer(xs.len() as i64),
        or_null((!some.is_empty()).then_some(sum)),
        or_null(some.iter().min().copied()),
        or_null(some.iter().max().copied()),
        if some.is_empty() { FieldValue::Null } else { FieldValue::Float(sum as f64 / some.len() as f64) },
    ]
}

fn row(k: Option<i64>, span: Option<(i64, i64)>, xs: &[Option<i64>]) -> String {
    let mut values = vec![k.map_or(FieldValue::Null, FieldValue::Integer)];
    values.extend(span.iter().flat_map(|(end, start)| [*start, *end]).map(FieldValue::Timestamp));
    values.extend(results(xs));
    text(&values)
}

/// All windows `(end, start)` that hold `t`, found by trying.
fn windows_of(kind: WindowKind, t: i64) -> Vec<(i64, i64)> {
    let mut spans = Vec::new();
    match kind {
        WindowKind::Tumble { size } => {
            spans.push((t.div_euclid(size) * size + size, t.div_euclid(size) * size))
        }
        WindowKind::Hop { slide, size } => {
            let last = t.div_euclid(slide) * slide;
            let starts = (0..=size / slide + 1).map(|i| last - i * slide).filter(|s| t < s + size);
            spans.extend(starts.map(|s| (s + size, s)));
        }
        WindowKind::Cumulate { step, size } => {
            let start = t.div_euclid(size) * size;
            let ends = (1..=size / step).map(|i| start + i * step).filter(|e| t < *e);
            spans.extend(ends.map(|e| (e, start)));
        }
        WindowKind::Session { .. } | WindowKind::Given => unreachable!(),
    }
    spans.sort_unstable();
    spans
}

/// The reference: keeps every row of every window, and looks at all windows before each record.
fn reference(spec: &AggregateSpec, events: &[Event]) -> (Rows, u64) {
    struct Window {
        fired: bool,
        groups: Vec<(Option<i64>, Vec<Option<i64>>)>,
    }
    let WindowSpec { kind, lateness, late, .. } = spec.window.clone().unwrap();
    let corrects = late == LatePolicy::Update;
    let mut windows: BTreeMap<(i64, i64), Window> = BTreeMap::new();
    let (mut out, mut late_rows) = (Vec::new(), 0);
    let advance = |windows: &mut BTreeMap<(i64, i64), Window>, w: i64, out: &mut Rows| {
        windows.retain(|span, window| {
            let due = if corrects { span.0 } else { span.0 + lateness };
            if !window.fired && due <= w {
                window.fired = true;
                out.extend(window.groups.iter().map(|(k, xs)| format!("+I {}", row(*k, Some(*span), xs))));
            }
            w < span.0.saturating_add(lateness)
        });
    };
    for e in events {
        advance(&mut windows, e.watermark, &mut out);
        let spans: Vec<_> = windows_of(kind, e.t);
        let open: Vec<_> = spans.iter().filter(|s| e.watermark < s.0 + lateness).copied().collect();
        late_rows += u64::from(!spans.is_empty() && open.is_empty());
        for span in open {
            let fired = corrects && span.0 <= e.watermark;
            let window = windows.entry(span).or_insert(Window { fired, groups: vec![] });
            let known = window.groups.iter().position(|(k, _)| *k == e.k);
            let at = known.unwrap_or_else(|| {
                window.groups.push((e.k, vec![]));
                window.groups.len() - 1
            });
            let xs = &mut window.groups[at].1;
            let before = row(e.k, Some(span), xs);
            xs.push(e.x);
            let after = row(e.k, Some(span), xs);
            if window.fired {
                match known {
                    None => out.push(format!("+I {after}")),
                    Some(_) if before == after => {}
                    Some(_) => out.extend([format!("-U {before}"), format!("+U {after}")]),
                }
            }
        }
    }
    advance(&mut windows, i64::MAX, &mut out);
    (out, late_rows)
}

/// The same for sessions, which it finds by merging rows that meet.
fn session_reference(spec: &AggregateSpec, events: &[Event]) -> (Rows, u64) {
    struct Session {
        k: Option<i64>,
        first: usize,
        span: (i64, i64),
        xs: Vec<Option<i64>>,
        fired: bool,
        shown: Option<((i64, i64), String)>,
    }
    let WindowSpec { kind: WindowKind::Session { gap }, lateness, late, .. } = spec.window.clone().unwrap()
    else {
        panic!()
    };
    let corrects = late == LatePolicy::Update;
    let mut sessions: Vec<Session> = Vec::new();
    let (mut out, mut late_rows) = (Vec::new(), 0);
    let advance = |sessions: &mut Vec<Session>, w: i64, out: &mut Rows| {
        sessions.sort_by_key(|s| (s.span, s.first));
        for s in &mut *sessions {
            let due = if corrects { s.span.0 } else { s.span.0 + lateness };
            if !s.fired && due <= w {
                s.fired = true;
                let text = row(s.k, Some(s.span), &s.xs);
                out.push(format!("+I {text}"));
                s.shown = Some((s.span, text));
            }
        }
        sessions.retain(|s| w < s.span.0.saturating_add(lateness));
    };
    for (i, e) in events.iter().enumerate() {
        advance(&mut sessions, e.watermark, &mut out);
        let meets = |s: &Session| s.k == e.k && s.span.1 < e.t + gap && e.t < s.span.0;
        let (mut met, rest): (Vec<Session>, Vec<Session>) = sessions.into_iter().partition(meets);
        sessions = rest;
        if met.is_empty() && e.t + gap + lateness <= e.watermark {
            late_rows += 1;
            continue;
        }
        met.sort_by_key(|s| s.first);
        let start = met.iter().map(|s| s.span.1).min().unwrap_or(e.t).min(e.t);
        let end = met.iter().map(|s| s.span.0).max().unwrap_or(e.t + gap).max(e.t + gap);
        let mut shown = None;
        for s in &mut met {
            match s.shown.take() {
                Some((span, text)) if span == (end, start) => shown = Some((span, text)),
                Some((_, text)) => out.push(format!("-D {text}")),
                None => {}
            }
        }
        let mut xs: Vec<Option<i64>> = met.iter().flat_map(|s| s.xs.clone()).collect();
        xs.push(e.x);
        let fired = corrects && end <= e.watermark;
        let first = met.iter().map(|s| s.first).min().unwrap_or(i);
        let mut made = Session { k: e.k, first, span: (end, start), xs, fired, shown };
        if fired {
            let after = row(e.k, Some(made.span), &made.xs);
            match made.shown.take() {
                None => out.push(format!("+I {after}")),
                Some((_, before)) if before == after => {}
                Some((_, before)) => out.extend([format!("-U {before}"), format!("+U {after}")]),
            }
            made.shown = Some((made.span, after));
        }
        sessions.push(made);
    }
    advance(&mut sessions, i64::MAX, &mut out);
    (out, late_rows)
}

#[test]
fn sessions_are_per_key_and_merge_and_give_what_a_reference_gives() {
    for seed in 4000..4400 {
        let mut random = Random(seed);
        let (lateness, late) = policy(&mut random);
        let keys = [1, 3, 50, 10_000][random.below(4) as usize];
        let rows_in = random.below(300) as usize;
        let events = stream(&mut random, rows_in, keys);
        let kind = WindowKind::Session { gap: random.below(25) + 1 };
        let spec = spec(Some(kind), lateness, late, Emit::Final);
        let (expected, late_rows) = session_reference(&spec, &events);
        for (batch, shards) in [(1, (1, 3)), (7, (3, 8)), (1000, (8, 1))] {
            let cut = random.below(rows_in as i64 + 1) as usize;
            let bench = run(&spec, &events, batch, shards, cut);
            let told = format!("seed {seed}: {kind:?} {lateness} {late:?}, batches of {batch}, cut {cut}");
            assert_eq!(rows(&bench), expected, "{told}");
            assert_eq!(bench.counters.late, late_rows, "{told}");
        }
    }
}

#[test]
fn sessions_shown_as_they_change_end_where_final_ones_do() {
    for seed in 5000..5150 {
        let mut random = Random(seed);
        let (lateness, late) = policy(&mut random);
        let events = stream(&mut random, 200, 4);
        let kind = WindowKind::Session { gap: random.below(25) + 1 };
        let last = applied(&session_reference(&spec(Some(kind), lateness, late, Emit::Final), &events).0);
        let mut first = None;
        for (batch, shards) in [(1, (1, 1)), (7, (3, 2)), (1000, (8, 3))] {
            let changes = run(&spec(Some(kind), lateness, late, Emit::Changes), &events, batch, shards, 60);
            assert_eq!(applied(&rows(&changes)), last, "seed {seed} {kind:?} {late:?} batch {batch}");
            let each = spec(Some(kind), lateness, late, Emit::EveryChange);
            let each = rows(&run(&each, &events, batch, shards, 60));
            assert_eq!(applied(&each), last, "seed {seed}");
            assert_eq!(first.get_or_insert_with(|| each.clone()), &each, "the same for any batch");
        }
    }
}

/// The rows, or where they part.
fn assert_same(got: &Rows, expected: &Rows, told: &str) {
    let at = (0..got.len().max(expected.len())).find(|&i| got.get(i) != expected.get(i));
    if let Some(i) = at {
        panic!("{told}: row {i}: {:?}, expected {:?}", got.get(i), expected.get(i));
    }
}

fn kinds(random: &mut Random) -> WindowKind {
    let size = random.below(40) + 1;
    match random.below(4) {
        0 => WindowKind::Tumble { size },
        1 | 2 => WindowKind::Hop { slide: random.below(30) + 1, size },
        _ => {
            let step = random.below(10) + 1;
            WindowKind::Cumulate { step, size: step * (random.below(6) + 1) }
        }
    }
}

/// Windows of many slices.
fn many_slices(random: &mut Random) -> WindowKind {
    let step = random.below(7) + 1;
    match random.below(3) {
        0 => WindowKind::Cumulate { step, size: step * (random.below(40) + 1) },
        _ => WindowKind::Hop { slide: step, size: random.below(160) + 1 },
    }
}

fn policy(random: &mut Random) -> (i64, LatePolicy) {
    let late = [LatePolicy::Drop, LatePolicy::DeadLetter, LatePolicy::Update][random.below(3) as usize];
    (random.below(3) * random.below(20), late)
}

#[test]
fn windows_give_what_a_reference_gives_that_sees_all_rows() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let kind = if seed % 4 == 0 { many_slices(&mut random) } else { kinds(&mut random) };
        let (lateness, late) = policy(&mut random);
        let keys = [1, 3, 50, 10_000][random.below(4) as usize];
        let rows_in = random.below(if seed % 4 == 0 { 150 } else { 400 }) as usize;
        let events = stream(&mut random, rows_in, keys);
        let spec = spec(Some(kind), lateness, late, Emit::Final);
        let (expected, late_rows) = reference(&spec, &events);
        for (batch, shards) in [(1, (1, 3)), (7, (3, 8)), (1000, (8, 1))] {
            let cut = random.below(rows_in as i64 + 1) as usize;
            let bench = run(&spec, &events, batch, shards, cut);
            let told = format!(
                "seed {seed}: {kind:?} {lateness} {late:?}, batches of {batch}, shards {shards:?}, cut {cut}"
            );
            assert_same(&rows(&bench), &expected, &told);
            assert_eq!(bench.counters.late, late_rows, "{told}");
            let letters = if late == LatePolicy::DeadLetter { late_rows } else { 0 };
            assert_eq!(bench.rejects.len() as u64, letters, "{told}");
        }
    }
}

/// What remains of a changelog: each row must find the state that it speaks of.
fn applied(changes: &Rows) -> Vec<String> {
    let mut table: Vec<String> = Vec::new();
    for change in changes {
        let (kind, row) = change.split_once(' ').unwrap();
        if let "-U" | "-D" = kind {
            let at = table.iter().position(|r| r == row).unwrap_or_else(|| panic!("{change}: not there"));
            table.remove(at);
        } else {
            table.push(row.to_owned());
        }
    }
    table.sort();
    table
}

#[test]
fn emit_changes_ends_where_emit_final_does() {
    for seed in 1000..1200 {
        let mut random = Random(seed);
        let kind = kinds(&mut random);
        let (lateness, late) = policy(&mut random);
        let events = stream(&mut random, 200, 5);
        let mut last = applied(&reference(&spec(Some(kind), lateness, late, Emit::Final), &events).0);
        last.sort();
        let per_record = spec(Some(kind), lateness, late, Emit::EveryChange);
        let mut first = None;
        for (batch, shards) in [(1, (1, 1)), (7, (3, 2)), (1000, (8, 3))] {
            let changes = spec(Some(kind), lateness, late, Emit::Changes);
            let bench = run(&changes, &events, batch, shards, 50);
            assert_eq!(
                applied(&rows(&bench)),
                last,
                "seed {seed}: {kind:?} {lateness} {late:?} batch {batch}"
            );
            let each = rows(&run(&per_record, &events, batch, shards, 50));
            assert_eq!(applied(&each), last);
            assert_eq!(first.get_or_insert_with(|| each.clone()), &each, "the same for any batch");
        }
    }
}

/// Rows that come, and some that go again.
fn changelog(random: &mut Random, rows: usize) -> Vec<Event> {
    let mut there: Vec<Event> = Vec::new();
    let mut events = Vec::new();
    for mut e in stream(random, rows, 4) {
        if !there.is_empty() && random.below(3) == 0 {
            let mut gone = there.swap_remove(random.below(there.len() as i64) as usize);
            gone.kind = if random.below(2) == 0 { RowKind::Delete } else { RowKind::UpdateBefore };
            events.push(gone);
        }
        e.watermark = i64::MIN;
        e.kind = if random.below(2) == 0 { RowKind::Insert } else { RowKind::UpdateAfter };
        there.push(e);
        events.push(e);
    }
    events
}

#[test]
fn groups_follow_rows_that_come_and_go() {
    for seed in 2000..2100 {
        let mut random = Random(seed);
        let events = changelog(&mut random, 100);
        let mut groups: BTreeMap<Option<i64>, Vec<Option<i64>>> = BTreeMap::new();
        for e in &events {
            let xs = groups.entry(e.k).or_default();
            if super::shape::adds(&record(e)) {
                xs.push(e.x);
            } else {
                let at = xs.iter().position(|x| *x == e.x).unwrap();
                xs.remove(at);
            }
        }
        groups.retain(|_, xs| !xs.is_empty());
        let mut expected: Vec<String> = groups.iter().map(|(k, xs)| row(*k, None, xs)).collect();
        expected.sort();
        let mut first = None;
        for (batch, shards) in [(1, (1, 1)), (7, (3, 8)), (1000, (8, 2))] {
            for emit in [Emit::Final, Emit::Changes, Emit::EveryChange] {
                let spec = AggregateSpec { retracts: true, ..spec(None, 0, LatePolicy::Drop, emit) };
                let bench = run(&spec, &events, batch, shards, 60);
                assert_eq!(applied(&rows(&bench)), expected, "seed {seed} {emit:?} batch {batch}");
                if emit == Emit::EveryChange {
                    let each = rows(&bench);
                    assert_eq!(first.get_or_insert_with(|| each.clone()), &each, "seed {seed}");
                }
            }
        }
    }
}

/// Groups after these events when untouched ones go, and how many went: (first, touched, rows) by key.
fn with_ttl(events: &[Event], ttl: i64) -> (Vec<String>, u64) {
    let mut groups: BTreeMap<Option<i64>, (i64, Vec<Option<i64>>)> = BTreeMap::new();
    let mut expired = 0;
    for e in events {
        if e.watermark > i64::MIN {
            // The time of groups touched before there was a watermark begins with the first one.
            groups.values_mut().filter(|g| g.0 == i64::MIN).for_each(|g| g.0 = e.watermark);
            let before = groups.len();
            groups.retain(|_, (touched, _)| *touched + ttl > e.watermark);
            expired += (before - groups.len()) as u64;
        }
        let group = groups.entry(e.k).or_insert((e.watermark, Vec::new()));
        group.0 = group.0.max(e.watermark);
        group.1.push(e.x);
    }
    let mut left: Vec<String> = groups.iter().map(|(k, (_, xs))| row(*k, None, xs)).collect();
    left.sort();
    (left, expired)
}

#[test]
fn groups_that_nothing_touches_for_their_time_to_live_are_deleted_and_start_anew() {
    let mut all = 0;
    for seed in 3000..3120 {
        let mut random = Random(seed);
        let keys = 1 + random.below(30);
        let events = stream(&mut random, 150, keys);
        let micros = 1 + random.below(60);
        let (expected, expired) = with_ttl(&events, micros);
        all += expired;
        let mut first = None;
        for (batch, shards) in [(1, (1, 1)), (7, (3, 8)), (1000, (8, 2))] {
            for emit in [Emit::Changes, Emit::EveryChange] {
                let ttl = Some(Ttl { micros, event_time: true });
                let spec = AggregateSpec { ttl, ..spec(None, 0, LatePolicy::Drop, emit) };
                let bench = run(&spec, &events, batch, shards, 60);
                let told = format!("seed {seed} {emit:?} batch {batch} ttl {micros}");
                assert_eq!(applied(&rows(&bench)), expected, "{told}");
                assert_eq!(bench.counters.expired, expired, "{told}");
                if emit == Emit::EveryChange {
                    let each = rows(&bench);
                    assert_eq!(first.get_or_insert_with(|| each.clone()), &each, "{told}");
                }
            }
        }
    }
    assert!(all > 1000, "{all} groups expired");
}

#[test]
fn many_groups_leave_in_parts_in_the_order_of_their_arrival() {
    let spec = spec(None, 0, LatePolicy::Drop, Emit::Final);
    // So many that each of three shards takes records in blocks.
    let groups = 4 * super::firing::PART as i64 + 5;
    // Twice each, in two orders.
    let key = |n: i64| n * 7919 % groups;
    let order = (0..groups).chain((0..groups).rev());
    let watermark = i64::MIN;
    let event = |n| Event { t: 0, k: Some(key(n)), x: Some(n), watermark, kind: RowKind::Insert };
    let events: Vec<Event> = order.map(event).collect();
    for shards in [1, 3] {
        let mut op = AggregateOp::new(&spec, Shards { count: shards, forced: false }).unwrap();
        let mut bench = Bench::new();
        for chunk in events.chunks(1000) {
            bench.process(&mut op, Batch::new(chunk.iter().map(record).collect()));
        }
        assert!(op.takes_blocks(), "{shards} shards");
        let mut parts = Vec::new();
        bench.run(|out| op.on_end(InputId(0), out));
        let mut more = true;
        while more {
            parts.push(bench.records().count() - parts.iter().sum::<usize>());
            bench.run(|out| more = op.emit_more(out));
        }
        let whole = super::firing::PART;
        assert_eq!(parts, [whole, whole, whole, whole, 5], "{shards} shards");
        let expected: Vec<String> =
            (0..groups).map(|n| format!("+I {}", row(Some(key(n)), None, &[Some(n), Some(n)]))).collect();
        assert!(rows(&bench) == expected, "{shards} shards");
    }
}

#[test]
fn records_that_fail_are_told_once_and_in_order_however_many_lanes_there_are() {
    let mut random = Random(77);
    let by_x = || typing::binary(BinaryOp::Divide, column(1), column(2)).unwrap();
    for keyed in [true, false] {
        // The key fails where x is 0, or the argument does.
        let mut spec = spec(None, 0, LatePolicy::Drop, Emit::Final);
        match keyed {
            true => spec.keys = vec![by_x()],
            false => spec.calls = vec![call("count", vec![], false), call("sum", vec![by_x()], false)],
        }
        if !keyed {
            spec.schema =
                Schema::of([("k", DataType::BigInt), ("n", DataType::BigInt), ("s", DataType::BigInt)]);
        }
        let events: Vec<Event> = (0..3000)
            .map(|t| Event {
                t,
                k: Some(random.below(1200)),
                x: Some(random.below(9)),
                watermark: i64::MIN,
                kind: RowKind::Insert,
            })
            .collect();
        let told = |lanes: usize, shards: usize| {
            let mut op = AggregateOp::new(&spec, Shards { count: shards, forced: true }).unwrap();
            let mut bench = Bench::new();
            bench.workers = Workers::new(lanes);
            for chunk in events.chunks(700) {
                bench.process(&mut op, Batch::new(chunk.iter().map(record).collect()));
            }
            bench.end(&mut op);
            bench.check_ledger();
            let failed: Vec<Vec<FieldValue>> =
                bench.rejects.iter().map(|r| r.record.values().to_vec()).collect();
            (failed, rows(&bench))
        };
        let alone = told(1, 1);
        assert!(alone.0.len() > 200 && alone.0.len() == events.iter().filter(|e| e.x == Some(0)).count());
        for (lanes, shards) in [(2, 2), (3, 8), (4, 3)] {
            assert!(told(lanes, shards) == alone, "keyed {keyed}, {lanes} lanes, {shards} shards");
        }
    }
}

#[test]
fn changes_alone_are_in_a_snapshot_and_bring_it_back_in_any_number_of_shards() {
    let session = WindowKind::Session { gap: 12 };
    for (at, (kind, late, emit)) in [
        (Some(session), LatePolicy::Drop, Emit::Final),
        (Some(session), LatePolicy::Update, Emit::Final),
        (Some(session), LatePolicy::Drop, Emit::Changes),
        (Some(session), LatePolicy::Drop, Emit::EveryChange),
        (None, LatePolicy::Drop, Emit::Changes),
    ]
    .into_iter()
    .enumerate()
    {
        let spec = spec(kind, 10, late, emit);
        let events = stream(&mut Random(at as u64 + 1), 400, 40);
        let batch = |at: usize| {
            let rows: Vec<_> = events.iter().skip(at * 5).take(5).map(record).collect();
            let next = events.get(at * 5 + 5).or(events.last()).map_or(i64::MIN, |e| e.watermark);
            (Batch::new(rows), next)
        };
        let make = |crashes: usize| {
            let shards = Shards { count: 1 + crashes * 3 % 4, forced: true };
            Box::new(AggregateOp::new(&spec, shards).unwrap()) as Box<dyn Operator>
        };
        crash_kit::check(60, &make, 80, &batch);
    }
}

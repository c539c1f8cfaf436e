//! Windows by brute force: every window keeps all its rows, and every result is computed from all of them.

use std::collections::BTreeMap;

use crate::aggregate::time;
use crate::changes::{Change, change};
use crate::query::{Emit, Kind, Query};
use crate::stream::Row;

/// The result, and the `id`s of the rows that were too late for every window.
pub struct Outcome {
    pub changes: Vec<Change>,
    pub late: Vec<i64>,
}

/// The windows `[start, end)` of a time, as `(end, start)`, in order.
pub fn windows_of(kind: Kind, ts: i64) -> Vec<(i64, i64)> {
    let mut all = match kind {
        Kind::All | Kind::Session { .. } => vec![],
        Kind::Tumble { size } => vec![(ts.div_euclid(size) * size + size, ts.div_euclid(size) * size)],
        Kind::Hop { slide, size } => {
            let last = ts.div_euclid(slide) * slide;
            (0..).map(|i| last - i * slide).take_while(|s| s + size > ts).map(|s| (s + size, s)).collect()
        }
        Kind::Cumulate { step, size } => {
            let start = ts.div_euclid(size) * size;
            (1..=size / step).map(|i| (start + i * step, start)).filter(|(end, _)| *end > ts).collect()
        }
    };
    all.sort_unstable();
    all
}

impl Query {
    fn key(&self, row: &Row) -> Vec<String> {
        self.keys.iter().map(|k| (k.value)(row)).collect()
    }

    /// The row of a group, unless HAVING takes it away.
    fn result(&self, window: Option<(i64, i64)>, rows: &[&Row]) -> Option<Vec<String>> {
        if self.having.is_some_and(|h| !(h.holds)(rows)) {
            return None;
        }
        let bounds = window.into_iter().flat_map(|(end, start)| [time(start), time(end)]);
        let key = rows.first().map(|r| self.key(r)).unwrap_or_default();
        Some(bounds.chain(key).chain(self.aggregates.iter().map(|a| (a.value)(rows))).collect())
    }
}

#[derive(Default)]
struct Group<'a> {
    key: Vec<String>,
    rows: Vec<&'a Row>,
    shown: Option<Vec<String>>,
}

#[derive(Default)]
struct Window<'a> {
    fired: bool,
    /// In the order of their first rows.
    groups: Vec<Group<'a>>,
}

/// The result of a query over rows with the watermark before each.
pub fn outcome(query: &Query, rows: &[Row], before: &[i64]) -> Outcome {
    match query.kind {
        Kind::All => unwindowed(query, rows),
        Kind::Session { gap } => sessions(query, gap, rows, before),
        _ => aligned(query, rows, before),
    }
}

/// Windows that are aligned.
fn aligned(query: &Query, rows: &[Row], before: &[i64]) -> Outcome {
    let mut open: BTreeMap<(i64, i64), Window<'_>> = BTreeMap::new();
    let mut outcome = Outcome { changes: vec![], late: vec![] };
    for (row, &watermark) in rows.iter().zip(before) {
        fire(query, &mut open, watermark, &mut outcome.changes);
        let Some(ts) = row.ts else { continue };
        let windows = windows_of(query.kind, ts);
        let any = !windows.is_empty();
        let fits: Vec<_> = windows.into_iter().filter(|w| !query.policy.is_closed(w.0, watermark)).collect();
        if any && fits.is_empty() {
            outcome.late.push(row.id);
        }
        for at in fits {
            let window = open.entry(at).or_default();
            window.fired |= query.policy.has_fired(at.0, watermark);
            let key = query.key(row);
            let group = match window.groups.iter().position(|g| g.key == key) {
                Some(i) => &mut window.groups[i],
                None => {
                    window.groups.push(Group { key, ..Group::default() });
                    window.groups.last_mut().unwrap()
                }
            };
            group.rows.push(row);
            if window.fired || query.emit != Emit::Final {
                let after = query.result(Some(at), &group.rows);
                outcome.changes.extend(change(group.shown.as_ref(), after.clone()));
                group.shown = after;
            }
        }
    }
    fire(query, &mut open, i64::MAX, &mut outcome.changes);
    outcome
}

fn fire(query: &Query, open: &mut BTreeMap<(i64, i64), Window<'_>>, watermark: i64, out: &mut Vec<Change>) {
    let over = |end| watermark == i64::MAX || query.policy.has_fired(end, watermark);
    for (at, window) in open.iter_mut().filter(|(at, w)| !w.fired && over(at.0)) {
        window.fired = true;
        if query.emit == Emit::Final {
            for group in &mut window.groups {
                group.shown = query.result(Some(*at), &group.rows);
                out.extend(change(None, group.shown.clone()));
            }
        }
    }
    open.retain(|at, _| watermark != i64::MAX && !query.policy.is_closed(at.0, watermark));
}

/// Groups without window: what is shown at the end, or after each row.
fn unwindowed(query: &Query, rows: &[Row]) -> Outcome {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut changes = Vec::new();
    // The one group of all rows is there without any; as a changelog it begins with the first.
    if query.keys.is_empty() && (query.emit == Emit::Final || rows.is_empty()) {
        groups.push(Group::default());
    }
    for row in rows {
        let key = query.key(row);
        let at = groups.iter().position(|g| g.key == key).unwrap_or_else(|| {
            groups.push(Group { key, ..Group::default() });
            groups.len() - 1
        });
        groups[at].rows.push(row);
        if query.emit != Emit::Final {
            let after = query.result(None, &groups[at].rows);
            changes.extend(change(groups[at].shown.as_ref(), after.clone()));
            groups[at].shown = after;
        }
    }
    if query.emit == Emit::Final || rows.is_empty() {
        changes = groups.iter().filter_map(|g| query.result(None, &g.rows)).map(Change::insert).collect();
    }
    Outcome { changes, late: vec![] }
}

struct Session<'a> {
    key: Vec<String>,
    start: i64,
    end: i64,
    /// With their numbers.
    rows: Vec<(usize, &'a Row)>,
    shown: Option<Vec<String>>,
    fired: bool,
}

impl Session<'_> {
    fn result(&self, query: &Query) -> Option<Vec<String>> {
        let rows: Vec<&Row> = self.rows.iter().map(|(_, r)| *r).collect();
        query.result(Some((self.end, self.start)), &rows)
    }
}

/// Sessions of each key. Of corrections only the sum is specified.
fn sessions(query: &Query, gap: i64, rows: &[Row], before: &[i64]) -> Outcome {
    let mut open: Vec<Session<'_>> = Vec::new();
    let mut outcome = Outcome { changes: vec![], late: vec![] };
    for (number, (row, &watermark)) in rows.iter().zip(before).enumerate() {
        end_sessions(query, &mut open, watermark, &mut outcome.changes);
        let Some(ts) = row.ts else { continue };
        let key = query.key(row);
        let touches = |s: &Session<'_>| s.key == key && ts < s.end && ts + gap > s.start;
        let (touched, rest): (Vec<_>, Vec<_>) = open.drain(..).partition(touches);
        open = rest;
        if touched.is_empty() && query.policy.is_closed(ts + gap, watermark) {
            outcome.late.push(row.id);
            continue;
        }
        let mut one =
            Session { key, start: ts, end: ts + gap, rows: vec![(number, row)], shown: None, fired: false };
        let mut shown: Vec<Vec<String>> = Vec::new();
        for session in touched {
            (one.start, one.end) = (one.start.min(session.start), one.end.max(session.end));
            one.rows.extend(session.rows);
            shown.extend(session.shown);
        }
        one.rows.sort_by_key(|(n, _)| *n);
        one.fired = query.policy.has_fired(one.end, watermark);
        if one.fired || query.emit != Emit::Final {
            one.shown = one.result(query);
        }
        for old in shown.iter().skip(1) {
            outcome.changes.extend(change(Some(old), None));
        }
        outcome.changes.extend(change(shown.first(), one.shown.clone()));
        open.push(one);
    }
    end_sessions(query, &mut open, i64::MAX, &mut outcome.changes);
    outcome
}

fn end_sessions(query: &Query, open: &mut Vec<Session<'_>>, watermark: i64, out: &mut Vec<Change>) {
    open.sort_by_key(|s| (s.end, s.start, s.rows[0].0));
    for session in open.iter_mut() {
        let over = watermark == i64::MAX || query.policy.has_fired(session.end, watermark);
        if over && !session.fired {
            session.fired = true;
            if query.emit == Emit::Final {
                session.shown = session.result(query);
                out.extend(change(None, session.shown.clone()));
            }
        }
    }
    open.retain(|s| watermark != i64::MAX && !query.policy.is_closed(s.end, watermark));
}

#[test]
fn windows_of_a_time() {
    assert_eq!(windows_of(Kind::Tumble { size: 10 }, -1), [(0, -10)]);
    assert_eq!(windows_of(Kind::Hop { slide: 3, size: 10 }, 10), [(13, 3), (16, 6), (19, 9)]);
    assert_eq!(windows_of(Kind::Hop { slide: 5, size: 3 }, 4), []);
    assert_eq!(windows_of(Kind::Cumulate { step: 5, size: 15 }, 7), [(10, 0), (15, 0)]);
}

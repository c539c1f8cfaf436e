//! Consumers: positions, ends, ranges, groups' offsets.

use std::ops::ControlFlow;
use std::time::Duration;

use super::{
    Case, Cluster, Sample, Verdict, case, case_if, ensure, equal, parts, poll_until, produce, read_from,
    source, source_settings, take, timed, told, values,
};
use crate::connector::kafka::client::{Bounds, KafkaErrorKind, Part};
use crate::record::Clock;

pub(super) const CASES: &[Case] = &[
    case("reading begins at the offset that was asked for", begin),
    case("the end of a partition is told, also of an empty one", ends),
    case("a break loses nothing", breaks),
    case("messages that come later are given", later),
    case("several topics are told apart", topics),
    case("a partition that is paused is silent, and goes on where it is told to", pauses),
    case("a seek goes back and forth", seeks),
    case("bounds are those of the partition", bounds),
    case("an offset before the first one is out of range", before_first),
    case("an offset behind the end is out of range", behind_end),
    case("a group's offsets are what it committed", groups),
    case_if("offsets are found by time", |c| c.timestamps, times),
    case("a poll of nothing waits no longer than it was told", idle),
    case("topics and partitions are listed", listed),
];

fn numbers(range: std::ops::Range<i32>, partition: i32) -> Vec<Sample> {
    range.map(|i| Sample::of(partition, i.to_string())).collect()
}

fn texts(range: std::ops::Range<i32>) -> Vec<String> {
    range.map(|i| i.to_string()).collect()
}

fn at(part: &Part, offset: i64) -> (Part, i64) {
    (part.clone(), offset)
}

/// The one partition of a new topic, with `n` messages.
fn filled(cluster: &dyn Cluster, n: i32) -> Result<Part, String> {
    let topic = cluster.topic(1, &[])?;
    produce(cluster, &topic, &numbers(0..n, 0))?;
    Ok(Part { topic: topic.as_str().into(), partition: 0 })
}

fn begin(cluster: &dyn Cluster) -> Verdict {
    let part = filled(cluster, 20)?;
    for from in [0, 1, 7, 19] {
        let seen = read_from(cluster, &[at(&part, from)], 20 - from as usize)?;
        equal("values", &values(&seen, 0), &texts(from as i32..20))?;
        equal("first offset", &seen.first().map(|s| s.offset), &Some(from))?;
    }
    Ok(())
}

fn ends(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    produce(cluster, &topic, &numbers(0..5, 1))?;
    let mut source = source(cluster)?;
    let parts = parts(&topic, 2);
    source.start(&[at(&parts[0], 0), at(&parts[1], 3)]).map_err(told)?;
    let (mut seen, mut ends) = (Vec::new(), vec![-1, -1]);
    poll_until(source.as_mut(), &mut seen, &mut ends, |_, ends| ends == [0, 5])?;
    source.close(super::PATIENCE);
    equal("values", &values(&seen, 1), &texts(3..5))
}

fn breaks(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    produce(cluster, &topic, &[numbers(0..50, 0), numbers(0..50, 1)].concat())?;
    let mut source = source(cluster)?;
    let parts = parts(&topic, 2);
    source.start(&[at(&parts[0], 0), at(&parts[1], 0)]).map_err(told)?;
    let (mut seen, mut ends) = (Vec::new(), vec![-1, -1]);
    let from = Clock::System.monotonic();
    while seen.len() < 100 {
        ensure(Clock::System.monotonic() - from < super::PATIENCE, || {
            format!("only {} messages", seen.len())
        })?;
        let mut room = 7;
        source
            .poll(Duration::from_millis(100), &mut |event| {
                take(event, &mut seen, &mut ends);
                room -= 1;
                if room == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .map_err(told)?;
    }
    source.close(super::PATIENCE);
    for part in 0..2 {
        equal("values", &values(&seen, part), &texts(0..50))?;
    }
    Ok(())
}

fn later(cluster: &dyn Cluster) -> Verdict {
    let part = filled(cluster, 3)?;
    let mut source = source(cluster)?;
    source.start(&[at(&part, 0)]).map_err(told)?;
    let (mut seen, mut ends) = (Vec::new(), vec![-1]);
    poll_until(source.as_mut(), &mut seen, &mut ends, |_, ends| ends == [3])?;
    produce(cluster, &part.topic, &numbers(3..6, 0))?;
    poll_until(source.as_mut(), &mut seen, &mut ends, |_, ends| ends == [6])?;
    source.close(super::PATIENCE);
    equal("values", &values(&seen, 0), &texts(0..6))
}

fn topics(cluster: &dyn Cluster) -> Verdict {
    let (a, b) = (cluster.topic(2, &[])?, cluster.topic(2, &[])?);
    produce(cluster, &a, &[numbers(0..3, 0), numbers(3..6, 1)].concat())?;
    produce(cluster, &b, &[numbers(6..9, 0), numbers(9..12, 1)].concat())?;
    let (a, b) = (parts(&a, 2), parts(&b, 2));
    let from = [at(&b[1], 0), at(&a[0], 0), at(&a[1], 0), at(&b[0], 0)];
    let seen = read_from(cluster, &from, 12)?;
    for (part, range) in [(0, 9..12), (1, 0..3), (2, 3..6), (3, 6..9)] {
        equal("values", &values(&seen, part), &texts(range))?;
    }
    Ok(())
}

fn pauses(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    produce(cluster, &topic, &[numbers(0..30, 0), numbers(0..30, 1)].concat())?;
    let mut source = source(cluster)?;
    let parts = parts(&topic, 2);
    source.start(&[at(&parts[0], 0), at(&parts[1], 0)]).map_err(told)?;
    source.pause(0).map_err(told)?;
    let (mut seen, mut ends) = (Vec::new(), vec![-1, -1]);
    poll_until(source.as_mut(), &mut seen, &mut ends, |_, ends| ends.get(1) == Some(&30))?;
    equal("values of the paused one", &values(&seen, 0), &Vec::new())?;
    source.resume(0, 10).map_err(told)?;
    poll_until(source.as_mut(), &mut seen, &mut ends, |_, ends| ends == [30, 30])?;
    source.close(super::PATIENCE);
    equal("values of the one that goes on", &values(&seen, 0), &texts(10..30))?;
    equal("values of the other", &values(&seen, 1), &texts(0..30))
}

fn seeks(cluster: &dyn Cluster) -> Verdict {
    let part = filled(cluster, 20)?;
    let mut source = source(cluster)?;
    source.start(&[at(&part, 0)]).map_err(told)?;
    for from in [0, 15, 3] {
        let (mut seen, mut ends) = (Vec::new(), vec![-1]);
        source.seek(0, from).map_err(told)?;
        poll_until(source.as_mut(), &mut seen, &mut ends, |seen, _| {
            seen.last().is_some_and(|s| s.offset == 19)
        })?;
        // What was fetched before a seek may still come; what the reader above does not want it drops.
        let wanted = seen.iter().rposition(|s| s.offset == from).unwrap_or(0);
        equal("values", &values(seen.get(wanted..).unwrap_or(&[]), 0), &texts(from as i32..20))?;
    }
    source.close(super::PATIENCE);
    Ok(())
}

fn bounds(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    let mut source = source(cluster)?;
    let parts = parts(&topic, 2);
    let empty = Bounds { first: 0, end: 0 };
    equal("bounds of nothing", &source.bounds(&parts).map_err(told)?, &vec![empty, empty])?;
    produce(cluster, &topic, &numbers(0..7, 1))?;
    let filled = Bounds { first: 0, end: 7 };
    equal("bounds", &source.bounds(&parts).map_err(told)?, &vec![empty, filled])?;
    cluster.delete_before(&topic, 1, 4)?;
    let rest = Bounds { first: 4, end: 7 };
    equal("bounds after retention", &source.bounds(&parts).map_err(told)?, &vec![empty, rest])?;
    source.close(super::PATIENCE);
    Ok(())
}

/// Polls until the error that must come; no message may come before it.
fn out_of_range(cluster: &dyn Cluster, from: &[(Part, i64)], index: usize) -> Verdict {
    let mut source = source(cluster)?;
    source.start(from).map_err(told)?;
    let started = Clock::System.monotonic();
    let mut given = Vec::new();
    loop {
        ensure(Clock::System.monotonic() - started < super::PATIENCE, || "no error came".into())?;
        let polled = source.poll(Duration::from_millis(100), &mut |event| {
            take(event, &mut given, &mut []);
            ControlFlow::Continue(())
        });
        match polled {
            Ok(()) => {}
            Err(e) if e.kind == KafkaErrorKind::OutOfRange(index) => break,
            Err(e) if e.kind == KafkaErrorKind::Retriable => {}
            Err(e) => return Err(format!("another error: {}", told(e))),
        }
    }
    source.close(super::PATIENCE);
    ensure(given.iter().all(|s| s.part != index), || format!("it jumped: {} messages came", given.len()))
}

fn before_first(cluster: &dyn Cluster) -> Verdict {
    let part = filled(cluster, 10)?;
    let other = filled(cluster, 1)?;
    cluster.delete_before(&part.topic, 0, 6)?;
    out_of_range(cluster, &[at(&other, 0), at(&part, 2)], 1)
}

fn behind_end(cluster: &dyn Cluster) -> Verdict {
    let part = filled(cluster, 10)?;
    out_of_range(cluster, &[at(&part, 11)], 0)
}

fn groups(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    let parts = parts(&topic, 2);
    produce(cluster, &topic, &numbers(0..9, 0))?;
    let mut settings = source_settings(cluster);
    settings.group = Some(format!("group-of-{topic}"));
    let mut source = cluster.client().source(&settings).map_err(told)?;
    equal("offsets of a new group", &source.committed(&parts).map_err(told)?, &vec![None, None])?;
    source.start(&[at(&parts[0], 0), at(&parts[1], 0)]).map_err(told)?;
    source.commit(&[at(&parts[0], 4)]).map_err(told)?;
    equal("offsets", &source.committed(&parts).map_err(told)?, &vec![Some(4), None])?;
    source.commit(&[at(&parts[0], 9), at(&parts[1], 0)]).map_err(told)?;
    source.close(super::PATIENCE);
    let mut other = cluster.client().source(&settings).map_err(told)?;
    equal("offsets later", &other.committed(&parts).map_err(told)?, &vec![Some(9), Some(0)])?;
    other.close(super::PATIENCE);
    Ok(())
}

fn times(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    let base = 1_767_225_600_000;
    let sent: Vec<Sample> = (0..10)
        .map(|i| Sample { timestamp: Some(base + 1000 * i), ..Sample::of(0, i.to_string()) })
        .collect();
    produce(cluster, &topic, &sent)?;
    let mut source = source(cluster)?;
    for (at, expected) in
        [(base - 1, Some(0)), (base + 4000, Some(4)), (base + 4001, Some(5)), (base + 9001, None)]
    {
        let found = source.offsets_at(&parts(&topic, 2), at).map_err(told)?;
        equal("offsets", &found, &vec![expected, None])?;
    }
    source.close(super::PATIENCE);
    Ok(())
}

fn idle(cluster: &dyn Cluster) -> Verdict {
    let part = filled(cluster, 1)?;
    let mut source = source(cluster)?;
    source.start(&[at(&part, 0)]).map_err(told)?;
    let (mut seen, mut ends) = (Vec::new(), vec![-1]);
    poll_until(source.as_mut(), &mut seen, &mut ends, |_, ends| ends == [1])?;
    for wait in [0, 1, 20] {
        let (polled, took) =
            timed(|| source.poll(Duration::from_millis(wait), &mut |_| ControlFlow::Continue(())));
        polled.map_err(told)?;
        ensure(took < Duration::from_millis(wait + 1000), || format!("{took:?} instead of {wait} ms"))?;
    }
    source.close(super::PATIENCE);
    Ok(())
}

fn listed(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(3, &[])?;
    let mut source = source(cluster)?;
    ensure(source.topics().map_err(told)?.contains(&topic), || "the list of topics lacks it".into())?;
    let mut partitions = source.partitions(&topic).map_err(told)?.unwrap_or_default();
    partitions.sort_unstable();
    equal("partitions", &partitions, &vec![0, 1, 2])?;
    equal("partitions of nothing", &source.partitions("no-such-topic").map_err(told)?, &None)?;
    source.close(super::PATIENCE);
    Ok(())
}

//! Producers with a transactional id: what is seen when, groups' offsets, fencing, errors.

use std::time::Duration;

use super::{
    Case, Cluster, Sample, Seen, Verdict, case_if, ensure, equal, outbox, parts, poll_until, produce,
    read_topic, send_all, sink_settings, source, timed, told, values,
};
use crate::connector::kafka::client::{Caps, GroupOffset, KafkaError, KafkaErrorKind, KafkaSink, KafkaTxn};
use crate::record::Clock;

const fn can(caps: &Caps) -> bool {
    caps.transactions
}

pub(super) const CASES: &[Case] = &[
    case_if("nothing of a transaction is seen before its commit, all of it behind it", can, visible),
    case_if("an aborted transaction leaves nothing, and the next one goes on", can, aborted),
    case_if("what stands behind an open transaction waits for its end", can, stable),
    case_if("a group's offsets come with the commit, with their metadata, or not at all", can, offsets),
    case_if("offsets in an open transaction are waited for, and told as not known yet", can, pending),
    case_if("a transaction may hold offsets alone, or nothing", can, empty),
    case_if("a group that has committed nothing has no offsets", can, no_offsets),
    case_if("the next producer of an id fences the one before and aborts what it left open", can, fenced),
    case_if("what an id had committed stays when the next producer comes", can, kept),
    case_if("producers of two ids leave each other alone", can, apart),
    // The simulated one dies with its process: that is what the simulation needs of it.
    case_if("a producer that closes aborts what it leaves open", |c| can(c) && c.client != "sim", closes),
    case_if("a message that was refused makes its transaction one to abort", can, refused),
    case_if("a transaction that lasts too long is aborted and its producer is out", can, too_long),
    case_if("two transactions at a time, or an end without one, are errors", can, out_of_turn),
    case_if("commits are quick", can, quick),
    case_if("many transactions, every third aborted", can, many),
    case_if("a producer without an id has no transactions", can, plain),
    case_if("a client that has none refuses an id", |c| !c.transactions, refuses),
];

/// A producer with an id, registered.
fn producer(cluster: &dyn Cluster, id: &str) -> Result<Box<dyn KafkaSink>, String> {
    let mut settings = sink_settings(cluster);
    settings.transactional_id = Some(id.to_owned());
    registered(cluster, settings)
}

fn registered(
    cluster: &dyn Cluster,
    settings: crate::connector::kafka::client::SinkSettings,
) -> Result<Box<dyn KafkaSink>, String> {
    let mut sink = cluster.client().sink(&settings).map_err(told)?;
    txn(sink.as_mut())?.init().map_err(told)?;
    Ok(sink)
}

fn txn(sink: &mut dyn KafkaSink) -> Result<&mut dyn KafkaTxn, String> {
    sink.txn().ok_or_else(|| "a producer with an id has no transactions".into())
}

fn begin(sink: &mut dyn KafkaSink) -> Verdict {
    txn(sink)?.begin().map_err(told)
}
fn commit(sink: &mut dyn KafkaSink) -> Verdict {
    txn(sink)?.commit().map_err(told)
}
fn abort(sink: &mut dyn KafkaSink) -> Verdict {
    txn(sink)?.abort().map_err(told)
}

fn numbers(range: std::ops::Range<i32>, partition: i32) -> Vec<Sample> {
    range.map(|i| Sample::of(partition, i.to_string())).collect()
}

/// Sends messages and waits until the brokers have them.
fn send(sink: &mut dyn KafkaSink, topic: &str, samples: &[Sample]) -> Verdict {
    send_all(sink, topic, &outbox(samples))?;
    sink.flush(super::PATIENCE).map_err(told)
}

/// What a reader of committed transactions sees in the first partition.
fn seen(cluster: &dyn Cluster, topic: &str) -> Result<Vec<String>, String> {
    Ok(values(&read_topic(cluster, topic, 1)?, 0))
}

fn texts(range: std::ops::Range<i32>) -> Vec<String> {
    range.map(|i| i.to_string()).collect()
}

fn kind_of(done: Result<(), KafkaError>) -> Option<KafkaErrorKind> {
    done.err().map(|e| e.kind)
}

fn visible(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    produce(cluster, &topic, &numbers(0..2, 0))?;
    let mut sink = producer(cluster, &format!("id-{topic}"))?;
    begin(sink.as_mut())?;
    send(sink.as_mut(), &topic, &[numbers(2..5, 0), numbers(10..13, 1)].concat())?;
    let before = read_topic(cluster, &topic, 2)?;
    equal("values before the commit", &(values(&before, 0), values(&before, 1)), &(texts(0..2), vec![]))?;
    commit(sink.as_mut())?;
    let behind = read_topic(cluster, &topic, 2)?;
    let got = (values(&behind, 0), values(&behind, 1));
    equal("values behind the commit", &got, &(texts(0..5), texts(10..13)))?;
    sink.close(super::PATIENCE);
    Ok(())
}

fn aborted(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    let mut sink = producer(cluster, &format!("id-{topic}"))?;
    begin(sink.as_mut())?;
    send(sink.as_mut(), &topic, &[numbers(0..3, 0), numbers(0..3, 1)].concat())?;
    // Some may still be under way.
    send_all(sink.as_mut(), &topic, &outbox(&numbers(3..6, 0)))?;
    abort(sink.as_mut())?;
    let counts = sink.counts();
    equal("messages that nobody answers for", &(counts.accepted - counts.acked - counts.failed), &0)?;
    equal("messages given back", &sink.take_failed().len(), &0)?;
    begin(sink.as_mut())?;
    send(sink.as_mut(), &topic, &numbers(6..8, 0))?;
    commit(sink.as_mut())?;
    sink.close(super::PATIENCE);
    let seen = read_topic(cluster, &topic, 2)?;
    equal("values", &(values(&seen, 0), values(&seen, 1)), &(texts(6..8), vec![]))
}

fn stable(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let part = parts(&topic, 1);
    produce(cluster, &topic, &numbers(0..1, 0))?;
    let mut sink = producer(cluster, &format!("id-{topic}"))?;
    begin(sink.as_mut())?;
    send(sink.as_mut(), &topic, &numbers(1..2, 0))?;
    produce(cluster, &topic, &numbers(2..3, 0))?;
    let mut reader = source(cluster)?;
    let bounds = reader.bounds(&part).map_err(told)?;
    equal("the last stable offset", &bounds.first().map(|b| b.end), &Some(1))?;
    reader.start(&[(part[0].clone(), 0)]).map_err(told)?;
    let (mut seen, mut ends) = (Vec::<Seen>::new(), vec![-1]);
    poll_until(reader.as_mut(), &mut seen, &mut ends, |_, ends| ends[0] >= 1)?;
    equal("values before the end", &values(&seen, 0), &texts(0..1))?;
    abort(sink.as_mut())?;
    poll_until(reader.as_mut(), &mut seen, &mut ends, |seen, _| seen.len() >= 2)?;
    let got: Vec<_> = seen.iter().map(|s| s.offset).collect();
    equal("values", &values(&seen, 0), &vec!["0".into(), "2".into()])?;
    equal("offsets", &got, &vec![0, 2])?;
    sink.close(super::PATIENCE);
    Ok(())
}

fn at(offset: i64, metadata: &str) -> Option<GroupOffset> {
    Some(GroupOffset { offset, metadata: metadata.into() })
}

fn offsets(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    let (group, parts) = (format!("group-{topic}"), parts(&topic, 2));
    produce(cluster, &topic, &[numbers(0..5, 0), numbers(0..5, 1)].concat())?;
    let mut sink = producer(cluster, &format!("id-{topic}"))?;
    let sink = sink.as_mut();
    begin(sink)?;
    let both = [(parts[0].clone(), 3), (parts[1].clone(), 4)];
    txn(sink)?.send_offsets(&group, &both, "epoch 1", None).map_err(told)?;
    commit(sink)?;
    let first = vec![at(3, "epoch 1"), at(4, "epoch 1")];
    equal("committed", &txn(sink)?.committed(&group, &parts).map_err(told)?, &first)?;
    begin(sink)?;
    txn(sink)?.send_offsets(&group, &[(parts[1].clone(), 5)], "epoch 2", None).map_err(told)?;
    abort(sink)?;
    equal("behind an abort", &txn(sink)?.committed(&group, &parts).map_err(told)?, &first)?;
    begin(sink)?;
    txn(sink)?.send_offsets(&group, &[(parts[1].clone(), 5)], "epoch drei ≥ 3", None).map_err(told)?;
    commit(sink)?;
    let last = vec![at(3, "epoch 1"), at(5, "epoch drei ≥ 3")];
    equal("at the end", &txn(sink)?.committed(&group, &parts).map_err(told)?, &last)?;
    sink.close(super::PATIENCE);
    Ok(())
}

fn pending(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let (group, part) = (format!("group-{topic}"), parts(&topic, 1));
    let mut sink = producer(cluster, &format!("id-{topic}"))?;
    begin(sink.as_mut())?;
    txn(sink.as_mut())?.send_offsets(&group, &[(part[0].clone(), 0)], "", None).map_err(told)?;
    let mut settings = super::source_settings(cluster);
    settings.group = Some(group);
    settings.connection.timeout = Duration::from_millis(500);
    let mut reader = cluster.client().source(&settings).map_err(told)?;
    let early = reader.committed(&part).err().map(|e| e.kind);
    equal("in the meantime", &early, &Some(KafkaErrorKind::Retriable))?;
    commit(sink.as_mut())?;
    let from = Clock::System.monotonic();
    let found = loop {
        match reader.committed(&part) {
            Err(e)
                if e.kind == KafkaErrorKind::Retriable
                    && Clock::System.monotonic() - from < super::PATIENCE => {}
            done => break done.map_err(told)?,
        }
    };
    sink.close(super::PATIENCE);
    equal("behind the commit", &found, &vec![Some(0)])
}

fn empty(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let (group, part) = (format!("group-{topic}"), parts(&topic, 1));
    let mut sink = producer(cluster, &format!("id-{topic}"))?;
    let sink = sink.as_mut();
    begin(sink)?;
    commit(sink)?;
    begin(sink)?;
    abort(sink)?;
    begin(sink)?;
    txn(sink)?.send_offsets(&group, &[(part[0].clone(), 0)], "", None).map_err(told)?;
    commit(sink)?;
    equal("committed", &txn(sink)?.committed(&group, &part).map_err(told)?, &vec![at(0, "")])?;
    sink.close(super::PATIENCE);
    equal("values", &seen(cluster, &topic)?, &Vec::new())
}

fn no_offsets(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    let mut sink = producer(cluster, &format!("id-{topic}"))?;
    let found = txn(sink.as_mut())?.committed(&format!("group-{topic}"), &parts(&topic, 2)).map_err(told)?;
    sink.close(super::PATIENCE);
    equal("committed", &found, &vec![None, None])
}

fn fenced(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let (group, part) = (format!("group-{topic}"), parts(&topic, 1));
    let id = format!("id-{topic}");
    let mut zombie = producer(cluster, &id)?;
    begin(zombie.as_mut())?;
    send(zombie.as_mut(), &topic, &numbers(0..3, 0))?;
    txn(zombie.as_mut())?.send_offsets(&group, &[(part[0].clone(), 7)], "zombie", None).map_err(told)?;
    let mut heir = producer(cluster, &id)?;
    equal("committed", &txn(heir.as_mut())?.committed(&group, &part).map_err(told)?, &vec![None])?;
    begin(heir.as_mut())?;
    send(heir.as_mut(), &topic, &numbers(3..5, 0))?;
    equal("the zombie's commit", &kind_of(txn(zombie.as_mut())?.commit()), &Some(KafkaErrorKind::Fenced))?;
    let again = kind_of(txn(zombie.as_mut())?.begin());
    equal("its next transaction", &again, &Some(KafkaErrorKind::Fenced))?;
    commit(heir.as_mut())?;
    zombie.close(Duration::from_secs(2));
    heir.close(super::PATIENCE);
    equal("values", &seen(cluster, &topic)?, &texts(3..5))
}

fn kept(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let (group, part) = (format!("group-{topic}"), parts(&topic, 1));
    let id = format!("id-{topic}");
    for i in 0..3 {
        let mut sink = producer(cluster, &id)?;
        let sink = sink.as_mut();
        let known = txn(sink)?.committed(&group, &part).map_err(told)?;
        let expected = if i == 0 { None } else { at(i64::from(i), &format!("epoch {i}")) };
        equal("committed", &known, &vec![expected])?;
        begin(sink)?;
        send(sink, &topic, &numbers(i..i + 1, 0))?;
        let offset = (part[0].clone(), i64::from(i) + 1);
        txn(sink)?.send_offsets(&group, &[offset], &format!("epoch {}", i + 1), None).map_err(told)?;
        commit(sink)?;
        sink.close(super::PATIENCE);
    }
    equal("values", &seen(cluster, &topic)?, &texts(0..3))
}

fn apart(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let (mut a, mut b) =
        (producer(cluster, &format!("a-{topic}"))?, producer(cluster, &format!("b-{topic}"))?);
    begin(a.as_mut())?;
    begin(b.as_mut())?;
    send(a.as_mut(), &topic, &numbers(0..1, 0))?;
    send(b.as_mut(), &topic, &numbers(1..2, 0))?;
    send(a.as_mut(), &topic, &numbers(2..3, 0))?;
    abort(b.as_mut())?;
    commit(a.as_mut())?;
    a.close(super::PATIENCE);
    b.close(super::PATIENCE);
    equal("values", &seen(cluster, &topic)?, &vec!["0".into(), "2".into()])
}

/// Readers need not wait until the brokers take it for dead.
fn closes(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let mut sink = producer(cluster, &format!("id-{topic}"))?;
    begin(sink.as_mut())?;
    send(sink.as_mut(), &topic, &numbers(0..100, 0))?;
    send_all(sink.as_mut(), &topic, &outbox(&numbers(100..5000, 0)))?;
    sink.close(super::PATIENCE);
    drop(sink);
    produce(cluster, &topic, &numbers(5000..5001, 0))?;
    let mut reader = source(cluster)?;
    reader.start(&[(parts(&topic, 1)[0].clone(), 0)]).map_err(told)?;
    let (mut seen, mut ends) = (Vec::<Seen>::new(), vec![-1]);
    poll_until(reader.as_mut(), &mut seen, &mut ends, |seen, _| !seen.is_empty())?;
    equal("values", &values(&seen, 0), &texts(5000..5001))
}

fn refused(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[("max.message.bytes", "20000")])?;
    let mut sink = producer(cluster, &format!("id-{topic}"))?;
    let sink = sink.as_mut();
    begin(sink)?;
    send_all(sink, &topic, &outbox(&[Sample::of(0, "a"), Sample::of(0, vec![b'x'; 50_000])]))?;
    sink.flush(super::PATIENCE).map_err(told)?;
    ensure(sink.counts().failed > 0, || "nothing was refused".into())?;
    equal("the commit", &kind_of(txn(sink)?.commit()), &Some(KafkaErrorKind::AbortTxn))?;
    let one = outbox(&[Sample::of(0, "b")]);
    let sent = sink.send(&topic.as_str().into(), &one, 0).map(|sent| sent.accepted);
    equal("what is sent then", &sent.err().map(|e| e.kind), &Some(KafkaErrorKind::AbortTxn))?;
    abort(sink)?;
    sink.close(super::PATIENCE);
    // librdkafka goes on to call the numbers of the messages wrong, so whoever aborts for an error takes a new producer.
    let mut heir = producer(cluster, &format!("id-{topic}"))?;
    begin(heir.as_mut())?;
    send(heir.as_mut(), &topic, &[Sample::of(0, "c")])?;
    commit(heir.as_mut())?;
    heir.close(super::PATIENCE);
    equal("values", &seen(cluster, &topic)?, &vec!["c".into()])
}

fn too_long(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let part = parts(&topic, 1);
    let mut settings = sink_settings(cluster);
    settings.transactional_id = Some(format!("id-{topic}"));
    // Long enough for a busy machine to get the message there.
    settings.transaction_timeout = Duration::from_secs(4);
    let mut sink = registered(cluster, settings)?;
    begin(sink.as_mut())?;
    send(sink.as_mut(), &topic, &numbers(0..1, 0))?;
    cluster.outlast_transactions();
    // The brokers' mark of the abort stands behind the message.
    let mut reader = source(cluster)?;
    let from = Clock::System.monotonic();
    while reader.bounds(&part).map_err(told)?.first().is_none_or(|b| b.end < 2) {
        ensure(Clock::System.monotonic() - from < super::PATIENCE, || "it is never aborted".into())?;
        reader.poll(Duration::from_millis(20), &mut |_| std::ops::ControlFlow::Continue(())).map_err(told)?;
    }
    let end = kind_of(txn(sink.as_mut())?.commit());
    equal("its commit", &end, &Some(KafkaErrorKind::Fenced))?;
    sink.close(Duration::from_secs(2));
    let mut heir = producer(cluster, &format!("id-{topic}"))?;
    begin(heir.as_mut())?;
    send(heir.as_mut(), &topic, &numbers(1..2, 0))?;
    commit(heir.as_mut())?;
    heir.close(super::PATIENCE);
    equal("values", &seen(cluster, &topic)?, &texts(1..2))
}

fn out_of_turn(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let mut sink = producer(cluster, &format!("id-{topic}"))?;
    let sink = sink.as_mut();
    ensure(txn(sink)?.commit().is_err(), || "a commit of nothing".into())?;
    begin(sink)?;
    ensure(txn(sink)?.begin().is_err(), || "a second transaction has begun".into())?;
    send(sink, &topic, &numbers(0..1, 0))?;
    commit(sink)?;
    sink.close(super::PATIENCE);
    equal("values", &seen(cluster, &topic)?, &texts(0..1))
}

fn quick(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let (group, part) = (format!("group-{topic}"), parts(&topic, 1));
    let mut sink = producer(cluster, &format!("id-{topic}"))?;
    let sink = sink.as_mut();
    let mut spans = Vec::new();
    for i in 0..12 {
        begin(sink)?;
        send_all(sink, &topic, &outbox(&numbers(i..i + 1, 0)))?;
        txn(sink)?.send_offsets(&group, &[(part[0].clone(), i64::from(i))], "", None).map_err(told)?;
        let (done, took) = timed(|| commit(sink));
        done?;
        spans.push(took);
    }
    sink.close(super::PATIENCE);
    // The library's own wait for acknowledgements never takes less than 100 ms.
    let quickest = spans.iter().min().copied().unwrap_or_default();
    ensure(quickest < Duration::from_millis(80), || format!("the quickest commit took {quickest:?}"))?;
    equal("values", &seen(cluster, &topic)?, &texts(0..12))
}

fn many(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(3, &[])?;
    let mut sink = producer(cluster, &format!("id-{topic}"))?;
    let sink = sink.as_mut();
    let mut expected = vec![Vec::new(); 3];
    for i in 0..30 {
        begin(sink)?;
        let range = i * 10..i * 10 + 10;
        let samples: Vec<Sample> = range.map(|n| Sample::of(n % 3, n.to_string())).collect();
        send_all(sink, &topic, &outbox(&samples))?;
        if i % 3 == 2 {
            abort(sink)?;
            continue;
        }
        commit(sink)?;
        for n in i * 10..i * 10 + 10 {
            if let Some(of) = expected.get_mut((n % 3) as usize) {
                of.push(n.to_string());
            }
        }
    }
    sink.close(super::PATIENCE);
    let seen = read_topic(cluster, &topic, 3)?;
    let got: Vec<_> = (0..3).map(|part| values(&seen, part)).collect();
    equal("values", &got, &expected)
}

fn plain(cluster: &dyn Cluster) -> Verdict {
    let mut sink = super::sink(cluster)?;
    ensure(sink.txn().is_none(), || "it has some".into())
}

fn refuses(cluster: &dyn Cluster) -> Verdict {
    let mut settings = sink_settings(cluster);
    settings.transactional_id = Some("id".into());
    let kind = cluster.client().sink(&settings).err().map(|e| e.kind);
    equal("the error", &kind, &Some(KafkaErrorKind::Unsupported))
}

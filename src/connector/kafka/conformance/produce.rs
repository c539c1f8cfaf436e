//! Producers: what is accepted arrives, once, in order, and failures name their message.

use std::sync::Arc;
use std::time::Duration;

use super::{
    Case, Cluster, Sample, Verdict, case, case_if, ensure, equal, outbox, produce, read_topic, send_all,
    sink, sink_settings, timed, told, values,
};
use crate::connector::kafka::client::KafkaErrorKind;

pub(super) const CASES: &[Case] = &[
    case("a message arrives as it was sent", message),
    case("messages of a partition keep their order", order),
    case("no key, an empty key and a key are three things", keys),
    case_if("a tombstone is no empty value", |c| c.nulls, tombstones),
    case_if(
        "headers arrive: none, twice the same, NULL, bytes that are no text, a thousand",
        |c| c.headers,
        headers,
    ),
    case_if("timestamps arrive", |c| c.timestamps, timestamps),
    case("every compression of the client is read back", compressions),
    case("a large message arrives", large),
    case("a message too large for the topic is named, its neighbours arrive", too_large),
    case("a topic that is not there is told from one that is", missing),
    case("a flush of nothing is quick", nothing),
    case("flushes are quick and account for every message", flushes),
    case("many small messages arrive, each once", many),
    case("closing takes no longer than its deadline", close),
];

fn message(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    let sent = [Sample::of(1, "wörld").key(b"k"), Sample::of(0, vec![0u8, 255, 10, 13])];
    produce(cluster, &topic, &sent)?;
    let mut seen = read_topic(cluster, &topic, 2)?;
    seen.sort_by_key(|s| s.part);
    let got: Vec<_> =
        seen.iter().map(|s| (s.part, s.offset, s.sample.key.clone(), s.sample.value.clone())).collect();
    let expected =
        vec![(0, 0, None, sent[1].value.clone()), (1, 0, sent[0].key.clone(), sent[0].value.clone())];
    equal("messages", &got, &expected)
}

fn order(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(3, &[])?;
    let sent: Vec<Sample> = (0..300).map(|i| Sample::of(i % 3, i.to_string())).collect();
    produce(cluster, &topic, &sent)?;
    let seen = read_topic(cluster, &topic, 3)?;
    for part in 0..3 {
        let expected: Vec<String> = (0..100).map(|i| (i * 3 + part).to_string()).collect();
        equal("values", &values(&seen, part), &expected)?;
        let offsets: Vec<i64> = seen.iter().filter(|s| s.part == part).map(|s| s.offset).collect();
        equal("offsets", &offsets, &(0..100).collect())?;
    }
    Ok(())
}

fn keys(cluster: &dyn Cluster) -> Verdict {
    let nulls = cluster.client().caps().nulls;
    let topic = cluster.topic(1, &[])?;
    let sent = [Sample::of(0, "a"), Sample::of(0, "b").key(b""), Sample::of(0, "c").key(b"\xff\x00")];
    produce(cluster, &topic, &sent)?;
    let got: Vec<_> = read_topic(cluster, &topic, 1)?.into_iter().map(|s| s.sample.key).collect();
    let empty = nulls.then(Vec::new);
    equal("keys", &got, &vec![None, empty, Some(vec![255, 0])])
}

fn tombstones(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let sent = [Sample { key: Some(b"k".to_vec()), ..Sample::default() }, Sample::of(0, "").key(b"k")];
    produce(cluster, &topic, &sent)?;
    let got: Vec<_> = read_topic(cluster, &topic, 1)?.into_iter().map(|s| s.sample.value).collect();
    equal("values", &got, &vec![None, Some(Vec::new())])
}

fn headers(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let h = |n: &str, v: Option<&[u8]>| (n.to_owned(), v.map(<[u8]>::to_vec));
    let lists = [
        vec![],
        vec![h("a", Some(b"1")), h("b", None), h("a", Some(b"2")), h("", Some(b""))],
        vec![h("bytes", Some(&[0xff, 0, 0xfe]))],
        (0..1000).map(|i| h(&format!("h{i}"), Some(i.to_string().as_bytes()))).collect(),
    ];
    let sent: Vec<Sample> =
        lists.iter().map(|l| Sample { headers: l.clone(), ..Sample::of(0, "x") }).collect();
    produce(cluster, &topic, &sent)?;
    let got: Vec<_> = read_topic(cluster, &topic, 1)?.into_iter().map(|s| s.sample.headers).collect();
    for (i, expected) in lists.iter().enumerate() {
        equal("headers", &got.get(i), &Some(expected))?;
    }
    Ok(())
}

fn timestamps(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[("message.timestamp.type", "CreateTime")])?;
    let times = [1_767_225_600_000, 1_577_836_800_123, 0];
    let sent: Vec<Sample> =
        times.iter().map(|t| Sample { timestamp: Some(*t), ..Sample::of(0, "x") }).collect();
    produce(cluster, &topic, &sent)?;
    let got: Vec<_> =
        read_topic(cluster, &topic, 1)?.into_iter().filter_map(|s| s.sample.timestamp).collect();
    // librdkafka takes 0 for "now".
    equal("timestamps", &got.get(..2), &times.get(..2))
}

fn compressions(cluster: &dyn Cluster) -> Verdict {
    for compression in cluster.client().caps().compression {
        let topic = cluster.topic(1, &[])?;
        let mut settings = sink_settings(cluster);
        settings.compression = (*compression).into();
        let mut sink = cluster.client().sink(&settings).map_err(told)?;
        let text = |i: i32| format!("{i} {}", "the same again ".repeat(20));
        let sent: Vec<Sample> = (0..200).map(|i| Sample::of(0, text(i))).collect();
        send_all(sink.as_mut(), &topic, &outbox(&sent))?;
        sink.flush(super::PATIENCE).map_err(told)?;
        sink.close(super::PATIENCE);
        let seen = read_topic(cluster, &topic, 1)?;
        let expected: Vec<String> = (0..200).map(text).collect();
        ensure(values(&seen, 0) == expected, || format!("{compression}: {} other values", seen.len()))?;
    }
    Ok(())
}

fn large(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let noise: Vec<u8> = (0..700_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    produce(cluster, &topic, &[Sample::of(0, "a"), Sample::of(0, noise.clone()), Sample::of(0, "b")])?;
    let got: Vec<_> = read_topic(cluster, &topic, 1)?.into_iter().filter_map(|s| s.sample.value).collect();
    ensure(got == [b"a".to_vec(), noise, b"b".to_vec()], || format!("{} messages, other content", got.len()))
}

fn too_large(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[("max.message.bytes", "20000")])?;
    let mut sink = sink(cluster)?;
    let sent = [Sample::of(0, "a"), Sample::of(0, vec![b'x'; 50_000]), Sample::of(0, "b")];
    send_all(sink.as_mut(), &topic, &outbox(&sent))?;
    sink.flush(super::PATIENCE).map_err(told)?;
    let failed: Vec<_> =
        sink.take_failed().into_iter().map(|f| (f.seq, f.error.kind, f.value.len())).collect();
    equal("failed", &failed, &vec![(1, KafkaErrorKind::Record, 50_000)])?;
    let counts = sink.counts();
    equal("accounts", &(counts.accepted, counts.acked, counts.failed), &(3, 2, 1))?;
    sink.close(super::PATIENCE);
    equal("values", &values(&read_topic(cluster, &topic, 1)?, 0), &vec!["a".into(), "b".into()])
}

fn missing(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(5, &[])?;
    let mut sink = sink(cluster)?;
    equal("partitions", &sink.partitions(&topic).map_err(told)?, &Some(5))?;
    equal("partitions of nothing", &sink.partitions("no-such-topic").map_err(told)?, &None)?;
    ensure(sink.topics().map_err(told)?.contains(&topic), || "the list of topics lacks it".into())?;
    ensure(!sink.topics().map_err(told)?.contains(&"no-such-topic".to_owned()), || {
        "asking has made it".into()
    })
}

fn nothing(cluster: &dyn Cluster) -> Verdict {
    let mut sink = sink(cluster)?;
    let (flushed, took) = timed(|| sink.flush(super::PATIENCE));
    flushed.map_err(told)?;
    ensure(took < Duration::from_millis(500), || format!("it took {took:?}"))
}

fn flushes(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let mut sink = sink(cluster)?;
    let one = outbox(&[Sample::of(0, "x")]);
    // The first one connects.
    send_all(sink.as_mut(), &topic, &one)?;
    sink.flush(super::PATIENCE).map_err(told)?;
    let mut spans = Vec::new();
    for i in 2..12u64 {
        send_all(sink.as_mut(), &topic, &one)?;
        let (flushed, took) = timed(|| sink.flush(super::PATIENCE));
        flushed.map_err(told)?;
        spans.push(took);
        let counts = sink.counts();
        equal("accounts", &(counts.accepted, counts.acked, counts.failed), &(i, i, 0))?;
    }
    // A flush that waits in steps of its own never takes less than one; a busy machine slows down some, not all.
    let quickest = spans.iter().min().copied().unwrap_or_default();
    ensure(quickest < Duration::from_millis(60), || format!("the quickest flush took {quickest:?}"))
}

fn many(cluster: &dyn Cluster) -> Verdict {
    const N: usize = 20_000;
    let topic = cluster.topic(4, &[])?;
    let mut sink = sink(cluster)?;
    for chunk in 0..N / 1000 {
        let samples: Vec<Sample> =
            (chunk * 1000..(chunk + 1) * 1000).map(|i| Sample::of((i % 4) as i32, i.to_string())).collect();
        send_all(sink.as_mut(), &topic, &outbox(&samples))?;
    }
    sink.flush(super::PATIENCE).map_err(told)?;
    let counts = sink.counts();
    sink.close(super::PATIENCE);
    equal("accounts", &(counts.accepted, counts.acked, counts.failed), &(N as u64, N as u64, 0))?;
    let seen = read_topic(cluster, &topic, 4)?;
    for part in 0..4 {
        let expected: Vec<String> = (0..N).filter(|i| i % 4 == part).map(|i| i.to_string()).collect();
        let got = values(&seen, part);
        ensure(got == expected, || format!("partition {part}: {} of {} values", got.len(), expected.len()))?;
    }
    Ok(())
}

fn close(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(1, &[])?;
    let mut sink = sink(cluster)?;
    send_all(sink.as_mut(), &topic, &outbox(&[Sample::of(0, "x")]))?;
    let ((), took) = timed(|| sink.close(Duration::from_secs(2)));
    ensure(took < Duration::from_secs(3), || format!("it took {took:?}"))?;
    let _: Arc<str> = topic.into();
    Ok(())
}

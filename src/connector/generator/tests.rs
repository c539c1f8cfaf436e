//! The generator: contract, determinism, distributions, options.

use std::time::Duration;

use super::*;
use crate::io::contract::*;
use crate::io::{Read, SystemColumns};
use crate::record::{DataType, FieldValue};

fn generator(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> Result<Generator, String> {
    let declared = (!columns.is_empty()).then(|| Schema::of(columns.iter().cloned()));
    Generator::new(declared, &Options::new(options.iter().copied()), &Clock::System)
        .map_err(|e| e.to_string())
}
fn open(g: &Generator) -> Box<dyn DataReader> {
    g.open(&Scan { schema: g.schema(), system: SystemColumns::default(), clock: None, kept: false }).unwrap()
}
fn rows(g: &Generator) -> Vec<Vec<FieldValue>> {
    let items = read_all(open(g).as_mut(), Limits::default()).unwrap();
    items
        .iter()
        .map(|i| match i {
            Item::Record(r) => r.values().to_vec(),
            Item::Reject(_) => panic!(),
        })
        .collect()
}
fn error(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> String {
    generator(columns, options).err().unwrap()
}

#[test]
fn every_preset_keeps_the_contract_and_depends_on_the_seed_only() {
    for preset in PRESETS {
        let make = |seed| generator(&[], &[("preset", preset.name), ("rows", "70"), ("seed", seed)]).unwrap();
        check_reader(&mut || open(&make("1"))).unwrap();
        assert_eq!(rows(&make("5")), rows(&make("5")));
        assert_ne!(rows(&make("5")), rows(&make("6")));
    }
}

#[test]
fn a_column_is_the_same_whatever_other_columns_are_read() {
    let g = generator(&[], &[("preset", "orders"), ("rows", "50")]).unwrap();
    let whole = rows(&g);
    let narrow = Schema::of([("venue", DataType::Varchar), ("amount", DataType::Double)]);
    let mut reader =
        g.open(&Scan { schema: narrow, system: SystemColumns::default(), clock: None, kept: false }).unwrap();
    for (item, row) in read_all(reader.as_mut(), Limits::default()).unwrap().iter().zip(&whole) {
        let Item::Record(r) = item else { panic!() };
        assert_eq!(r.values(), &[row[5].clone(), row[2].clone()]);
    }
}

#[test]
fn an_order_takes_148_bytes_on_average_as_a_line_of_json() {
    let g = generator(&[], &[("preset", "orders"), ("rows", "20000")]).unwrap();
    let names: usize = g.schema().names().map(|n| n.len() + 3).sum();
    let text = |v: &FieldValue| match v {
        FieldValue::Integer(n) => n.to_string().len(),
        FieldValue::Float(x) => x.to_string().len(),
        other => other.as_str().unwrap().len() + 2,
    };
    // Braces, commas, line feed.
    let frame = 2 + 6 + 1;
    let total: usize = rows(&g).iter().map(|r| frame + names + r.iter().map(text).sum::<usize>()).sum();
    let average = total as f64 / 20000.0;
    assert!((147.5..148.5).contains(&average), "{average}");
}

#[test]
fn kinds_make_what_they_say() {
    use DataType::*;
    let decimal = Decimal { precision: 10, scale: 2 };
    let columns = [
        ("n", BigInt),
        ("s", Varchar),
        ("d", decimal),
        ("t", Timestamp),
        ("x", Double),
        ("u", Varchar),
        ("b", Boolean),
    ];
    let g = generator(
        &columns,
        &[
            ("rows", "2000"),
            ("fields.n.start", "10"),
            ("fields.n.step", "-2"),
            ("fields.S.kind", "choice"),
            ("fields.s.values", "a,b,c"),
            ("fields.s.weights", "1,3,0"),
            ("fields.s.nulls", "0.25"),
            ("fields.d.min", "-1.50"),
            ("fields.d.max", "1.50"),
            ("fields.t.start", "2026-01-01T00:00:00Z"),
            ("fields.t.step", "1s"),
            ("fields.x.max", "5"),
            ("fields.u.kind", "uuid"),
        ],
    )
    .unwrap();
    let rows = rows(&g);
    assert_eq!([&rows[0][0], &rows[3][0]], [&FieldValue::Integer(10), &FieldValue::Integer(4)]);
    let count = |v: &FieldValue| rows.iter().filter(|r| r[1] == *v).count();
    assert!((400..600).contains(&count(&FieldValue::Null)));
    assert!((300..450).contains(&count(&"a".into())) && count(&"c".into()) == 0);
    let low = crate::record::Decimal::new(-150, 2);
    for (i, row) in rows.iter().enumerate() {
        let FieldValue::Decimal(d) = row[2] else { panic!() };
        assert!(d.scale() == 2 && d >= low && d <= -low);
        assert_eq!(row[3], FieldValue::Timestamp(1_767_225_600_000_000 + i as i64 * 1_000_000));
        assert!(matches!(row[4], FieldValue::Float(x) if (0.0..5.0).contains(&x)));
        let u = row[5].as_str().unwrap();
        assert!(u.len() == 36 && u.as_bytes()[14] == b'4');
        assert!(matches!(row[6], FieldValue::Boolean(_)));
    }
}

#[test]
fn a_text_timestamp_is_that_of_the_timestamp_column() {
    let columns = [("a", DataType::Timestamp), ("b", DataType::Varchar), ("c", DataType::BigInt)];
    let options = [
        ("rows", "3000"),
        ("fields.a.step", "777us"),
        ("fields.b.kind", "timestamp"),
        ("fields.b.step", "777us"),
        ("fields.c.kind", "timestamp"),
        ("fields.c.step", "777us"),
    ];
    for row in rows(&generator(&columns, &options).unwrap()) {
        let FieldValue::Timestamp(a) = row[0] else { panic!() };
        let b = row[1].as_str().unwrap();
        assert_eq!(crate::record::text::parse_timestamp(b), Some(a / 1000 * 1000), "{b}");
        assert_eq!(row[2], FieldValue::Integer(a / 1000));
    }
}

#[test]
fn the_rate_follows_the_clock() {
    let clock = Clock::virtual_at(0);
    let options = Options::new([("preset", "orders"), ("rate", "100"), ("rows", "40")]);
    let g = Generator::new(None, &options, &clock).unwrap();
    assert_eq!(g.boundedness(), Boundedness::Bounded);
    let mut reader = open(&g);
    let mut next = || {
        let (read, items) = read_batch(reader.as_mut(), Limits::default()).unwrap();
        (read, items.len())
    };
    assert_eq!(next(), (Read::More, 1));
    assert_eq!(next(), (Read::Idle, 0));
    clock.advance(Duration::from_millis(100));
    assert_eq!(next(), (Read::More, 10));
    assert_eq!(next(), (Read::Idle, 0));
    clock.advance(Duration::from_secs(10));
    assert_eq!(next(), (Read::More, 29));
    assert_eq!(next(), (Read::End, 0));
}

#[test]
fn recycled_records_are_overwritten_without_allocating() {
    let g = generator(&[], &[("preset", "orders")]).unwrap();
    assert_eq!(g.boundedness(), Boundedness::Unbounded);
    let mut reader = open(&g);
    let mut out = crate::BatchBuilder::new(g.schema());
    let mut spare = crate::record::Batch::default();
    for _ in 0..5 {
        reader.read(&mut out).unwrap();
        spare = out.take(spare);
        assert_eq!(spare.len(), 1000);
    }
    assert_eq!(out.allocated(), 2000);
}

#[test]
fn wrong_options_are_named() {
    use DataType::*;
    let n = &[("n", BigInt)][..];
    assert!(error(&[], &[]).contains("needs declared columns or a 'preset'"));
    assert!(error(n, &[("fields.m.kind", "random")]).contains("no column 'm'; there are n"));
    assert!(error(n, &[("fields.n.knd", "random")]).contains("did you mean kind?"));
    assert!(error(n, &[("fields.n.kind", "rand")]).contains("one of sequence"));
    assert!(error(n, &[("fields.n.kind", "uuid")]).contains("'uuid' can't make BIGINT"));
    assert!(error(n, &[("fields.n.min", "3")]).contains("means nothing for kind 'sequence'"));
    let random = ("fields.n.kind", "random");
    assert!(error(n, &[random, ("fields.n.min", "x")]).contains("'x' is not a whole number"));
    assert!(error(n, &[random, ("fields.n.min", "5"), ("fields.n.max", "4")]).contains("smaller than 'min'"));
    assert!(error(n, &[random, ("fields.n.prefix", "5")]).contains("only VARCHAR"));
    let choice = ("fields.n.kind", "choice");
    assert!(error(n, &[choice]).contains("needs it"));
    assert!(error(n, &[choice, ("fields.n.values", "1,b")]).contains("'b' is not a BIGINT"));
    assert!(
        error(n, &[choice, ("fields.n.values", "1,2"), ("fields.n.weights", "1")])
            .contains("1 weights for 2 values")
    );
    assert!(error(n, &[("fields.n", "1")]).contains("should read 'fields.<column>.<option>'"));
    assert!(error(&[("a", DataType::array(BigInt))], &[]).contains("can't make ARRAY<BIGINT>"));
}

#[test]
fn each_station_has_a_mean_of_its_own_and_values_lie_around_it() {
    let g = generator(&[], &[("preset", "measurements"), ("rows", "100000")]).unwrap();
    let mut of: std::collections::BTreeMap<String, Vec<f64>> = Default::default();
    for row in rows(&g) {
        let [FieldValue::String(station), FieldValue::Decimal(t)] = &row[..] else { panic!("{row:?}") };
        of.entry(station.to_string()).or_default().push(t.to_string().parse().unwrap());
    }
    assert!(of.len() > 500, "{}", of.len());
    let mut means: Vec<f64> = Vec::new();
    for (station, values) in &of {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        assert!((6.5..13.5).contains(&deviation), "{station}: {deviation} of {n}");
        assert!(values.iter().all(|v| v.abs() <= 99.9));
        means.push(mean);
    }
    means.sort_by(f64::total_cmp);
    let (low, high) = (means[means.len() / 10], means[means.len() * 9 / 10]);
    assert!(
        low < -30.0 && high > 30.0 && means[0] > -60.0 && means[means.len() - 1] < 60.0,
        "{low} to {high}"
    );
}

#[test]
fn numbers_around_a_mean_need_a_column_that_chooses() {
    use DataType as T;
    let columns = [("city", T::Varchar), ("t", T::Double), ("n", T::Integer), ("x", T::Double)];
    let choice = [("rows", "2000"), ("fields.city.kind", "choice"), ("fields.city.values", "Oslo,Rome")];
    let with = |more: &[(&'static str, &'static str)]| {
        let options: Vec<_> = choice.iter().chain(more).copied().collect();
        generator(&columns, &options)
    };
    let good = with(&[
        ("fields.t.by", "city"),
        ("fields.t.decimals", "1"),
        ("fields.t.max", "10"),
        ("fields.t.spread", "0"),
        ("fields.n.by", "CITY"),
        ("fields.n.max", "99"),
        ("fields.n.spread", "0"),
    ]);
    let mut pairs: Vec<String> =
        rows(&good.unwrap()).iter().map(|r| format!("{:?} {:?} {:?}", r[0], r[1], r[2])).collect();
    pairs.sort();
    pairs.dedup();
    assert_eq!(pairs.len(), 2, "{pairs:?}");
    let error = |more: &[(&'static str, &'static str)]| with(more).err().unwrap();
    assert!(error(&[("fields.t.by", "town"), ("fields.t.decimals", "1")]).contains("no column 'town'"));
    assert!(error(&[("fields.t.by", "n"), ("fields.t.decimals", "1")]).contains("kind 'choice'"));
    assert!(error(&[("fields.x.by", "city")]).contains("DOUBLE with 'decimals'"));
    assert!(error(&[("fields.n.spread", "3")]).contains("goes with 'by'"));
}

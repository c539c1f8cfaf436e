//! Every scalar function does what its row in the registry says: the example is parsed, bound, evaluated.
#![allow(clippy::unwrap_used, clippy::panic)]

use millstream::catalog::Options;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use millstream::expr::{
    Arity, Datum, EvalContext, FunctionRegistry, FunctionSpec, Program, SPECIAL_FORMS, to_text,
};
use millstream::plan::LogicalPlan;
use millstream::record::{
    DataType, Decimal, ErrorCode, FieldValue, Interval, Schema, StreamRecord, StructValue,
};
use millstream::sql::{Binder, ResolveError, ResolvedRelation, Resolver, Statement, parse};

/// 2026-01-02T03:04:05.678901Z
const NOW: i64 = 1_767_323_045_678_901;

struct NoRelations;

impl Resolver for NoRelations {
    fn relation(&self, _: &str, _: bool) -> Result<ResolvedRelation, ResolveError> {
        Err(ResolveError::NotFound { known: Vec::new() })
    }
    fn file(&self, _: &str, _: Option<&str>, _: Options) -> Result<ResolvedRelation, ResolveError> {
        Err(ResolveError::NotFound { known: Vec::new() })
    }
}

/// What an expression without columns gives; `Err` is a message, with the code if a record failed.
fn eval(functions: &FunctionRegistry, expression: &str) -> Result<FieldValue, (Option<ErrorCode>, String)> {
    let text = format!("SELECT {expression}");
    let shown = |list: Vec<millstream::sql::Diagnostic>| {
        (None, list.iter().map(|d| d.render("example", &text)).collect::<Vec<_>>().join("\n"))
    };
    let statement = parse(&text).into_iter().next().unwrap().map_err(|d| shown(vec![d]))?;
    let Statement::Select(query) = statement.node else { panic!("{text}: no SELECT") };
    let plan = Binder::new(&NoRelations, functions).bind_query(&query, &text).map_err(shown)?;
    let LogicalPlan::Project { columns, .. } = plan else { panic!("{text}: {plan:?}") };
    let program = Program::compile(&columns.first().unwrap().expr);
    let record = StreamRecord::new(Schema::new([]));
    let value = program.eval(&EvalContext { record: &record, now: NOW });
    value.map(|v| v.into_owned()).map_err(|e| (Some(e.code), e.to_string()))
}

fn shown(functions: &FunctionRegistry, expression: &str) -> String {
    match eval(functions, expression) {
        Ok(FieldValue::Null) => "NULL".into(),
        Ok(value) => to_text(&value),
        Err((Some(code), message)) => format!("{}: {message}", code.label()),
        Err((None, message)) => message,
    }
}

#[test]
fn every_example_gives_what_it_says() {
    let functions = FunctionRegistry::builtin();
    let mut wrong = Vec::new();
    let rows = functions.all();
    let examples = rows.iter().map(|f| (f.signature, f.example));
    for (signature, (expression, expected)) in
        examples.chain(SPECIAL_FORMS.iter().map(|f| (f.signature, f.example)))
    {
        let got = shown(&functions, expression);
        if got != expected {
            wrong.push(format!("{signature}\n    {expression}\n    says  {expected}\n    gives {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} examples:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn there_are_at_least_two_hundred_functions() {
    let functions = FunctionRegistry::builtin();
    assert!(functions.names().count() >= 200, "{}", functions.names().count());
}

/// xorshift64*: the same numbers in every run.
struct Random(u64);
impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "abc",
    "jösé",
    "日本語",
    "😀x",
    "%",
    "%s",
    "%1$s",
    "%*s",
    "-",
    "$",
    "$.a[0]",
    "$.a[*].*",
    "[",
    "(",
    "a|b",
    "\\1",
    "{\"a\":[1,{\"b\":null}]}",
    "[1,2,3]",
    "\"\\ud800\"",
    "null",
    "YYYY-MM-DD HH24:MI:SS.US TZH",
    "FM999,990.00PR",
    "9G999D9S",
    "%Y-%m-%d",
    "2024-02-30 25:61:61",
    "-1,234.50",
    "hex",
    "base64",
    "escape",
    "UTF8",
    "day",
    "century",
    "epoch",
    "week",
    "g",
    "i",
    "https://u@h:80/p?q=%41#f",
    "%zz",
    "a=1,b",
    "\u{0}",
    "\"",
    "\\",
    "'",
    "\n",
    "QUERY",
    "99999999999999999999999999999999999",
];
const INTS: &[i64] = &[
    0,
    1,
    -1,
    2,
    3,
    7,
    12,
    28,
    29,
    64,
    100,
    -100,
    2024,
    65_536,
    i32::MAX as i64,
    i32::MIN as i64,
    i64::MAX,
    i64::MIN,
];
const FLOATS: &[f64] = &[
    0.0,
    -0.0,
    0.5,
    -1.5,
    1e-300,
    1e300,
    2.5,
    1e15,
    f64::MAX,
    f64::MIN,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];

fn value(of: &DataType, random: &mut Random, depth: usize) -> FieldValue {
    let items = |item: &DataType, random: &mut Random| -> Vec<FieldValue> {
        (0..random.below(5))
            .map(|_| if random.below(6) == 0 { FieldValue::Null } else { value(item, random, depth + 1) })
            .collect()
    };
    match of {
        DataType::Boolean => FieldValue::Boolean(random.below(2) == 0),
        t if t.is_integer() => FieldValue::Integer(random.pick(INTS)),
        t if t.is_float() => FieldValue::Float(random.pick(FLOATS)),
        DataType::Decimal { .. } => FieldValue::Decimal(random.pick(&[
            Decimal::ZERO,
            Decimal::new(-15, 1),
            Decimal::new(12_345_678, 3),
            Decimal::from_i128_with_scale(10i128.pow(28) - 1, 0),
            Decimal::from_i128_with_scale(1 - 10i128.pow(28), 0),
            Decimal::new(1, 28),
        ])),
        DataType::Varchar => random.pick(TEXTS).into(),
        DataType::Bytes => random.pick(&[&b""[..], b"abc", b"\xff\x00\\"]).into(),
        DataType::Date => {
            FieldValue::Date(random.pick(&[0, -1, 19_000, -719_162, 2_932_896, i32::MAX, i32::MIN]))
        }
        DataType::Time => FieldValue::Time(random.pick(&[0, 1, 86_399_999_999])),
        DataType::Timestamp => FieldValue::Timestamp(random.pick(&[
            0,
            -1,
            NOW,
            -62_135_596_800_000_000,
            253_402_300_799_999_999,
            i64::MAX,
            i64::MIN,
        ])),
        DataType::Interval => FieldValue::Interval(Interval {
            months: random.pick(&[0, 0, 1, -14, i32::MAX, i32::MIN]),
            days: random.pick(&[0, 0, 1, -40, i32::MAX, i32::MIN]),
            micros: random.pick(&[0, 1, -1, 3_600_000_000, i64::MAX, i64::MIN]),
        }),
        DataType::Json => FieldValue::Json(
            random.pick(&["null", "{}", "[1,[2]]", "{\"a\":{\"b\":[true]}}", "\"x\""]).into(),
        ),
        DataType::Array(item) => FieldValue::Array(Arc::new(items(item, random))),
        DataType::Map(k, v) => {
            let keys = items(k, random).into_iter().filter(|k| !k.is_null());
            FieldValue::Map(Arc::new(keys.map(|k| (k, value(v, random, depth + 1))).collect()))
        }
        DataType::Struct(_) => FieldValue::Struct(Arc::new(StructValue {
            names: vec!["key".into(), "value".into()].into(),
            values: vec![value(&DataType::Varchar, random, depth + 1), FieldValue::Null],
        })),
        // Any type.
        _ if depth > 2 => FieldValue::Integer(1),
        _ => {
            let any = [
                DataType::Boolean,
                DataType::BigInt,
                DataType::Double,
                DataType::Decimal { precision: 28, scale: 2 },
                DataType::Varchar,
                DataType::Varchar,
                DataType::Bytes,
                DataType::Date,
                DataType::Time,
                DataType::Timestamp,
                DataType::Interval,
                DataType::Json,
                DataType::array(DataType::Null),
                DataType::map(DataType::Varchar, DataType::Null),
                DataType::Struct(Vec::new()),
            ];
            value(&random.pick(&any), random, depth + 1)
        }
    }
}

fn arguments(function: &FunctionSpec, random: &mut Random) -> Vec<FieldValue> {
    let types: Vec<DataType> = match &function.arity {
        Arity::Exact(types) => types.clone(),
        Arity::Optional(types, optional) => types[..types.len() - random.below(optional + 1)].to_vec(),
        Arity::Variadic(types) => {
            let last = types.last().unwrap();
            types.iter().cloned().chain(std::iter::repeat_n(last.clone(), random.below(4))).collect()
        }
    };
    let null = |random: &mut Random| !function.strict && random.below(4) == 0;
    types.iter().map(|t| if null(random) { FieldValue::Null } else { value(t, random, 0) }).collect()
}

#[test]
fn no_function_panics_or_makes_a_giant_whatever_its_arguments() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let record = StreamRecord::new(Schema::new([]));
    let mut broken = Vec::new();
    std::panic::set_hook(Box::new(|_| {}));
    for function in FunctionRegistry::builtin().all() {
        for _ in 0..100 {
            let args = arguments(&function, &mut random);
            let borrowed: Vec<Datum<'_>> = args.iter().map(Datum::Ref).collect();
            let context = EvalContext { record: &record, now: NOW };
            match catch_unwind(AssertUnwindSafe(|| (function.eval)(&context, &borrowed))) {
                Err(_) => broken.push(format!("{} panics for {args:?}", function.signature)),
                Ok(Ok(value)) if value.heap_bytes() > 128 << 20 => broken.push(format!(
                    "{} makes {} bytes of {args:?}",
                    function.signature,
                    value.heap_bytes()
                )),
                Ok(_) => continue,
            }
            break;
        }
    }
    let _ = std::panic::take_hook();
    assert!(broken.is_empty(), "{} functions:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn probes_give_what_postgresql_gives() {
    let functions = FunctionRegistry::builtin();
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("functions_postgres.txt").lines().filter(|l| !l.starts_with('#')) {
        let (expression, expected) = line.split_once('\t').unwrap();
        count += 1;
        let got = match eval(&functions, expression) {
            Ok(FieldValue::Null) => "NULL".into(),
            Ok(value) => to_text(&value).replace('\n', "\\n"),
            Err((Some(_), _)) => "ERROR".into(),
            Err((None, message)) => format!("REFUSED {message}"),
        };
        let refused = expected == "ERROR" && got.starts_with("REFUSED");
        // Of a DOUBLE and a DECIMAL result the number counts, not the zeros at its end.
        let number = !expression.starts_with("to_char");
        let close = |a: &str, b: &str| {
            number && a.parse::<f64>().is_ok_and(|a| b.parse::<f64>().is_ok_and(|b| a == b))
        };
        if got != expected && !refused && !close(&got, expected) {
            wrong.push(format!("{expression}\n    PostgreSQL {expected}\n    here       {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

//! The optimizer keeps results: random queries over random rows, evaluated three ways – the plan as bound and the optimized
//! plan by a naive interpreter, and the lowered job by the operators – must agree.
//!
//! The interpreter materializes every step. Where the plan as bound rejects records, the others may reject fewer of
//! them (they may evaluate less), never others.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream::catalog::Options;
use millstream::expr::{EvalContext, FunctionRegistry, Program, SystemColumn, scalar};
use millstream::operator::{InputId, Operator, OperatorCounters, Output, Shards, build};
use millstream::plan::{InputRef, JobPlan, LogicalPlan, OutputTarget, lower, optimize};
use millstream::record::{Batch, Field, Pool, Pools};
use millstream::sql::{Binder, ResolveError, ResolvedRelation, Resolver, Statement, parse};
use millstream::{DataType, FieldValue, Schema, StreamRecord};

/// A small generator of random numbers (xorshift64*), so that a seed names a case for ever.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Names of the columns of a relation, by type.
#[derive(Clone, Default)]
struct Columns {
    numbers: Vec<String>,
    texts: Vec<String>,
    lists: Vec<String>,
}

impl Columns {
    fn table() -> Self {
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Self { numbers: own(&["a", "b", "c"]), texts: own(&["s"]), lists: own(&["l"]) }
    }
}

/// Writes random queries.
struct Author {
    dice: Dice,
    fresh: usize,
}

impl Author {
    fn name(&mut self) -> String {
        self.fresh += 1;
        format!("x{}", self.fresh)
    }

    fn number(&mut self, of: &Columns, depth: u32) -> String {
        let leaf = depth == 0 || self.dice.below(3) == 0;
        if leaf {
            if !of.numbers.is_empty() && self.dice.below(4) > 0 {
                let i = self.dice.below(of.numbers.len() as u64) as usize;
                return of.numbers[i].clone();
            }
            return self.dice.one(&["0", "1", "2", "3", "NULL::BIGINT"]).to_owned();
        }
        let (x, y) = (self.number(of, depth - 1), self.number(of, depth - 1));
        match self.dice.below(8) {
            0 | 1 => format!("({x} + {y})"),
            2 => format!("({x} - {y})"),
            3 | 4 => format!("({x} / {y})"),
            5 => format!("coalesce({x}, {y})"),
            6 => {
                let c = self.condition(of, depth - 1);
                format!("CASE WHEN {c} THEN {x} ELSE {y} END")
            }
            _ => format!("abs({x})"),
        }
    }

    fn condition(&mut self, of: &Columns, depth: u32) -> String {
        if depth > 0 && self.dice.below(2) == 0 {
            let (x, y) = (self.condition(of, depth - 1), self.condition(of, depth - 1));
            return match self.dice.below(5) {
                0..=2 => format!("({x} AND {y})"),
                3 => format!("({x} OR {y})"),
                _ => format!("NOT {x}"),
            };
        }
        let (x, y) = (self.number(of, depth.min(1)), self.number(of, depth.min(1)));
        match self.dice.below(10) {
            0 => format!("{x} IS NULL"),
            1 => format!("{x} IN (1, 2, {y})"),
            2 if !of.texts.is_empty() => format!("{} LIKE 'p%'", of.texts[0]),
            3 => "TRUE".into(),
            4 => "1 = 1".into(),
            5 => "_key = 'k1'".into(),
            6 => format!("{x} <> 0"),
            7 => format!("{x} = {y}"),
            _ => format!("{x} < {y}"),
        }
    }

    /// What stands behind FROM, and its columns.
    fn from(&mut self, depth: u32) -> (String, Columns) {
        let (mut text, mut columns) = match (depth, self.dice.below(6)) {
            (0, n) | (_, n @ 0..=1) => {
                (if n % 2 == 0 { "t".to_owned() } else { "rigid".to_owned() }, Columns::table())
            }
            (_, 2) => {
                let (left, right) = (self.numbers_only(depth - 1), self.numbers_only(depth - 1));
                let columns = Columns { numbers: vec!["u".into(), "v".into()], ..Columns::default() };
                (format!("({left} UNION ALL {right}) AS q(u, v)"), columns)
            }
            _ => {
                let (query, columns) = self.select(depth - 1);
                (format!("({query})"), columns)
            }
        };
        if !columns.lists.is_empty() && self.dice.below(4) == 0 {
            let element = self.name();
            let list = &columns.lists[0];
            text = match self.dice.below(2) {
                0 => format!("{text} CROSS JOIN UNNEST({list}) AS e{element}({element})"),
                _ => format!("{text} LEFT JOIN UNNEST({list}) AS e{element}({element}) ON TRUE"),
            };
            columns.numbers.push(element);
        }
        (text, columns)
    }

    fn wheres(&mut self, of: &Columns) -> String {
        match self.dice.below(3) {
            0 => String::new(),
            _ => format!(" WHERE {}", self.condition(of, 2)),
        }
    }

    /// A query of exactly two numbers.
    fn numbers_only(&mut self, depth: u32) -> String {
        let (from, of) = self.from(depth);
        let (x, y) = (self.number(&of, 2), self.number(&of, 1));
        let condition = self.wheres(&of);
        format!("SELECT {x} AS n1, {y} AS n2 FROM {from}{condition}")
    }

    fn select(&mut self, depth: u32) -> (String, Columns) {
        let (from, mut of) = self.from(depth);
        let condition = self.wheres(&of);
        let mut made = Columns::default();
        let mut items = Vec::new();
        for _ in 0..1 + self.dice.below(4) {
            match self.dice.below(8) {
                0 if !of.texts.is_empty() && made.texts.is_empty() => {
                    items.push(of.texts[0].clone());
                    made.texts.push(of.texts[0].clone());
                }
                1 if !of.lists.is_empty() && made.lists.is_empty() => {
                    items.push(of.lists[0].clone());
                    made.lists.push(of.lists[0].clone());
                }
                2 if !items.iter().any(|i| i.ends_with(" AS _key")) => {
                    items.push(format!("{}::VARCHAR AS _key", self.number(&of, 1)));
                }
                3..=5 => {
                    let (name, expr) = (self.name(), self.number(&of, 2));
                    items.push(format!("{expr} AS {name}"));
                    // Later items and, by its name, the outer query may use it.
                    of.numbers.push(name.clone());
                    made.numbers.push(name);
                }
                _ => {
                    let i = self.dice.below(of.numbers.len().max(1) as u64) as usize;
                    match of.numbers.get(i) {
                        Some(n) if !made.numbers.contains(n) => {
                            items.push(n.clone());
                            made.numbers.push(n.clone());
                        }
                        _ => {}
                    }
                }
            }
        }
        if made.numbers.is_empty() {
            let name = self.name();
            items.push(format!("1 AS {name}"));
            made.numbers.push(name);
        }
        let limit = if self.dice.below(12) == 0 { " LIMIT 4 OFFSET 1" } else { "" };
        (format!("SELECT {} FROM {from}{condition}{limit}", items.join(", ")), made)
    }
}

fn table() -> Arc<Schema> {
    let number = |n: &str| Field::new(n, DataType::BigInt);
    Schema::new([
        number("a").not_null(),
        number("b"),
        number("c"),
        Field::new("s", DataType::Varchar),
        Field::new("l", DataType::array(DataType::BigInt)),
    ])
}

fn rows(dice: &mut Dice) -> Vec<StreamRecord> {
    let schema = table();
    let value = |dice: &mut Dice| match dice.below(6) {
        0 => FieldValue::Null,
        n => FieldValue::Integer(n as i64 - 2),
    };
    (0..10)
        .map(|i| {
            let list = match dice.below(4) {
                0 => FieldValue::Null,
                n => FieldValue::Array(Arc::new((1..n).map(|_| value(dice)).collect())),
            };
            let a = FieldValue::Integer(dice.below(4) as i64 - 1);
            let values = [a, value(dice), value(dice), dice.one(&["p", "pq", "q"]).into(), list];
            let mut record = StreamRecord::with_values(schema.clone(), values);
            record.set_offset(Some(i));
            record.set_key(FieldValue::from(format!("k{}", dice.below(3)).as_str()));
            record
        })
        .collect()
}

struct Catalog;

impl Resolver for Catalog {
    fn relation(&self, name: &str, _: bool) -> Result<ResolvedRelation, ResolveError> {
        Ok(ResolvedRelation::Source {
            name: name.into(),
            schema: table(),
            projects: name == "t",
            bounded: true,
            time: None,
        })
    }
    fn file(&self, _: &str, _: Option<&str>, _: Options) -> Result<ResolvedRelation, ResolveError> {
        Err(ResolveError::NotFound { known: Vec::new() })
    }
}

/// What an evaluation gives: rows that came out, and offsets of the records that were rejected.
#[derive(Debug, Default)]
struct Outcome {
    rows: Vec<StreamRecord>,
    rejected: BTreeSet<i64>,
}

/// Columns of `schema`, found by name in a record of the table.
fn scan(rows: &[StreamRecord], schema: &Arc<Schema>) -> Vec<StreamRecord> {
    let narrow = |r: &StreamRecord| {
        let values = schema.names().map(|n| r.get(n).cloned().unwrap_or_default());
        let mut made = StreamRecord::with_values(schema.clone(), values);
        made.copy_metadata(r);
        made
    };
    rows.iter().map(narrow).collect()
}

/// The naive interpreter.
struct Interpreter<'a> {
    rows: &'a [StreamRecord],
    rejected: BTreeSet<i64>,
}

impl Interpreter<'_> {
    fn eval(&mut self, program: &Program, record: &StreamRecord) -> Option<FieldValue> {
        let result = program.eval(&EvalContext { record, now: 0 }).map(|v| v.into_owned());
        if result.is_err() {
            self.rejected.insert(record.offset().unwrap_or(-1));
        }
        result.ok()
    }

    fn run(&mut self, plan: &LogicalPlan) -> Vec<StreamRecord> {
        match plan {
            LogicalPlan::Scan { schema, .. } => scan(self.rows, schema),
            LogicalPlan::Values { schema, rows } => {
                rows.iter().map(|r| StreamRecord::with_values(schema.clone(), r.iter().cloned())).collect()
            }
            LogicalPlan::Filter { input, predicate } => {
                let rows = self.run(input);
                let predicate = Program::compile(predicate);
                let passes = |r: &StreamRecord| self.eval(&predicate, r) == Some(FieldValue::Boolean(true));
                let verdicts: Vec<bool> = rows.iter().map(passes).collect();
                rows.into_iter().zip(verdicts).filter(|(_, v)| *v).map(|(r, _)| r).collect()
            }
            LogicalPlan::Project { input, columns, schema } => {
                let rows = self.run(input);
                let columns: Vec<(Program, OutputTarget)> =
                    columns.iter().map(|c| (Program::compile(&c.expr), c.target.clone())).collect();
                rows.iter().filter_map(|r| self.project(r, &columns, schema)).collect()
            }
            LogicalPlan::Unnest { input, expr, outer, with_ordinality: _, schema } => {
                let rows = self.run(input);
                let mut made = Vec::new();
                let program = Program::compile(expr);
                for row in &rows {
                    let items = match self.eval(&program, row) {
                        None => continue,
                        Some(FieldValue::Array(items)) => items.to_vec(),
                        Some(_) => Vec::new(),
                    };
                    let items = if items.is_empty() && *outer { vec![FieldValue::Null] } else { items };
                    for item in items {
                        let values = row.values().iter().cloned().chain([item]);
                        let mut next = StreamRecord::with_values(schema.clone(), values);
                        next.copy_metadata(row);
                        made.push(next);
                    }
                }
                made
            }
            LogicalPlan::Union { inputs, schema } => {
                let rows: Vec<_> = inputs.iter().flat_map(|i| self.run(i)).collect();
                rows.into_iter()
                    .map(|mut r| {
                        r.reshape(schema);
                        r
                    })
                    .collect()
            }
            LogicalPlan::Stateful { .. } => panic!("the author writes no stateful queries"),
            LogicalPlan::Limit { input, count, offset } => {
                let rows = self.run(input).into_iter().skip(*offset as usize);
                rows.take(count.map_or(usize::MAX, |c| c as usize)).collect()
            }
        }
    }

    fn project(
        &mut self,
        row: &StreamRecord,
        columns: &[(Program, OutputTarget)],
        schema: &Arc<Schema>,
    ) -> Option<StreamRecord> {
        let (mut values, mut key) = (Vec::new(), None);
        for (program, target) in columns {
            let value = self.eval(program, row)?;
            match target {
                OutputTarget::Column(_) => values.push(value),
                OutputTarget::System(SystemColumn::Key) => key = Some(value),
                OutputTarget::System(other) => panic!("{other:?}"),
            }
        }
        let mut made = StreamRecord::with_values(schema.clone(), values);
        made.copy_metadata(row);
        if let Some(key) = key {
            made.set_key(key);
        }
        Some(made)
    }
}

fn interpret(plan: &LogicalPlan, rows: &[StreamRecord]) -> Outcome {
    let mut interpreter = Interpreter { rows, rejected: BTreeSet::new() };
    let rows = interpreter.run(plan);
    Outcome { rows, rejected: interpreter.rejected }
}

/// Runs a job by hand: each node over everything that its inputs delivered, in batches of `size`.
fn execute(job: &JobPlan, rows: &[StreamRecord], size: usize) -> Outcome {
    let mut rejected = BTreeSet::new();
    let pools = Pools::new(vec![Pool::new(8, usize::MAX)]);
    let sources: Vec<Vec<StreamRecord>> = job
        .sources
        .iter()
        .map(|s| match &s.values {
            None => scan(rows, &s.schema),
            Some(values) => values
                .iter()
                .map(|v| StreamRecord::with_values(s.schema.clone(), v.iter().cloned()))
                .collect(),
        })
        .collect();
    let mut nodes: Vec<Vec<StreamRecord>> = Vec::new();
    let read = |nodes: &[Vec<StreamRecord>], input: InputRef| match input {
        InputRef::Source(i) => sources[i].clone(),
        InputRef::Node(i) => nodes[i].clone(),
    };
    for node in &job.nodes {
        let mut operator: Box<dyn Operator> = build(node, Shards::ONE).unwrap();
        let (mut batches, mut rejects, mut counters) = (Vec::new(), Vec::new(), OperatorCounters::default());
        for (n, input) in node.inputs.iter().enumerate() {
            for chunk in read(&nodes, *input).chunks(size) {
                let batch = Batch::new(chunk.iter().cloned().map(Arc::new).collect());
                let workers = millstream::operator::Workers::default();
                let mut out = Output {
                    workers: &workers,
                    batches: &mut batches,
                    rejects: &mut rejects,
                    counters: &mut counters,
                    pools: &pools,
                    home: 0,
                    now: 0,
                    done: false,
                    watermark: None,
                    idle: None,
                    fatal: None,
                    decision: None,
                };
                if n % 2 == 0 {
                    operator.process(InputId(n), batch, &mut out);
                } else {
                    operator.process_shared(InputId(n), &batch, &mut out);
                }
            }
        }
        rejected.extend(rejects.iter().map(|r| r.record.offset().unwrap_or(-1)));
        assert_eq!(
            counters.input,
            counters.forwarded + counters.filtered + counters.absorbed + counters.rejected,
            "{}",
            node.id
        );
        nodes.push(batches.iter().flat_map(|b| b.records().iter().map(|r| (**r).clone())).collect());
    }
    let rows = job.sinks[0].inputs.iter().flat_map(|i| read(&nodes, *i)).collect();
    Outcome { rows, rejected }
}

/// A row as text: what it holds and where it came from.
fn shown(rows: &[StreamRecord]) -> Vec<String> {
    rows.iter().map(|r| format!("{:?} {:?} {:?}", r.offset(), r.key(), r.values())).collect()
}

/// Whether `part` is `whole` with some left out.
fn is_subsequence(part: &[String], whole: &[String]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|row| rest.any(|r| r == row))
}

fn compare(what: &str, sql: &str, plan: &str, reference: &Outcome, given: &Outcome) {
    let (expected, found) = (shown(&reference.rows), shown(&given.rows));
    let case = || {
        format!(
            "{what}\n{sql}\n{plan}\nexpected {expected:#?}\nfound {found:#?}\nrejected {:?} and {:?}",
            reference.rejected, given.rejected
        )
    };
    if reference.rejected.is_empty() {
        assert!(given.rejected.is_empty(), "fails where the plan as written does not: {}", case());
        assert!(expected == found, "differs: {}", case());
    } else if !sql.contains("LIMIT") {
        assert!(given.rejected.is_subset(&reference.rejected), "rejects other records: {}", case());
        assert!(is_subsequence(&expected, &found), "loses rows: {}", case());
    }
}

#[test]
fn optimized_and_lowered_plans_give_what_the_plan_as_written_gives() {
    let mut functions = FunctionRegistry::empty();
    scalar::register_all(&mut functions);
    let binder = Binder::new(&Catalog, &functions);
    let (mut clean, mut rejecting, mut shorter) = (0, 0, 0);
    for seed in 0..1500u64 {
        let mut author = Author { dice: Dice::new(seed), fresh: 0 };
        let (sql, _) = author.select(3);
        let rows = rows(&mut author.dice);
        let statement =
            parse(&sql).remove(0).unwrap_or_else(|e| panic!("seed {seed}: {}", e.render("q", &sql)));
        let Statement::Select(query) = statement.node else { panic!("seed {seed}: {sql}") };
        let plan = binder
            .bind_query(&query, &sql)
            .unwrap_or_else(|e| panic!("seed {seed}: {}", e[0].render("q", &sql)));
        let optimized = optimize(plan.clone());
        assert_eq!(plan.schema().names().collect::<Vec<_>>(), optimized.schema().names().collect::<Vec<_>>());
        let reference = interpret(&plan, &rows);
        let text = format!("seed {seed}");
        let after = interpret(&optimized, &rows);
        compare("optimized", &sql, &text, &reference, &after);
        for plan in [&plan, &optimized] {
            let job = lower(vec![(String::new(), plan.clone())]);
            let size = 1 + seed as usize % 5;
            compare("executed", &sql, &text, &reference, &execute(&job, &rows, size));
        }
        match reference.rejected.is_empty() {
            true => clean += 1,
            false => rejecting += 1,
        }
        shorter += usize::from(after.rejected.len() < reference.rejected.len());
    }
    // The cases must be worth their time.
    assert!(
        clean > 200 && rejecting > 200 && shorter > 10,
        "{clean} clean, {rejecting} rejecting, {shorter} shorter"
    );
}

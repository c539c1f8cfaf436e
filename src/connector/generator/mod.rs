//! Generated rows: every value is a function of seed, column and row number.
//!
//! So the same seed gives the same rows in whatever batches, a position is a row number, and columns that a plan does not
//! read cost nothing.
//!
//! ```sql
//! CREATE STREAM orders WITH (connector = 'generator', preset = 'orders', rows = '2000000');
//! CREATE STREAM readings (id BIGINT, city VARCHAR, temperature DOUBLE, ts TIMESTAMP) WITH (
//!   connector = 'generator', rate = '1000', seed = '7',
//!   'fields.city.kind' = 'choice', 'fields.city.values' = 'Oslo,Rome,Lima', 'fields.city.weights' = '3,1,1',
//!   'fields.temperature.min' = '-20', 'fields.temperature.max' = '40', 'fields.temperature.decimals' = '1',
//!   'fields.ts.step' = '250ms', 'fields.ts.jitter' = '2s');
//! ```
//!
//! | kind | columns | takes |
//! |---|---|---|
//! | `sequence` | numbers, VARCHAR | `start`, `step`, `prefix` |
//! | `random` | all scalar types | `min`, `max`, `decimals`, `length`, `prefix`, `by`, `spread` |
//! | `choice` | all scalar types | `values`, `weights` |
//! | `timestamp` | TIMESTAMP, DATE, VARCHAR, BIGINT (epoch ms) | `start`, `step`, `jitter` |
//! | `now` | TIMESTAMP, VARCHAR, BIGINT (epoch ms) | |
//! | `uuid` | VARCHAR | |
//!
//! With `by`, random numbers lie around a mean that depends on what another column chose in that row; the means lie in the middle half of
//! `min` to `max`, and `spread` is the standard deviation. Each also takes `nulls`, the share of NULLs. Without `kind`, a TIMESTAMP is a `timestamp`, a first column of integers a
//! `sequence`, everything else `random`.

mod field;
mod preset;
mod reader;
mod stations;
mod value;

use std::sync::Arc;

use self::field::FieldOptions;
use self::reader::GeneratorReader;
use self::value::Column;
use super::registry::{ConnectorSpec, SourceRequest, Typed, config, declared_schema, option_error};
use crate::catalog::{OptionKind, OptionSpec, Options, nearest};
use crate::io::{Boundedness, DataReader, DataSource, IoError, Scan};
use crate::record::{Clock, Schema};

pub use self::preset::{PRESETS, Preset};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "preset",
        OptionKind::OneOf(&["orders", "clicks", "sensors", "measurements"]),
        "",
        "ready-made columns; they need not be declared",
    ),
    OptionSpec::new(
        "rows",
        OptionKind::Int { min: 0, max: i64::MAX },
        "",
        "number of rows; none = without end",
    ),
    OptionSpec::new(
        "rate",
        OptionKind::Float { min: 0.0, max: 1e12 },
        "0",
        "rows per second; 0 = as fast as they are taken",
    ),
    OptionSpec::new(
        "seed",
        OptionKind::Int { min: 0, max: i64::MAX },
        "1",
        "another seed gives other rows, the same one the same rows",
    ),
];

pub(super) const SPEC: ConnectorSpec = ConnectorSpec {
    name: "generator",
    doc: "generated rows: ready-made (preset) or column by column ('fields.<column>.kind' = …)",
    options: OPTIONS,
    free_prefix: "fields.",
    has_format: false,
    source: Some(source),
    sink: None,
};

/// What every reader of one generator shares.
#[derive(Clone)]
struct Plan {
    rows: Option<u64>,
    rate: f64,
    clock: Clock,
}

/// A source of generated rows.
pub struct Generator {
    schema: Arc<Schema>,
    columns: Vec<Column>,
    plan: Plan,
}

impl Generator {
    /// A generator as the options say: `preset`, `rows`, `rate`, `seed`, `fields.<column>.<option>`. Without
    /// `declared` columns those of the preset.
    ///
    /// # Errors
    /// Unknown or contradictory options, no columns at all.
    pub fn new(declared: Option<Arc<Schema>>, options: &Options, clock: &Clock) -> Result<Self, IoError> {
        let typed = Typed { options, specs: OPTIONS };
        let preset = typed.text("preset")?.and_then(|name| PRESETS.iter().find(|p| p.name == name));
        let schema = match (declared, preset) {
            (Some(schema), _) => schema,
            (None, Some(preset)) => preset.schema(),
            (None, None) => {
                return Err(IoError::config("connector 'generator' needs declared columns or a 'preset'"));
            }
        };
        let seed = typed.int("seed")?.unwrap_or(1) as u64;
        let rate = typed.float("rate")?.unwrap_or(0.0);
        check_field_names(options, &schema)?;
        let mut columns: Vec<Column> = Vec::with_capacity(schema.len());
        let mut around = Vec::new();
        for (i, field) in schema.fields().iter().enumerate() {
            let mut own = FieldOptions::of(&field.name, options);
            let ready =
                preset.and_then(|p| p.fields.iter().find(|f| f.name.eq_ignore_ascii_case(&field.name)));
            own.complete_from(ready.map_or(&[], |f| f.options));
            columns.push(own.column(field, i == 0, seed, rate).map_err(config)?);
            if let Some(by) = own.by().map_err(config)? {
                around.push((i, by, own));
            }
        }
        for (i, by, own) in around {
            let other = schema.find(&by).and_then(|at| columns.get(at)).cloned();
            let other = other.ok_or_else(|| config(own.no_such_column(&by)))?;
            if let Some(column) = columns.get_mut(i) {
                own.around(column, &other).map_err(config)?;
            }
        }
        let rows = typed.int("rows")?.map(|n| n as u64);
        Ok(Self { schema, columns, plan: Plan { rows, rate, clock: clock.clone() } })
    }
}

/// Every `fields.x.…` must name a column.
fn check_field_names(options: &Options, schema: &Arc<Schema>) -> Result<(), IoError> {
    for (name, _) in options.iter().filter(|(name, _)| name.starts_with(SPEC.free_prefix)) {
        let column = field::column_of(name).ok_or_else(|| {
            config(option_error(name, format!("option '{name}' should read 'fields.<column>.<option>'")))
        })?;
        if !schema.names().any(|n| n.eq_ignore_ascii_case(column)) {
            let near = nearest(column, schema.names());
            let hint = match near.as_slice() {
                [] => format!("there are {}", schema.names().collect::<Vec<_>>().join(", ")),
                near => format!("did you mean {}?", near.join(" or ")),
            };
            let message = format!("option '{name}': there is no column '{column}'; {hint}");
            return Err(config(option_error(name, message)));
        }
    }
    Ok(())
}

fn source(request: &SourceRequest<'_>) -> Result<Arc<dyn DataSource>, IoError> {
    let declared = (!request.columns.is_empty()).then(|| declared_schema(request.columns));
    Ok(Arc::new(Generator::new(declared, request.options, request.clock)?))
}

impl DataSource for Generator {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn projects(&self) -> bool {
        true
    }
    fn boundedness(&self) -> Boundedness {
        match self.plan.rows {
            Some(_) => Boundedness::Bounded,
            None => Boundedness::Unbounded,
        }
    }
    fn can_replay(&self) -> bool {
        true
    }
    fn open(&self, scan: &Scan) -> Result<Box<dyn DataReader>, IoError> {
        let mut columns = Vec::with_capacity(scan.schema.len());
        for name in scan.schema.names() {
            let column = self.schema.find(name).and_then(|i| self.columns.get(i));
            let missing = || IoError::config(format!("the generator has no column '{name}'"));
            columns.push(column.ok_or_else(missing)?.clone());
        }
        let mut plan = self.plan.clone();
        if let Some(clock) = &scan.clock {
            plan.clock = clock.clone();
        }
        Ok(Box::new(GeneratorReader::new(scan.schema.clone(), columns, plan)))
    }
}

#[cfg(test)]
mod tests;

//! UNNEST: one row per element of an array or entry of a map.

use sqlparser::ast::{self, Expr as Ast, Ident};

use super::scope::{Names, Scope};
use super::{Bind, Session};
use crate::plan::LogicalPlan;
use crate::record::{DataType, Field, Schema};

impl Session<'_, '_> {
    pub(super) fn unnest(
        &mut self,
        (input, mut scope): (LogicalPlan, Scope),
        alias: Option<&ast::TableAlias>,
        arrays: &[Ast],
        with_offset: bool,
        with_ordinality: bool,
        outer: bool,
    ) -> Bind<(LogicalPlan, Scope)> {
        if with_offset {
            return self.unsupported("WITH OFFSET (write WITH ORDINALITY, which counts from 1)", self.here);
        }
        let [array] = arrays else { return self.unsupported("UNNEST of several arrays at once", self.here) };
        let expr = self.expr(array, Names::of(&scope))?;
        let own = alias.map_or("unnest", |a| a.name.value.as_str());
        let mut fields = match expr.data_type() {
            DataType::Array(item) => match *item {
                // The fields of a row type become columns, as in PostgreSQL and Flink.
                DataType::Struct(fields) => {
                    fields.into_iter().map(|f| Field::new(f.name, f.data_type)).collect()
                }
                item => vec![Field::new(own, item)],
            },
            DataType::Map(key, value) => vec![Field::new("key", *key), Field::new("value", *value)],
            other => {
                let at = self.place(array);
                return self.fail(format!("UNNEST takes an ARRAY or a MAP, not {other}"), at);
            }
        };
        if with_ordinality {
            fields.push(Field::new("ordinality", DataType::BigInt));
        }
        if let Some(alias) = alias {
            fields = self.alias_columns(fields, alias)?;
        }
        let schema = Schema::new(input.schema().fields().iter().chain(&fields).cloned());
        let name = alias.map_or_else(|| Ident::new("unnest"), |a| a.name.clone());
        scope.append(Some(name), fields);
        let plan = LogicalPlan::Unnest { input: Box::new(input), expr, outer, with_ordinality, schema };
        Ok((plan, scope))
    }
}

//! UNION, INTERSECT, EXCEPT: columns of several queries brought together, by position.
//!
//! INTERSECT and EXCEPT group the rows of both sides together and count for each how often either side has it: NULLs are
//! equal there, as in GROUP BY.

use sqlparser::ast::{SetExpr, SetOperator, SetQuantifier};

use super::{Bind, Bound, Reported, Session, all};
use crate::expr::{AggregateCall, BinaryOp, Expr, UnaryOp, typing};
use crate::plan::{AggregateSpec, Emit, LogicalPlan, OutputColumn, OutputTarget, Stateful, is_updating};
use crate::record::{DataType, Field, FieldValue, Schema};
use crate::sql::{Diagnostic, Span};

/// What is done with the rows of the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Combine {
    Union,
    Intersect,
    Except,
}

impl Session<'_, '_> {
    /// `a UNION ALL b UNION ALL c`, which the parser nests to the left, as one node; other operations two by two.
    pub(super) fn combination(&mut self, body: &SetExpr) -> Bind<Bound> {
        let SetExpr::SetOperation { op, set_quantifier, left: _, right } = body else { return Err(Reported) };
        let at = self.keyword_before(&**right, &op.to_string());
        let combine = match op {
            SetOperator::Union => Combine::Union,
            SetOperator::Intersect => Combine::Intersect,
            SetOperator::Except | SetOperator::Minus => Combine::Except,
        };
        let keeps_all = match set_quantifier {
            SetQuantifier::All => true,
            SetQuantifier::None | SetQuantifier::Distinct => false,
            SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName => {
                return self.unsupported(&format!("{op} BY NAME"), at);
            }
        };
        let mut parts = Vec::new();
        let mut rest = body;
        while let SetExpr::SetOperation { op: next, set_quantifier: quantifier, left, right } = rest {
            let same = next == op
                && match quantifier {
                    SetQuantifier::All => keeps_all,
                    SetQuantifier::None | SetQuantifier::Distinct => !keeps_all,
                    _ => false,
                };
            // INTERSECT and EXCEPT are not the same for three as one after the other.
            if !same || !parts.is_empty() && combine != Combine::Union {
                break;
            }
            parts.push(&**right);
            rest = left;
        }
        parts.push(rest);
        let bound: Vec<_> = parts
            .into_iter()
            .rev()
            .map(|p| {
                let at = self.place(p);
                self.within(at, |s| Ok((s.set_expr(p)?, at)))
            })
            .collect();
        let name = if keeps_all { format!("{op} ALL") } else { op.to_string() };
        let united = self.unite(all(bound)?, &name)?;
        match (combine, keeps_all) {
            (Combine::Union, true) => Ok(united),
            (Combine::Union, false) => self.within(at, |s| s.distinct(united)),
            (combine, keeps_all) => self.within(at, |s| s.compared(united, combine, keeps_all, &name)),
        }
    }

    /// INTERSECT, EXCEPT of the two inputs of a union.
    fn compared(&mut self, united: Bound, combine: Combine, keeps_all: bool, name: &str) -> Bind<Bound> {
        let at = self.here;
        let Bound { plan, spans } = united;
        let LogicalPlan::Union { inputs, schema } = plan else { return Err(Reported) };
        let bounded = inputs.iter().all(LogicalPlan::is_bounded);
        if keeps_all && !bounded {
            let error = Diagnostic::new(format!("{name} needs bounded input"), at);
            return Err(
                self.report(error.with_hint("without ALL each row comes once, and goes when it must"))
            );
        }
        let width = schema.len();
        let side = Field::new("side", DataType::Boolean);
        let sided = Schema::new(schema.fields().iter().cloned().chain([side]));
        let inputs = inputs.into_iter().zip([true, false]).map(|(input, first)| {
            let mut columns = self.columns_of(input.schema(), width)?;
            let expr = typing::literal(FieldValue::Boolean(first));
            columns.push(OutputColumn { expr, target: OutputTarget::Column("side".into()) });
            Ok(LogicalPlan::Project { input: Box::new(input), columns, schema: sided.clone() })
        });
        let inputs = all(inputs.collect::<Vec<_>>())?;
        let keys: Vec<Expr> = self.columns_of(&sided, width)?.into_iter().map(|c| c.expr).collect();
        for (key, at) in keys.iter().zip(&spans) {
            self.typed(typing::binary(BinaryOp::Eq, key.clone(), key.clone()), *at)?;
        }
        let calls = vec![self.count_of(&sided, width, true)?, self.count_of(&sided, width, false)?];
        let counts = [Field::new("left", DataType::BigInt), Field::new("right", DataType::BigInt)];
        let counted = Schema::new(schema.fields().iter().cloned().chain(counts));
        let count = |i: usize| typing::column(&counted, width + i);
        let zero = || typing::literal(FieldValue::Integer(0));
        let right = if combine == Combine::Intersect { BinaryOp::Greater } else { BinaryOp::Eq };
        let having = match keeps_all {
            true => None,
            false => {
                let there = count(0).and_then(|c| typing::binary(BinaryOp::Greater, c, zero()));
                let other = count(1).and_then(|c| typing::binary(right, c, zero()));
                let both = there.and_then(|a| typing::and(vec![a, other?]));
                Some(self.typed(both, at)?)
            }
        };
        let retracts = inputs.iter().any(is_updating);
        let input = Box::new(LogicalPlan::Union { inputs, schema: sided });
        let spec = AggregateSpec {
            keys,
            grouping_sets: Vec::new(),
            window: None,
            calls,
            having,
            unseen: Vec::new(),
            emit: if bounded { Emit::Final } else { Emit::Changes },
            retracts,
            ttl: None,
            schema: counted.clone(),
        };
        let mut plan = LogicalPlan::Stateful { input, spec: Stateful::Aggregate(Box::new(spec)) };
        if keeps_all {
            let (left, right) = (self.typed(count(0), at)?, self.typed(count(1), at)?);
            let copies = match combine {
                Combine::Intersect => self.call_with("least", vec![left, right])?,
                _ => self.typed(typing::binary(BinaryOp::Subtract, left, right), at)?,
            };
            // No copy at all where the difference is negative.
            let expr = self.call_with("range", vec![copies])?;
            let copy = Field::new("copy", DataType::BigInt);
            let schema = Schema::new(counted.fields().iter().cloned().chain([copy]));
            plan = LogicalPlan::Unnest {
                input: Box::new(plan),
                expr,
                outer: false,
                with_ordinality: false,
                schema,
            };
        }
        let columns = self.columns_of(plan.schema(), width)?;
        Ok(Bound { plan: LogicalPlan::Project { input: Box::new(plan), columns, schema }, spans })
    }

    /// The first columns of a schema, as they are.
    fn columns_of(&mut self, schema: &Schema, width: usize) -> Bind<Vec<OutputColumn>> {
        let columns = schema.fields().iter().take(width).enumerate().map(|(i, field)| {
            let expr = self.typed(typing::column(schema, i), self.here)?;
            Ok(OutputColumn { expr, target: OutputTarget::Column(field.name.clone()) })
        });
        all(columns.collect::<Vec<_>>())
    }

    /// How often one side has a row.
    fn count_of(&mut self, schema: &Schema, side: usize, first: bool) -> Bind<AggregateCall> {
        let side = self.typed(typing::column(schema, side), self.here)?;
        let filter = if first { Ok(side) } else { typing::unary(UnaryOp::Not, side) };
        let filter = self.typed(filter, self.here)?;
        let made = typing::aggregate_call(
            self.binder.functions,
            "count",
            Vec::new(),
            false,
            Some(filter),
            Vec::new(),
        );
        self.typed(made, self.here)
    }

    /// Brings the columns of all inputs to common types, by position.
    fn unite(&mut self, mut inputs: Vec<(Bound, Span)>, name: &str) -> Bind<Bound> {
        let Some((first, _)) = inputs.first() else { return Err(Reported) };
        let spans = first.spans.clone();
        let first = first.plan.schema().clone();
        for (other, at) in &inputs {
            let n = other.plan.schema().len();
            if n != first.len() {
                let message = format!(
                    "the inputs of {name} differ in columns: the first has {}, this one {n}",
                    first.len()
                );
                return self.fail(message, *at);
            }
        }
        for i in 0..first.len() {
            self.adapt_constants(&mut inputs, i)?;
        }
        let first = inputs.first().map_or(first, |(b, _)| b.plan.schema().clone());
        let mut fields = Vec::with_capacity(first.len());
        for (i, field) in first.fields().iter().enumerate() {
            let column = |b: &Bound| b.plan.schema().fields().get(i).cloned();
            let columns: Vec<Field> = inputs.iter().filter_map(|(b, _)| column(b)).collect();
            let types: Vec<DataType> = columns.iter().map(|f| f.data_type.clone()).collect();
            let common = typing::common_type(&types).map_err(|e| {
                let differs = types.iter().position(|t| *t != field.data_type);
                let at = differs.and_then(|n| inputs.get(n)?.0.spans.get(i).copied()).unwrap_or(self.here);
                let message = format!("{name}, column '{}': {}", field.name, e.message);
                self.report(Diagnostic { message, span: at, hint: e.hint })
            })?;
            let nullable = columns.iter().any(|f| f.nullable);
            fields.push(Field { name: field.name.clone(), data_type: common, nullable });
        }
        let schema = Schema::new(fields);
        let coerced: Vec<_> =
            inputs.into_iter().map(|(b, at)| self.coerce_columns(b.plan, &schema, at)).collect();
        Ok(Bound { plan: LogicalPlan::Union { inputs: all(coerced)?, schema }, spans })
    }

    /// Text in quotes takes the type that column `i` has in the other inputs, as in a row of VALUES.
    fn adapt_constants(&mut self, inputs: &mut [(Bound, Span)], i: usize) -> Bind<()> {
        let mut others = Vec::new();
        for (input, _) in inputs.iter_mut() {
            if text_item(&mut input.plan, i).is_none() {
                others.extend(input.plan.schema().fields().get(i).map(|f| f.data_type.clone()));
            }
        }
        // Without a common type, the error is reported for all inputs together.
        let Ok(to) = typing::common_type(&others) else { return Ok(()) };
        if others.len() == inputs.len() || matches!(to, DataType::Null | DataType::Varchar) {
            return Ok(());
        }
        for (input, _) in inputs {
            let at = input.spans.get(i).copied().unwrap_or(self.here);
            let Some(item) = text_item(&mut input.plan, i) else { continue };
            let adapted = self.typed(typing::coerce(item.clone(), &to), at)?;
            let data_type = adapted.data_type();
            *item = adapted;
            if let LogicalPlan::Project { schema, .. } = &mut input.plan {
                let mut fields = schema.fields().to_vec();
                if let Some(field) = fields.get_mut(i) {
                    field.data_type = data_type;
                }
                *schema = Schema::new(fields);
            }
        }
        Ok(())
    }

    /// Casts the columns of `plan` to the types of `wanted`; they keep their names.
    fn coerce_columns(&mut self, plan: LogicalPlan, wanted: &Schema, at: Span) -> Bind<LogicalPlan> {
        let schema = plan.schema().clone();
        let same = schema.fields().iter().zip(wanted.fields()).all(|(a, b)| a.data_type == b.data_type);
        if same {
            return Ok(plan);
        }
        let mut columns = Vec::with_capacity(schema.len());
        let mut fields = Vec::with_capacity(schema.len());
        for (i, (field, to)) in schema.fields().iter().zip(wanted.fields()).enumerate() {
            let made = typing::column(&schema, i).and_then(|c| typing::coerce(c, &to.data_type));
            columns.push(OutputColumn {
                expr: self.typed(made, at)?,
                target: OutputTarget::Column(field.name.clone()),
            });
            fields.push(Field { data_type: to.data_type.clone(), ..field.clone() });
        }
        Ok(LogicalPlan::Project { input: Box::new(plan), columns, schema: Schema::new(fields) })
    }
}

/// The item of a SELECT list behind output column `i`, if it is text in quotes.
fn text_item(plan: &mut LogicalPlan, i: usize) -> Option<&mut Expr> {
    let LogicalPlan::Project { columns, .. } = plan else { return None };
    let mut items = columns.iter_mut().filter(|c| matches!(c.target, OutputTarget::Column(_)));
    let item = &mut items.nth(i)?.expr;
    matches!(item, Expr::Literal { value: FieldValue::String(_), data_type: DataType::Varchar })
        .then_some(item)
}

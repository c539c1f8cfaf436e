//! Logical plans of one job → its physical plan.
//!
//! Everything that is equal is made once: a relation is read by one source whoever reads it, with the union of the columns
//! wanted, and equal operators over equal inputs are one node whose output fans out.

use std::sync::Arc;

use super::walk::{is_volatile, system_columns};
use super::{
    FilterProjectSpec, InputRef, JobPlan, LimitSpec, LogicalPlan, NodeSpec, OperatorSpec, OutputColumn,
    OutputTarget, ProjectColumn, SinkSpec, SourceSpec, Stateful, UnnestSpec, WindowKind, is_updating,
};
use crate::expr::{Expr, SystemColumn};
use crate::record::{Field, FieldValue, Schema};

/// Makes the job that feeds each named sink with its plan. A name that occurs twice is one sink with two inputs; the
/// empty name is the output of a bare SELECT and stands for itself.
pub fn lower(outputs: Vec<(String, LogicalPlan)>) -> JobPlan {
    let mut lowering = Lowering::default();
    for (_, plan) in &outputs {
        lowering.declare(plan, &[]);
    }
    for (relation, plan) in &outputs {
        lowering.prefix = if relation.is_empty() { "select".into() } else { relation.clone() };
        let flow = lowering.flow(plan);
        let (input, schema) = lowering.settle(flow, plan.schema());
        let sinks = &mut lowering.job.sinks;
        match sinks.iter_mut().find(|s| !relation.is_empty() && s.relation == *relation) {
            Some(sink) => sink.inputs.push(input),
            None => sinks.push(SinkSpec { relation: relation.clone(), schema, inputs: vec![input] }),
        }
    }
    lowering.job
}

/// The output of a part of the plan: what delivers it, and where its columns stand in what is delivered.
struct Flow {
    input: InputRef,
    /// Shape of what is delivered.
    schema: Arc<Schema>,
    /// Position in `schema` of each column of the logical plan.
    columns: Vec<usize>,
}

impl Flow {
    fn is_exact(&self) -> bool {
        self.columns.len() == self.schema.len() && self.columns.iter().enumerate().all(|(i, c)| i == *c)
    }
    fn map(&self, expr: &Expr) -> Expr {
        expr.map_columns(&|i| self.columns.get(i).copied().unwrap_or(i))
    }
}

#[derive(Default)]
struct Lowering {
    job: JobPlan,
    /// Sink of the statement at hand: begins the ids of its nodes.
    prefix: String,
    /// Nodes made so far under each prefix.
    counts: Vec<(String, usize)>,
}

impl Lowering {
    /// Notes the sources below `plan` with the columns that they must deliver; `system` is read above it.
    fn declare(&mut self, plan: &LogicalPlan, system: &[SystemColumn]) {
        let mut system = system.to_vec();
        for expr in plan.exprs() {
            system.extend(system_columns(expr));
        }
        match plan {
            LogicalPlan::Scan { relation, schema, .. } => {
                self.declare_source(relation, schema, None, &system);
            }
            LogicalPlan::Values { schema, rows } => {
                self.declare_source("values", schema, Some(rows), &system)
            }
            other => other.inputs().into_iter().for_each(|input| self.declare(input, &system)),
        }
    }

    fn declare_source(
        &mut self,
        relation: &str,
        schema: &Arc<Schema>,
        values: Option<&Vec<Vec<FieldValue>>>,
        system: &[SystemColumn],
    ) {
        let source = match self.source(relation, schema, values) {
            Some(i) => self.job.sources.get_mut(i),
            None => {
                self.job.sources.push(SourceSpec {
                    relation: relation.to_owned(),
                    schema: schema.clone(),
                    system: Vec::new(),
                    values: values.cloned(),
                });
                self.job.sources.last_mut()
            }
        };
        let Some(source) = source else { return };
        let missing: Vec<Field> =
            schema.fields().iter().filter(|f| source.schema.index_of(&f.name).is_none()).cloned().collect();
        if !missing.is_empty() {
            source.schema = Schema::new(source.schema.fields().iter().cloned().chain(missing));
        }
        source.system = SystemColumn::ALL
            .into_iter()
            .filter(|c| system.contains(c) || source.system.contains(c))
            .collect();
    }

    fn source(
        &self,
        relation: &str,
        schema: &Schema,
        values: Option<&Vec<Vec<FieldValue>>>,
    ) -> Option<usize> {
        self.job.sources.iter().position(|s| match values {
            None => s.values.is_none() && s.relation == relation,
            Some(rows) => s.values.as_ref() == Some(rows) && *s.schema == *schema,
        })
    }

    fn flow(&mut self, plan: &LogicalPlan) -> Flow {
        match plan {
            LogicalPlan::Scan { relation, schema, .. } => self.source_flow(relation, schema, None),
            LogicalPlan::Values { schema, rows } => self.source_flow("values", schema, Some(rows)),
            LogicalPlan::Filter { input, predicate } => {
                let flow = self.flow(input);
                let predicate = flow.map(predicate);
                self.filter(flow, (predicate, is_updating(input)), input.schema())
            }
            LogicalPlan::Project { input, columns, schema } => match &**input {
                LogicalPlan::Filter { input, predicate } => {
                    let flow = self.flow(input);
                    let predicate = flow.map(predicate);
                    self.project(flow, Some((predicate, is_updating(input))), columns, schema)
                }
                input => {
                    let flow = self.flow(input);
                    self.project(flow, None, columns, schema)
                }
            },
            LogicalPlan::Unnest { input, expr, outer, with_ordinality, schema } => {
                let flow = self.flow(input);
                let expr = flow.map(expr);
                // Behind the input's columns, as they are delivered, stand those of the element.
                let added = schema.fields().get(input.schema().len()..).unwrap_or_default();
                let width = flow.schema.len();
                let columns = flow.columns.iter().copied().chain(width..width + added.len()).collect();
                let schema = match flow.is_exact() {
                    true => schema.clone(),
                    false => Schema::new(flow.schema.fields().iter().chain(added).cloned()),
                };
                let spec = UnnestSpec {
                    expr,
                    outer: *outer,
                    with_ordinality: *with_ordinality,
                    schema: schema.clone(),
                };
                let input = self.node(OperatorSpec::Unnest(spec), vec![flow.input]);
                Flow { input, schema, columns }
            }
            LogicalPlan::Union { inputs, schema } => {
                let settled = inputs.iter().map(|plan| {
                    let flow = self.flow(plan);
                    self.settle(flow, plan.schema()).0
                });
                let settled = settled.collect();
                let input = self.node(OperatorSpec::Union { schema: schema.clone() }, settled);
                Flow { input, schema: schema.clone(), columns: (0..schema.len()).collect() }
            }
            LogicalPlan::Limit { input, count, offset } => {
                let flow = self.flow(input);
                let spec = LimitSpec { count: *count, offset: *offset };
                let input = self.node(OperatorSpec::Limit(spec), vec![flow.input]);
                Flow { input, ..flow }
            }
            LogicalPlan::Stateful { input, spec } => self.stateful(input, spec),
        }
    }

    fn stateful(&mut self, input: &LogicalPlan, spec: &Stateful) -> Flow {
        let flow = self.flow(input);
        let logical = spec.schema();
        // What keeps rows keeps no column that nobody wants.
        let flow = match spec {
            Stateful::Sort(_) | Stateful::TopN(_) | Stateful::Over(_) => {
                let (input, schema) = self.settle(flow, input.schema());
                Flow { input, columns: (0..schema.len()).collect(), schema }
            }
            Stateful::WindowTable(spec) if matches!(spec.window.kind, WindowKind::Session { .. }) => {
                let (input, schema) = self.settle(flow, input.schema());
                Flow { input, columns: (0..schema.len()).collect(), schema }
            }
            Stateful::Watermark(_) | Stateful::WindowTable(_) | Stateful::Aggregate(_) => flow,
        };
        let mut spec = spec.clone().map_exprs(&mut |e| flow.map(&e));
        if let Stateful::Over(over) = &mut spec {
            over.input = flow.schema.clone();
        }
        let (schema, columns) = match spec.added_columns() {
            None => (logical.clone(), (0..logical.len()).collect()),
            Some(0) => (flow.schema.clone(), flow.columns.clone()),
            Some(_) if flow.is_exact() => (logical.clone(), (0..logical.len()).collect()),
            Some(n) => {
                let added = logical.fields().get(logical.len().saturating_sub(n)..).unwrap_or_default();
                let width = flow.schema.len();
                let schema = Schema::new(flow.schema.fields().iter().chain(added).cloned());
                (schema, flow.columns.iter().copied().chain(width..width + n).collect())
            }
        };
        let operator = OperatorSpec::from(spec.with_schema(schema.clone()));
        Flow { input: self.node(operator, vec![flow.input]), schema, columns }
    }

    fn source_flow(
        &self,
        relation: &str,
        schema: &Arc<Schema>,
        values: Option<&Vec<Vec<FieldValue>>>,
    ) -> Flow {
        let index = self.source(relation, schema, values).unwrap_or_default();
        let delivered = self.job.sources.get(index).map_or(schema, |s| &s.schema).clone();
        let columns = schema.names().enumerate().map(|(i, name)| match values {
            Some(_) => i,
            None => delivered.index_of(name).unwrap_or(i),
        });
        let columns = columns.collect();
        Flow { input: InputRef::Source(index), schema: delivered, columns }
    }

    /// A condition, and whether the rows that it meets change.
    fn filter(&mut self, flow: Flow, (predicate, changes): (Expr, bool), logical: &Arc<Schema>) -> Flow {
        let exact = flow.is_exact();
        let project = (!exact).then(|| flow.columns.iter().map(|c| ProjectColumn::Take(*c)).collect());
        let schema = if exact { flow.schema.clone() } else { logical.clone() };
        let spec = FilterProjectSpec {
            predicate: Some(predicate),
            changes,
            project,
            system: Vec::new(),
            schema: schema.clone(),
        };
        let input = self.node(OperatorSpec::FilterProject(spec), vec![flow.input]);
        Flow { input, columns: (0..schema.len()).collect(), schema }
    }

    fn project(
        &mut self,
        flow: Flow,
        predicate: Option<(Expr, bool)>,
        items: &[OutputColumn],
        schema: &Arc<Schema>,
    ) -> Flow {
        let (mut project, mut system) = (Vec::new(), Vec::new());
        for OutputColumn { expr, target } in items {
            let expr = flow.map(expr);
            match (target, expr) {
                (OutputTarget::System(column), expr) => system.push((*column, expr)),
                (OutputTarget::Column(_), Expr::Column { index, .. }) => {
                    project.push(ProjectColumn::Take(index))
                }
                (OutputTarget::Column(_), expr) => project.push(ProjectColumn::Compute(expr)),
            }
        }
        let stays = project.iter().enumerate().all(|(i, c)| *c == ProjectColumn::Take(i));
        let unchanged = stays && project.len() == flow.schema.len() && **schema == *flow.schema;
        if unchanged && predicate.is_none() && system.is_empty() {
            return Flow { columns: (0..schema.len()).collect(), ..flow };
        }
        let schema = if unchanged { flow.schema.clone() } else { schema.clone() };
        let project = (!unchanged).then_some(project);
        let (predicate, changes) = predicate.map_or((None, false), |(p, changes)| (Some(p), changes));
        let spec = FilterProjectSpec { predicate, changes, project, system, schema: schema.clone() };
        let input = self.node(OperatorSpec::FilterProject(spec), vec![flow.input]);
        Flow { input, columns: (0..schema.len()).collect(), schema }
    }

    /// Makes what is delivered exactly what the plan says.
    fn settle(&mut self, flow: Flow, logical: &Arc<Schema>) -> (InputRef, Arc<Schema>) {
        if flow.is_exact() {
            return (flow.input, flow.schema);
        }
        let project = Some(flow.columns.iter().map(|c| ProjectColumn::Take(*c)).collect());
        let spec = FilterProjectSpec {
            predicate: None,
            changes: false,
            project,
            system: Vec::new(),
            schema: logical.clone(),
        };
        (self.node(OperatorSpec::FilterProject(spec), vec![flow.input]), logical.clone())
    }

    /// A node that does this; one that is there already if its results would be the same.
    fn node(&mut self, operator: OperatorSpec, inputs: Vec<InputRef>) -> InputRef {
        let shareable = !operator.exprs().into_iter().any(is_volatile);
        let same = |n: &NodeSpec| shareable && n.operator == operator && n.inputs == inputs;
        if let Some(i) = self.job.nodes.iter().position(same) {
            return InputRef::Node(i);
        }
        let number = match self.counts.iter_mut().find(|(p, _)| *p == self.prefix) {
            Some((_, n)) => {
                *n += 1;
                *n
            }
            None => {
                self.counts.push((self.prefix.clone(), 0));
                0
            }
        };
        let id = format!("{}/{number}.{}", self.prefix, operator.kind());
        self.job.nodes.push(NodeSpec { id, operator, inputs });
        InputRef::Node(self.job.nodes.len() - 1)
    }
}

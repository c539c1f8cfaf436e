//! EXPLAIN: plans as text, JSON or a graph for Graphviz.
//!
//! Logical and physical plans are first brought into one form, a graph of titled nodes with attributes, and that is
//! written out in each format.

use serde_json::{Value, json};

use super::{
    InputRef, JobPlan, LogicalPlan, OperatorSpec, OutputColumn, OutputTarget, ProjectColumn, Stateful, lower,
    optimize,
};
use crate::expr::Expr;
use crate::record::{FieldValue, Schema};

/// How far a query has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExplainStage {
    /// As bound.
    Logical,
    /// After the rules.
    Optimized,
    /// As it will run.
    Physical,
}

impl ExplainStage {
    /// All of them, in order.
    pub const ALL: [ExplainStage; 3] =
        [ExplainStage::Logical, ExplainStage::Optimized, ExplainStage::Physical];

    /// Its name, as in `--stage`.
    pub fn name(self) -> &'static str {
        match self {
            ExplainStage::Logical => "logical",
            ExplainStage::Optimized => "optimized",
            ExplainStage::Physical => "physical",
        }
    }
}

/// What an explanation looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExplainFormat {
    /// Indented trees, inputs below what reads them.
    Text,
    /// One JSON object with a member for each stage.
    Json,
    /// Input for Graphviz; one cluster for each stage.
    Dot,
}

/// What is known of a job beside its plan.
#[derive(Clone, Debug, Default)]
pub struct ExplainNotes {
    /// Says of each operator that keeps state whether it may lie in a store on disk.
    pub on_disk: bool,
    /// What sinks say of themselves, by their names.
    pub sinks: Vec<(String, Vec<(&'static str, String)>)>,
}

/// Explains the plans (as bound) that feed each named sink; the empty name is a bare SELECT.
pub fn explain(
    outputs: &[(String, LogicalPlan)],
    stages: &[ExplainStage],
    format: ExplainFormat,
    notes: &ExplainNotes,
) -> String {
    let optimized: Vec<(String, LogicalPlan)> =
        outputs.iter().map(|(name, plan)| (name.clone(), optimize(plan.clone()))).collect();
    let graphs: Vec<(&'static str, Graph)> = stages
        .iter()
        .map(|stage| {
            let graph = match stage {
                ExplainStage::Logical => Graph::of_logical(outputs),
                ExplainStage::Optimized => Graph::of_logical(&optimized),
                ExplainStage::Physical => Graph::of_job(&lower(optimized.clone()), notes),
            };
            (stage.name(), graph)
        })
        .collect();
    match format {
        ExplainFormat::Text => {
            let titled = graphs.len() > 1;
            let text = |(name, graph): &(&str, Graph)| match titled {
                true => format!("== {name} ==\n{}", graph.text()),
                false => graph.text(),
            };
            graphs.iter().map(text).collect::<Vec<_>>().join("\n")
        }
        ExplainFormat::Json => {
            let members = graphs.iter().map(|(name, graph)| ((*name).to_owned(), graph.json()));
            let object = Value::Object(members.collect());
            format!("{object:#}\n")
        }
        ExplainFormat::Dot => dot(&graphs),
    }
}

/// One node of a plan, whichever kind of plan it is.
#[derive(Debug)]
struct Node {
    /// Scan, Filter, …; source, sink, filter_project, …
    kind: &'static str,
    /// Relation or node id; may be empty.
    name: String,
    attributes: Vec<(&'static str, String)>,
    inputs: Vec<usize>,
}

#[derive(Debug, Default)]
struct Graph {
    nodes: Vec<Node>,
    roots: Vec<usize>,
}

impl Graph {
    fn add(
        &mut self,
        kind: &'static str,
        name: &str,
        attributes: Vec<(&'static str, String)>,
        inputs: Vec<usize>,
    ) -> usize {
        self.nodes.push(Node { kind, name: name.to_owned(), attributes, inputs });
        self.nodes.len() - 1
    }

    fn of_logical(outputs: &[(String, LogicalPlan)]) -> Self {
        let mut graph = Self::default();
        for (name, plan) in outputs {
            let top = graph.logical(plan);
            let root = match name.as_str() {
                "" => top,
                name => graph.add("Insert", name, Vec::new(), vec![top]),
            };
            graph.roots.push(root);
        }
        graph
    }

    fn logical(&mut self, plan: &LogicalPlan) -> usize {
        let inputs = plan.inputs().into_iter().map(|i| self.logical(i)).collect();
        let names = |schema: &Schema| none_or(schema.names().collect::<Vec<_>>().join(", "));
        let (kind, name, attributes) = match plan {
            LogicalPlan::Scan { relation, schema, .. } => {
                ("Scan", relation.as_str(), vec![("columns", names(schema))])
            }
            LogicalPlan::Values { rows, .. } => ("Values", "", vec![("rows", rows_text(rows))]),
            LogicalPlan::Filter { predicate, .. } => ("Filter", "", vec![("where", predicate.to_string())]),
            LogicalPlan::Project { columns, .. } => ("Project", "", items_text(columns)),
            LogicalPlan::Unnest { expr, outer, with_ordinality, .. } => {
                ("Unnest", "", unnest_text(expr, *outer, *with_ordinality))
            }
            LogicalPlan::Union { .. } => ("Union", "", Vec::new()),
            LogicalPlan::Limit { count, offset, .. } => ("Limit", "", limit_text(*count, *offset)),
            LogicalPlan::Stateful { spec, .. } => (spec.title(), "", spec.attributes()),
        };
        self.add(kind, name, attributes, inputs)
    }

    fn of_job(job: &JobPlan, notes: &ExplainNotes) -> Self {
        let mut graph = Self::default();
        for source in &job.sources {
            let mut attributes = vec![("columns", columns_text(&source.schema))];
            if let Some(rows) = &source.values {
                attributes = vec![("rows", rows_text(rows))];
            }
            if !source.system.is_empty() {
                let system: Vec<_> = source.system.iter().map(|c| c.name()).collect();
                attributes.push(("system", system.join(", ")));
            }
            graph.add("source", &source.relation, attributes, Vec::new());
        }
        let position = |input: &InputRef| match input {
            InputRef::Source(i) => *i,
            InputRef::Node(i) => job.sources.len() + i,
        };
        for node in &job.nodes {
            let input = node.inputs.first().and_then(|i| job.schema_of(*i));
            let mut attributes = operator_text(&node.operator, input.map(|s| &**s));
            attributes.push(("state", node.operator.state().into_owned()));
            if notes.on_disk
                && let Some(place) = node.operator.place_of_state()
            {
                attributes.push(("lies", place.into()));
            }
            let inputs = node.inputs.iter().map(position).collect();
            graph.add(node.operator.kind(), &node.id, attributes, inputs);
        }
        for sink in &job.sinks {
            let name = if sink.relation.is_empty() { "(output)" } else { &sink.relation };
            let inputs = sink.inputs.iter().map(position).collect();
            let mut attributes = vec![("columns", columns_text(&sink.schema))];
            let said = notes.sinks.iter().find(|(of, _)| *of == sink.relation);
            attributes.extend(said.into_iter().flat_map(|(_, said)| said.iter().cloned()));
            let root = graph.add("sink", name, attributes, inputs);
            graph.roots.push(root);
        }
        graph
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut seen = vec![false; self.nodes.len()];
        for root in &self.roots {
            self.write(*root, 0, &mut seen, &mut text);
        }
        text
    }

    fn write(&self, at: usize, depth: usize, seen: &mut [bool], text: &mut String) {
        let Some(node) = self.nodes.get(at) else { return };
        text.push_str(&"  ".repeat(depth));
        text.push_str(&node.title());
        let repeated = seen.get_mut(at).is_some_and(|s| std::mem::replace(s, true));
        if repeated {
            text.push_str(" (the same as above)\n");
            return;
        }
        text.push_str(&attribute_text(&node.attributes, "  "));
        text.push('\n');
        for input in &node.inputs {
            self.write(*input, depth + 1, seen, text);
        }
    }

    fn json(&self) -> Value {
        let nodes = self.nodes.iter().map(|node| {
            let attributes = node.attributes.iter().map(|(k, v)| ((*k).to_owned(), Value::from(v.as_str())));
            let mut object = serde_json::Map::from_iter(attributes);
            object.insert("kind".into(), node.kind.into());
            if !node.name.is_empty() {
                object.insert("name".into(), node.name.as_str().into());
            }
            object.insert("inputs".into(), json!(node.inputs));
            Value::Object(object)
        });
        json!({ "nodes": nodes.collect::<Vec<_>>(), "roots": self.roots })
    }
}

impl Node {
    fn title(&self) -> String {
        // The id of a node names its kind already.
        match (self.name.as_str(), self.name.ends_with(self.kind)) {
            ("", _) => self.kind.to_owned(),
            (name, true) => name.to_owned(),
            (name, false) => format!("{} {name}", self.kind),
        }
    }
}

fn attribute_text(attributes: &[(&'static str, String)], separator: &str) -> String {
    attributes.iter().map(|(key, value)| format!("{separator}{key}: {value}")).collect()
}

fn dot(graphs: &[(&'static str, Graph)]) -> String {
    let mut text = String::from("digraph plan {\n  rankdir=BT;\n  node [shape=box, fontname=monospace];\n");
    for (stage, graph) in graphs {
        text.push_str(&format!("  subgraph cluster_{stage} {{\n    label={};\n", quoted(stage)));
        for (i, node) in graph.nodes.iter().enumerate() {
            let label = node.title() + &attribute_text(&node.attributes, "\n");
            text.push_str(&format!("    {stage}_{i} [label={}];\n", quoted(&label)));
            for input in &node.inputs {
                text.push_str(&format!("    {stage}_{input} -> {stage}_{i};\n"));
            }
        }
        text.push_str("  }\n");
    }
    text.push_str("}\n");
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\l"))
}

fn none_or(text: String) -> String {
    if text.is_empty() { "none".to_owned() } else { text }
}

fn columns_text(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|f| format!("{} {}", f.name, f.data_type));
    none_or(columns.collect::<Vec<_>>().join(", "))
}

fn named(expr: &str, name: &str) -> String {
    if expr == name { name.to_owned() } else { format!("{expr} AS {name}") }
}

/// The columns of a projection, and the metadata that it sets.
fn items_text(columns: &[OutputColumn]) -> Vec<(&'static str, String)> {
    let (mut output, mut set) = (Vec::new(), Vec::new());
    for OutputColumn { expr, target } in columns {
        match target {
            OutputTarget::Column(name) => output.push(named(&plain_text(expr), name)),
            OutputTarget::System(system) => set.push(format!("{} = {expr}", system.name())),
        }
    }
    listed(output, set)
}

fn listed(output: Vec<String>, set: Vec<String>) -> Vec<(&'static str, String)> {
    let mut attributes = Vec::new();
    if !output.is_empty() {
        attributes.push(("output", output.join(", ")));
    }
    if !set.is_empty() {
        attributes.push(("set", set.join(", ")));
    }
    attributes
}

/// An expression as text; of a column the bare name, so that it can be told from a new name.
fn plain_text(expr: &Expr) -> String {
    match expr {
        Expr::Column { name, .. } => name.to_string(),
        expr => expr.to_string(),
    }
}

fn rows_text(rows: &[Vec<FieldValue>]) -> String {
    const SHOWN: usize = 5;
    let row = |row: &Vec<FieldValue>| {
        let values = row.iter().map(|v| crate::expr::typing::literal(v.clone()).to_string());
        format!("({})", values.collect::<Vec<_>>().join(", "))
    };
    let mut text: Vec<String> = rows.iter().take(SHOWN).map(row).collect();
    match rows.len() {
        0 => text.push("none".into()),
        n if n > SHOWN => text.push(format!("… {n} in all")),
        _ => {}
    }
    text.join(", ")
}

fn limit_text(count: Option<u64>, offset: u64) -> Vec<(&'static str, String)> {
    let count = count.map(|n| ("count", n.to_string()));
    count.into_iter().chain((offset > 0).then(|| ("offset", offset.to_string()))).collect()
}

fn unnest_text(expr: &Expr, outer: bool, with_ordinality: bool) -> Vec<(&'static str, String)> {
    let mut attributes = vec![("array", expr.to_string())];
    if outer {
        attributes.push(("outer", "yes".into()));
    }
    if with_ordinality {
        attributes.push(("ordinality", "yes".into()));
    }
    attributes
}

fn operator_text(operator: &OperatorSpec, input: Option<&Schema>) -> Vec<(&'static str, String)> {
    match operator {
        OperatorSpec::FilterProject(spec) => {
            let mut attributes = Vec::new();
            if let Some(predicate) = &spec.predicate {
                attributes.push(("where", predicate.to_string()));
            }
            let mut items: Vec<String> = Vec::new();
            for (column, name) in spec.project.iter().flatten().zip(spec.schema.names()) {
                items.push(match column {
                    ProjectColumn::Take(i) => {
                        let own = input.and_then(|s| s.fields().get(*i)).map_or("?", |f| f.name.as_str());
                        named(own, name)
                    }
                    ProjectColumn::Compute(expr) => named(&expr.to_string(), name),
                });
            }
            let set =
                spec.system.iter().map(|(system, expr)| format!("{} = {expr}", system.name())).collect();
            attributes.extend(listed(items, set));
            attributes
        }
        OperatorSpec::Unnest(spec) => unnest_text(&spec.expr, spec.outer, spec.with_ordinality),
        OperatorSpec::Limit(spec) => limit_text(spec.count, spec.offset),
        OperatorSpec::Union { .. } => Vec::new(),
        OperatorSpec::Watermark(spec) => Stateful::Watermark(spec.clone()).attributes(),
        OperatorSpec::Aggregate(spec) => Stateful::Aggregate(spec.clone()).attributes(),
        OperatorSpec::WindowTable(spec) => Stateful::WindowTable(spec.clone()).attributes(),
        OperatorSpec::Over(spec) => Stateful::Over(spec.clone()).attributes(),
        OperatorSpec::TopN(spec) => Stateful::TopN(spec.clone()).attributes(),
        OperatorSpec::Sort(spec) => Stateful::Sort(spec.clone()).attributes(),
    }
}

//! Jobs of several statements: what they share, and how they are explained.

use super::*;
use crate::operator::{Shards, build};
use crate::plan::{ExplainFormat, ExplainNotes, ExplainStage, InputRef, JobPlan, explain, lower, optimize};

fn job(statements: &[(&str, &str)]) -> JobPlan {
    lower(statements.iter().map(|(sink, text)| ((*sink).to_owned(), optimize(bind(text).unwrap()))).collect())
}

fn columns(job: &JobPlan, source: usize) -> Vec<&str> {
    job.sources[source].schema.names().collect()
}

#[test]
fn statements_share_a_scan_with_the_columns_of_both_in_the_order_of_the_first() {
    let job = job(&[
        ("a", "SELECT customer, order_id FROM orders"),
        ("b", "SELECT order_id, qty + 1 AS n FROM orders WHERE amount > 1"),
        ("c", "SELECT x FROM 'f.csv' WHERE _topic = 'f'"),
    ]);
    assert_eq!(columns(&job, 0), ["customer", "order_id", "qty", "amount"]);
    assert_eq!((job.sources.len(), job.sinks.len()), (2, 3));
    let system: Vec<&str> = job.sources.iter().flat_map(|s| s.system.iter().map(|c| c.name())).collect();
    assert_eq!(system, ["_topic"]);
    let text = explain_job(&job, &["a", "b", "c"]);
    assert_eq!(text, ["a/0.project", "b/0.filter_project", "c/0.filter"]);
    // The second statement's expressions follow the shared scan's order.
    let b = format!("{:?}", job.nodes[1].operator);
    assert!(b.contains("Take(1)") && b.contains("index: 2") && b.contains("index: 3"), "{b}");
}

/// Ids of the nodes that feed the sinks.
fn explain_job<'j>(job: &'j JobPlan, sinks: &[&str]) -> Vec<&'j str> {
    let node = |s: &&str| {
        let sink = job.sinks.iter().find(|k| k.relation == **s).unwrap();
        match sink.inputs[0] {
            InputRef::Node(i) => job.nodes[i].id.as_str(),
            InputRef::Source(i) => job.sources[i].relation.as_str(),
        }
    };
    sinks.iter().map(node).collect()
}

#[test]
fn equal_parts_are_one_node_and_volatile_ones_are_not() {
    let same = "SELECT order_id, qty * 2 AS n FROM orders WHERE qty > 1";
    let shared = job(&[("a", same), ("b", same)]);
    assert_eq!(shared.nodes.len(), 1);
    assert_eq!(explain_job(&shared, &["a", "b"]), ["a/0.filter_project", "a/0.filter_project"]);
    let random = "SELECT random() AS r FROM orders";
    assert_eq!(job(&[("a", random), ("b", random)]).nodes.len(), 2);
}

#[test]
fn two_statements_into_one_sink_share_it_and_number_their_nodes() {
    let job = job(&[
        ("out", "SELECT qty + 1 AS n FROM orders"),
        ("out", "SELECT qty + 2 AS n FROM orders"),
        ("", "SELECT qty + 3 AS n FROM orders"),
        ("", "SELECT 1 AS n"),
    ]);
    assert_eq!(job.sinks.len(), 3);
    assert_eq!(job.sinks[0].inputs, [InputRef::Node(0), InputRef::Node(1)]);
    let ids: Vec<&str> = job.nodes.iter().map(|n| n.id.as_str()).collect();
    assert_eq!(ids, ["out/0.project", "out/1.project", "select/0.project", "select/1.project"]);
}

#[test]
fn a_wider_shared_scan_is_cut_to_size_for_who_takes_it_whole() {
    let job = job(&[
        ("a", "SELECT customer FROM orders LIMIT 1"),
        ("b", "SELECT qty FROM orders"),
        ("c", "SELECT customer, qty FROM orders"),
    ]);
    assert_eq!(columns(&job, 0), ["customer", "qty"]);
    for (sink, wanted) in job.sinks.iter().zip([vec!["customer"], vec!["qty"], vec!["customer", "qty"]]) {
        assert_eq!(sink.schema.names().collect::<Vec<_>>(), wanted);
        let delivered = job.schema_of(sink.inputs[0]).unwrap();
        assert!(Arc::ptr_eq(delivered, &sink.schema), "{}", sink.relation);
    }
}

#[test]
fn every_operator_keeps_the_contract_that_explain_prints() {
    let job = job(&[(
        "a",
        "SELECT tag FROM (SELECT tags FROM orders WHERE qty > 1 UNION ALL SELECT tags FROM orders LIMIT 5), UNNEST(tags) AS t(tag)",
    )]);
    let kinds: Vec<&str> = job.nodes.iter().map(|n| n.operator.kind()).collect();
    assert_eq!(kinds, ["filter_project", "project", "union", "limit", "unnest", "project"]);
    for node in &job.nodes {
        let contract = build(node, Shards::ONE).unwrap().state_contract();
        let text = node.operator.state();
        match contract {
            crate::operator::StateContract::Stateless => assert_eq!(text, "stateless"),
            crate::operator::StateContract::Constant { what, bytes } => {
                assert!(text.contains(what) && text.contains(&format!("{bytes} bytes")), "{text}");
            }
            crate::operator::StateContract::Kept { what, .. } => panic!("{text}: {what}"),
        }
    }
}

#[test]
fn the_three_formats_tell_the_same() {
    let text = "SELECT \"order_id\", customer || '\"x\"' AS c FROM orders WHERE qty > 1";
    let outputs = vec![("out".to_owned(), bind(text).unwrap())];
    let all = explain(&outputs, &ExplainStage::ALL, ExplainFormat::Text, &ExplainNotes::default());
    let titles: Vec<&str> = all.lines().filter(|l| l.starts_with("==")).collect();
    assert_eq!(titles, ["== logical ==", "== optimized ==", "== physical =="]);
    let one = explain(&outputs, &[ExplainStage::Physical], ExplainFormat::Text, &ExplainNotes::default());
    assert!(all.ends_with(&one) && !one.contains("=="));

    let json: serde_json::Value = serde_json::from_str(&explain(
        &outputs,
        &ExplainStage::ALL,
        ExplainFormat::Json,
        &ExplainNotes::default(),
    ))
    .unwrap();
    let nodes = json["physical"]["nodes"].as_array().unwrap();
    let node = nodes.iter().find(|n| n["name"] == "out/0.filter_project").unwrap();
    assert_eq!((&node["where"], &node["state"]), (&"qty > 1".into(), &"stateless".into()));
    assert_eq!(nodes[node["inputs"][0].as_u64().unwrap() as usize]["name"], "orders");
    assert_eq!(json["logical"]["nodes"][0]["kind"], "Scan");

    let dot = explain(&outputs, &[ExplainStage::Physical], ExplainFormat::Dot, &ExplainNotes::default());
    let expected = r#"digraph plan {
  rankdir=BT;
  node [shape=box, fontname=monospace];
  subgraph cluster_physical {
    label="physical";
    physical_0 [label="source orders\lcolumns: order_id BIGINT, customer VARCHAR, qty INT"];
    physical_1 [label="out/0.filter_project\lwhere: qty > 1\loutput: order_id, customer || '\"x\"' AS c\lstate: stateless"];
    physical_0 -> physical_1;
    physical_2 [label="sink out\lcolumns: order_id BIGINT, c VARCHAR"];
    physical_1 -> physical_2;
  }
}
"#;
    assert_eq!(dot, expected);
}

//! What a SELECT becomes.

use super::*;
use crate::plan::{lower, optimize};

#[test]
fn a_filter_and_a_projection_make_one_node_over_the_wanted_columns() {
    let plan = optimize(
        bind("SELECT order_id, upper FROM (SELECT order_id, customer AS upper FROM orders WHERE qty > 3)")
            .unwrap(),
    );
    let job = lower(vec![("out".into(), plan)]);
    println!("{job:#?}");
    let names: Vec<&str> = job.sources[0].schema.names().collect();
    assert_eq!(names, ["order_id", "customer", "qty"]);
    assert_eq!(job.nodes.len(), 1);
    println!("{}", errors("SELECT amuont, 1 + x, FROM orders"));
}

//! ORDER BY, calls OVER and what belongs to them: plans and refusals.

use super::select::{check, plans, refusals};

#[test]
fn queries_in_order_become_the_plans_that_the_file_shows() {
    check("order_plans.txt", include_str!("order_plans.txt"), 10, plans);
}

#[test]
fn what_is_wrong_with_an_order_is_named_and_pointed_at() {
    check("order_errors.txt", include_str!("order_errors.txt"), 10, refusals);
}

#[test]
fn calls_over_become_the_plans_that_the_file_shows() {
    check("over_plans.txt", include_str!("over_plans.txt"), 10, plans);
}

#[test]
fn what_is_wrong_with_a_call_over_is_named_and_pointed_at() {
    check("over_errors.txt", include_str!("over_errors.txt"), 20, refusals);
}

#[test]
fn sets_become_the_plans_that_the_file_shows() {
    check("sets_plans.txt", include_str!("sets_plans.txt"), 10, plans);
}

#[test]
fn what_is_wrong_with_sets_and_subqueries_is_named_and_pointed_at() {
    check("sets_errors.txt", include_str!("sets_errors.txt"), 15, refusals);
}

//! What queries become: a file of statements with the plans expected for them.

use super::*;
use crate::plan::{ExplainFormat, ExplainNotes, ExplainStage, explain};

/// The optimized and the physical plan.
pub(super) fn plans(text: &str) -> String {
    match bind(text) {
        Ok(plan) => {
            let name = if text.starts_with("INSERT") { "out" } else { "" };
            let outputs = vec![(name.to_owned(), plan)];
            let stages = [ExplainStage::Optimized, ExplainStage::Physical];
            let [optimized, physical] =
                stages.map(|s| explain(&outputs, &[s], ExplainFormat::Text, &ExplainNotes::default()));
            format!("{optimized}=>\n{physical}")
        }
        Err(errors) => errors.iter().map(|e| e.render("q", text) + "\n").collect(),
    }
}

pub(super) fn refusals(text: &str) -> String {
    match bind(text) {
        Ok(plan) => panic!("{text} is accepted: {plan:?}"),
        Err(errors) => errors.iter().map(|e| e.render("q", text) + "\n").collect(),
    }
}

/// Statements, each closed by a line `--`, and what follows up to an empty line.
fn cases(file: &str) -> Vec<(&str, &str)> {
    let blocks =
        file.split("\n\n").map(|b| b.trim_matches('\n')).filter(|b| !b.is_empty() && !b.starts_with('#'));
    blocks.map(|b| b.split_once("\n--\n").unwrap_or((b.trim_end_matches("\n--"), ""))).collect()
}

pub(super) fn check(name: &str, file: &str, least: usize, work: fn(&str) -> String) {
    let mut all = String::new();
    let mut wrong = Vec::new();
    for (text, expected) in cases(file) {
        let given = work(text);
        if given.trim_end() != expected {
            wrong.push(format!("{text}\n-- expected\n{expected}\n-- given\n{given}"));
        }
        all.push_str(&format!("{text}\n--\n{given}\n"));
    }
    assert!(cases(file).len() >= least);
    if std::env::var_os("UPDATE_PLANS").is_some() {
        let path = format!("{}/src/sql/bind/tests/{name}", env!("CARGO_MANIFEST_DIR"));
        let head: String = file.split_inclusive("\n\n").take_while(|b| b.starts_with('#')).collect();
        std::fs::write(path, head + all.trim_end() + "\n").unwrap();
        return;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn queries_become_the_plans_that_the_file_shows() {
    check("plans.txt", include_str!("plans.txt"), 60, plans);
}

#[test]
fn what_is_wrong_is_named_and_pointed_at() {
    check("errors.txt", include_str!("errors.txt"), 60, refusals);
}

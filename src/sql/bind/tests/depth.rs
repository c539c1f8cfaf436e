//! What the parser lets through binds on a small stack.

use super::*;
use crate::sql::parse::tests::depth::{STACK, shapes};

#[test]
fn the_deepest_statements_bind_or_are_refused() {
    for n in [60, 190] {
        for (_, text) in shapes(n) {
            let work = move || {
                let functions = FunctionRegistry::builtin();
                for statement in parse(&text).into_iter().flatten() {
                    if let Statement::Select(query) = statement.node {
                        drop(Binder::new(&Catalog, &functions).bind_query(&query, &text));
                    }
                }
            };
            std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap();
        }
    }
}

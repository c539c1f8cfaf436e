//! EMIT CHANGES | FINAL.

use sqlparser::ast;

use super::{Bind, Session};
use crate::plan::{self, CantEmit, LogicalPlan};
use crate::sql::{Diagnostic, emit_of};

impl Session<'_, '_> {
    /// The plan under the query's EMIT clause, if it has one.
    pub(super) fn emitted(&mut self, plan: LogicalPlan, query: &ast::Query) -> Bind<LogicalPlan> {
        let emit = match emit_of(query) {
            None => return Ok(plan),
            Some(crate::sql::Emit::Changes) => plan::Emit::Changes,
            Some(crate::sql::Emit::Final) => plan::Emit::Final,
        };
        plan::with_emit(plan, emit).map_err(|why| {
            let (message, hint) = match why {
                CantEmit::NeverFinal => (
                    "EMIT FINAL: groups over input that never ends are never final",
                    "group by a window, or write EMIT CHANGES",
                ),
                CantEmit::Ordered => (
                    "EMIT CHANGES: ORDER BY without LIMIT tells no row before all have come",
                    "add LIMIT n for the first n rows so far, or leave ORDER BY or EMIT CHANGES out",
                ),
            };
            let at = self.keyword_in(self.here, "EMIT");
            self.report(Diagnostic::new(message, at).with_hint(hint))
        })
    }
}

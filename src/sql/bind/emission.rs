//! EMIT CHANGES | FINAL.

use sqlparser::ast;

use super::{Bind, Session};
use crate::plan::{self, LogicalPlan};
use crate::sql::{Diagnostic, emit_of};

impl Session<'_, '_> {
    /// The plan under the query's EMIT clause, if it has one.
    pub(super) fn emitted(&mut self, plan: LogicalPlan, query: &ast::Query) -> Bind<LogicalPlan> {
        let emit = match emit_of(query) {
            None => return Ok(plan),
            Some(crate::sql::Emit::Changes) => plan::Emit::Changes,
            Some(crate::sql::Emit::Final) => plan::Emit::Final,
        };
        plan::with_emit(plan, emit).ok_or_else(|| {
            let at = self.keyword_in(self.here, "EMIT");
            let error = Diagnostic::new("EMIT FINAL: groups over input that never ends are never final", at);
            self.report(error.with_hint("group by a window, or write EMIT CHANGES"))
        })
    }
}

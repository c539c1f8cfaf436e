//! Projections that change nothing disappear.

use crate::expr::Expr;
use crate::plan::{LogicalPlan, OutputTarget};

pub(super) fn drop_no_ops(plan: LogicalPlan) -> LogicalPlan {
    let plan = plan.map_inputs(&mut drop_no_ops);
    match plan {
        LogicalPlan::Project { input, columns, schema } => {
            let stays = columns.iter().enumerate().all(|(i, c)| {
                matches!((&c.expr, &c.target), (Expr::Column { index, .. }, OutputTarget::Column(_)) if *index == i)
            });
            if stays && *schema == **input.schema() {
                return *input;
            }
            LogicalPlan::Project { input, columns, schema }
        }
        other => other,
    }
}

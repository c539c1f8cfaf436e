//! Windows over time.

use crate::expr::Expr;
use crate::plan::WindowKind;
use crate::sql::Span;

/// The window of a SELECT, however it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FoundWindow {
    pub(super) kind: WindowKind,
    /// The time of a row; `None` = the event time of the input.
    pub(super) time: Option<Expr>,
    pub(super) span: Span,
}

//! Forms with a syntax of their own: EXTRACT, TRIM, SUBSTRING …, subscripts, JSON arrows; and the forms that are refused.

use sqlparser::ast::{self, BinaryOperator, Expr as Ast};

use super::scope::Names;
use super::{Bind, Session};
use crate::expr::{Expr, typing};
use crate::plan::walk;
use crate::record::{DataType, FieldValue, Interval};

/// Parts that EXTRACT gives as INT, by the function of that name; the others are DECIMAL, as in PostgreSQL.
const WHOLE_PARTS: &[&str] = &[
    "year",
    "quarter",
    "month",
    "week",
    "day",
    "hour",
    "minute",
    "dow",
    "isodow",
    "doy",
    "isoyear",
    "decade",
    "century",
    "millennium",
];

impl Session<'_, '_> {
    pub(super) fn special(&mut self, ast: &Ast, names: Names<'_>) -> Bind<Expr> {
        match ast {
            Ast::Extract { field, syntax: _, expr } => {
                let field = field.to_string().to_lowercase();
                let expr = self.expr(expr, names)?;
                if WHOLE_PARTS.contains(&field.as_str()) {
                    return self.call_with(&field, vec![expr]);
                }
                self.extract(field, expr)
            }
            Ast::AnyOp { left, compare_op, right, is_some: _ } => {
                self.quantified(left, compare_op, right, true, names)
            }
            Ast::AllOp { left, compare_op, right } => self.quantified(left, compare_op, right, false, names),
            Ast::Position { expr, r#in } => self.call_on("strpos", &[r#in, expr], names),
            Ast::Substring { expr, substring_from, substring_for, special: _, shorthand: _ } => {
                self.substring(expr, substring_from.as_deref(), substring_for.as_deref(), names)
            }
            Ast::Trim { trim_where, trim_what, expr, trim_characters } => {
                let name = match trim_where {
                    None | Some(ast::TrimWhereField::Both) => "btrim",
                    Some(ast::TrimWhereField::Leading) => "ltrim",
                    Some(ast::TrimWhereField::Trailing) => "rtrim",
                };
                let mut args: Vec<&Ast> = vec![expr];
                args.extend(trim_what.as_deref());
                args.extend(trim_characters.iter().flatten());
                self.call_on(name, &args, names)
            }
            Ast::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut args: Vec<&Ast> = vec![expr, overlay_what, overlay_from];
                args.extend(overlay_for.as_deref());
                self.call_on("overlay", &args, names)
            }
            Ast::Ceil { expr, field } => self.round_to("ceil", expr, field, names),
            Ast::Floor { expr, field } => self.round_to("floor", expr, field, names),
            Ast::AtTimeZone { timestamp: _, time_zone: _ } => self.unsupported("AT TIME ZONE", self.here),
            other => self.refuse_expr(other),
        }
    }

    /// A part that is not whole. Whether there is such a part is tried on a constant now, not found out per record.
    fn extract(&mut self, field: String, expr: Expr) -> Bind<Expr> {
        let field = typing::literal(FieldValue::from(field));
        let sample = match expr.data_type() {
            DataType::Timestamp => Some(FieldValue::Timestamp(0)),
            DataType::Date => Some(FieldValue::Date(0)),
            DataType::Time => Some(FieldValue::Time(0)),
            DataType::Interval => Some(FieldValue::Interval(Interval::default())),
            _ => None,
        };
        if let Some(sample) = sample {
            let tried = self.call_with("extract", vec![field.clone(), typing::literal(sample)])?;
            if let Some(Err(error)) = walk::constant(&tried) {
                return self.fail(error.message, self.here);
            }
        }
        self.call_with("extract", vec![field, expr])
    }

    /// `x = ANY (ARRAY[…])` is IN, `x <> ALL (ARRAY[…])` is NOT IN; another array is searched per record.
    fn quantified(
        &mut self,
        left: &Ast,
        op: &BinaryOperator,
        right: &Ast,
        any: bool,
        names: Names<'_>,
    ) -> Bind<Expr> {
        let negated = match (op, any) {
            (BinaryOperator::Eq, true) => false,
            (BinaryOperator::NotEq, false) => true,
            _ => return self.unsupported(&format!("{op} {}", if any { "ANY" } else { "ALL" }), self.here),
        };
        let mut array = right;
        while let Ast::Nested(inner) = array {
            array = inner;
        }
        let Ast::Array(ast::Array { elem, named: _ }) = array else {
            if matches!(array, Ast::Subquery(_)) {
                let what = if any { "ANY" } else { "ALL" };
                return self.unsupported(&format!("{what} with a subquery"), self.here);
            }
            let (left, array) = self.pair(left, array, names)?;
            return self.typed(typing::any_of(left, array, negated), self.here);
        };
        let left = self.expr(left, names);
        let items: Vec<_> = elem.iter().map(|e| self.expr(e, names)).collect();
        let (left, items) = (left?, super::all(items)?);
        if items.is_empty() {
            return Ok(typing::literal(FieldValue::Boolean(negated)));
        }
        self.typed(typing::in_list(left, items, negated), self.here)
    }

    fn round_to(
        &mut self,
        name: &str,
        expr: &Ast,
        field: &ast::CeilFloorKind,
        names: Names<'_>,
    ) -> Bind<Expr> {
        match field {
            ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) => {
                self.call_on(name, &[expr], names)
            }
            ast::CeilFloorKind::DateTimeField(_) => {
                self.unsupported(&format!("{} to a unit of time", name.to_uppercase()), self.here)
            }
            ast::CeilFloorKind::Scale(_) => {
                self.unsupported(&format!("{} with a scale", name.to_uppercase()), self.here)
            }
        }
    }

    fn substring(
        &mut self,
        expr: &Ast,
        from: Option<&Ast>,
        count: Option<&Ast>,
        names: Names<'_>,
    ) -> Bind<Expr> {
        let expr = self.expr(expr, names);
        let from = from.map(|f| self.expr(f, names));
        let count = count.map(|c| self.expr(c, names));
        let mut args = vec![expr?];
        match (from.transpose()?, count.transpose()?) {
            (None, None) => {}
            // FOR alone counts from the first character.
            (None, Some(count)) => args.extend([typing::literal(FieldValue::Integer(1)), count]),
            (Some(from), count) => args.extend(std::iter::once(from).chain(count)),
        }
        self.call_with("substring", args)
    }

    /// `json -> 'key'`, `json -> 0`: the member as JSON; `->>` as text; `#>` and `#>>` with a path.
    pub(super) fn arrow(
        &mut self,
        op: &BinaryOperator,
        left: &Ast,
        right: &Ast,
        names: Names<'_>,
    ) -> Bind<Expr> {
        let (left, right) = self.pair(left, right, names)?;
        let at = self.here;
        if matches!(left.data_type(), DataType::Array(_) | DataType::Map(..) | DataType::Struct(_)) {
            let hint = "use a subscript or a dot; -> reads JSON";
            let message = format!("{op} is not defined for {}", left.data_type());
            return Err(self.report(crate::sql::Diagnostic::new(message, at).with_hint(hint)));
        }
        let function = match op {
            BinaryOperator::LongArrow => "json_get_text",
            BinaryOperator::HashArrow => "json_get_path",
            BinaryOperator::HashLongArrow => "json_get_path_text",
            _ => "json_get",
        };
        self.call_with(function, vec![left, right])
    }

    pub(super) fn subscript(
        &mut self,
        expr: Expr,
        subscript: &ast::Subscript,
        names: Names<'_>,
    ) -> Bind<Expr> {
        match subscript {
            ast::Subscript::Index { index } => {
                let index = self.expr(index, names)?;
                self.typed(typing::index(expr, index), self.here)
            }
            ast::Subscript::Slice { lower_bound, upper_bound, stride } => {
                if let Some(stride) = stride {
                    let at = self.place(stride);
                    return self.unsupported("a slice with a stride", at);
                }
                let bounds = [lower_bound, upper_bound].map(|b| b.as_ref().map(|b| self.expr(b, names)));
                let [low, high] = bounds;
                let low = low.transpose()?.unwrap_or_else(|| typing::literal(FieldValue::Integer(1)));
                // An open end is beyond any array.
                let end = || typing::literal(FieldValue::Integer(i64::from(i32::MAX)));
                let high = high.transpose()?.unwrap_or_else(end);
                self.call_with("array_slice", vec![expr, low, high])
            }
        }
    }

    /// Forms that the parser knows and we do not.
    fn refuse_expr(&mut self, ast: &Ast) -> Bind<Expr> {
        let at = self.here;
        let what = match ast {
            Ast::InSubquery { .. } => "IN with a subquery",
            Ast::InUnnest { .. } => "IN UNNEST",
            Ast::Exists { .. } => "EXISTS",
            Ast::Subquery(_) => "a scalar subquery",
            Ast::JsonAccess { .. } => "the path operator ':'",
            Ast::IsJson { .. } => "IS JSON",
            Ast::IsNormalized { .. } => "IS NORMALIZED",
            Ast::Convert { .. } => "CONVERT",
            Ast::Collate { .. } => "COLLATE",
            Ast::Prefixed { .. } => "a character set before a string",
            Ast::GroupingSets(_) => "GROUPING SETS",
            Ast::Cube(_) => "CUBE",
            Ast::Rollup(_) => "ROLLUP",
            Ast::Named { .. } => "a named expression outside STRUCT",
            Ast::MatchAgainst { .. } => "MATCH … AGAINST",
            Ast::Wildcard(_) | Ast::QualifiedWildcard(..) => "* inside an expression",
            Ast::OuterJoin(_) => "the outer join operator (+)",
            Ast::Prior(_) => "PRIOR",
            Ast::Lambda(_) => "a lambda function",
            Ast::MemberOf(_) => "MEMBER OF",
            other => return self.unsupported(&format!("the expression {other}"), at),
        };
        self.unsupported(what, at)
    }

    /// Binds operands and calls a function of the registry.
    pub(super) fn call_on(&mut self, name: &str, args: &[&Ast], names: Names<'_>) -> Bind<Expr> {
        let bound: Vec<_> = args.iter().map(|a| self.expr(a, names)).collect();
        let args = super::all(bound)?;
        self.call_with(name, args)
    }

    pub(super) fn call_with(&mut self, name: &str, args: Vec<Expr>) -> Bind<Expr> {
        let made = typing::call(self.binder.functions, name, args);
        self.typed(made, self.here)
    }
}

//! Expressions: one arm per form; what the parser knows and we don't is refused by name.

use sqlparser::ast::{self, BinaryOperator, Expr as Ast, Ident, UnaryOperator};

use super::scope::{AliasState, AliasUse, Lookup, Names, system_column, system_names};
use super::window::mentions_window;
use super::{Bind, Reported, Session, all, suggestion};
use crate::expr::{BinaryOp, CastMode, Expr, LikeKind, UnaryOp, typing};
use crate::plan::walk;
use crate::record::FieldValue;
use crate::sql::Diagnostic;

impl Session<'_, '_> {
    /// Binds an expression.
    pub(super) fn expr(&mut self, ast: &Ast, names: Names<'_>) -> Bind<Expr> {
        let at = self.place(ast);
        self.within(at, |s| s.expr_here(ast, names))
    }

    fn exprs<'e>(&mut self, list: impl IntoIterator<Item = &'e Ast>, names: Names<'_>) -> Bind<Vec<Expr>> {
        let bound: Vec<_> = list.into_iter().map(|e| self.expr(e, names)).collect();
        all(bound)
    }

    /// Both operands, so that the errors of both are reported.
    pub(super) fn pair(&mut self, left: &Ast, right: &Ast, names: Names<'_>) -> Bind<(Expr, Expr)> {
        let (left, right) = (self.expr(left, names), self.expr(right, names));
        Ok((left?, right?))
    }

    fn expr_here(&mut self, ast: &Ast, names: Names<'_>) -> Bind<Expr> {
        use UnaryOp as U;
        match ast {
            Ast::Identifier(ident) => self.identifier(ident, names),
            Ast::CompoundIdentifier(parts) => self.path(parts, names),
            Ast::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, names),
            Ast::Nested(inner) => self.expr(inner, names),
            Ast::Value(value) => self.value(&value.value),
            Ast::IsFalse(e) => self.unary(U::IsFalse, e, names),
            Ast::IsNotFalse(e) => self.unary(U::IsNotFalse, e, names),
            Ast::IsTrue(e) => self.unary(U::IsTrue, e, names),
            Ast::IsNotTrue(e) => self.unary(U::IsNotTrue, e, names),
            Ast::IsNull(e) => self.unary(U::IsNull, e, names),
            Ast::IsNotNull(e) => self.unary(U::IsNotNull, e, names),
            Ast::IsUnknown(e) => self.unary(U::IsUnknown, e, names),
            Ast::IsNotUnknown(e) => self.unary(U::IsNotUnknown, e, names),
            Ast::IsDistinctFrom(l, r) => self.binary(BinaryOp::IsDistinctFrom, l, r, names),
            Ast::IsNotDistinctFrom(l, r) => self.binary(BinaryOp::IsNotDistinctFrom, l, r, names),
            Ast::InList { expr, list, negated } => {
                let (expr, list) = (self.expr(expr, names), self.exprs(list, names));
                let made = typing::in_list(expr?, list?, *negated);
                self.typed(made, self.here)
            }
            Ast::Between { expr, negated, low, high } => self.between(expr, *negated, low, high, names),
            Ast::BinaryOp { left, op, right } => self.operator(left, op, right, names),
            Ast::UnaryOp { op, expr } => self.prefix(*op, expr, names),
            Ast::Like { negated, any, expr, pattern, escape_char } => {
                self.like(LikeKind::Like, *any, *negated, (expr, pattern), escape_char.as_deref(), names)
            }
            Ast::ILike { negated, any, expr, pattern, escape_char } => {
                self.like(LikeKind::ILike, *any, *negated, (expr, pattern), escape_char.as_deref(), names)
            }
            Ast::SimilarTo { negated, expr, pattern, escape_char } => self.like(
                LikeKind::SimilarTo,
                false,
                *negated,
                (expr, pattern),
                escape_char.as_deref(),
                names,
            ),
            Ast::RLike { negated, expr, pattern, regexp: _ } => {
                self.like(LikeKind::Regex, false, *negated, (expr, pattern), None, names)
            }
            Ast::Cast { kind, expr, data_type, format } => {
                if format.is_some() {
                    return self.unsupported("CAST … FORMAT", self.here);
                }
                let mode = match kind {
                    ast::CastKind::Cast | ast::CastKind::DoubleColon => CastMode::Strict,
                    ast::CastKind::TryCast | ast::CastKind::SafeCast => CastMode::Try,
                };
                self.cast(expr, data_type, mode, names)
            }
            Ast::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), names)
            }
            Ast::Function(function) => self.call(function, names),
            Ast::TypedString(typed) => self.typed_string(typed),
            Ast::Interval(interval) => self.interval(interval),
            Ast::Array(ast::Array { elem, named: _ }) => {
                let items = self.exprs(elem, names)?;
                self.typed(typing::array(items), self.here)
            }
            Ast::Map(ast::Map { entries }) => {
                let pairs: Vec<_> = entries.iter().map(|e| self.pair(&e.key, &e.value, names)).collect();
                let pairs = all(pairs)?;
                self.typed(typing::map(pairs), self.here)
            }
            Ast::Struct { values, fields } => self.structure(values, fields, names),
            Ast::Dictionary(fields) => {
                let items: Vec<_> = fields
                    .iter()
                    .map(|f| Ok((f.key.value.as_str().into(), self.expr(&f.value, names)?)))
                    .collect();
                let items = all(items)?;
                self.typed(typing::structure(items), self.here)
            }
            Ast::Tuple(items) => self.row(items.iter(), names),
            other => self.special(other, names),
        }
    }

    fn unary(&mut self, op: UnaryOp, expr: &Ast, names: Names<'_>) -> Bind<Expr> {
        let expr = self.expr(expr, names)?;
        self.typed(typing::unary(op, expr), self.here)
    }

    fn binary(&mut self, op: BinaryOp, left: &Ast, right: &Ast, names: Names<'_>) -> Bind<Expr> {
        let (left, right) = self.pair(left, right, names)?;
        self.typed(typing::binary(op, left, right), self.here)
    }

    fn prefix(&mut self, op: UnaryOperator, expr: &Ast, names: Names<'_>) -> Bind<Expr> {
        match op {
            UnaryOperator::Not | UnaryOperator::BangNot => self.unary(UnaryOp::Not, expr, names),
            UnaryOperator::Minus => match self.negative_number(expr) {
                Some(number) => number,
                None => self.unary(UnaryOp::Negate, expr, names),
            },
            UnaryOperator::BitwiseNot => self.unary(UnaryOp::BitNot, expr, names),
            UnaryOperator::Plus => {
                let expr = self.expr(expr, names)?;
                let t = expr.data_type();
                if t.is_numeric()
                    || matches!(t, crate::record::DataType::Interval | crate::record::DataType::Null)
                {
                    return Ok(expr);
                }
                self.fail(format!("a sign can't stand before a {t}"), self.here)
            }
            UnaryOperator::PGAbs => self.call_on("abs", &[expr], names),
            UnaryOperator::PGSquareRoot => self.call_on("sqrt", &[expr], names),
            UnaryOperator::PGCubeRoot => self.call_on("cbrt", &[expr], names),
            UnaryOperator::AtDashAt
            | UnaryOperator::DoubleAt
            | UnaryOperator::Hash
            | UnaryOperator::PGPostfixFactorial
            | UnaryOperator::PGPrefixFactorial
            | UnaryOperator::QuestionDash
            | UnaryOperator::QuestionPipe => self.unsupported(&format!("the operator {op}"), self.here),
        }
    }

    fn operator(&mut self, left: &Ast, op: &BinaryOperator, right: &Ast, names: Names<'_>) -> Bind<Expr> {
        use BinaryOp as B;
        use BinaryOperator as O;
        let like = |kind, negated| Some((kind, negated));
        let matched = match op {
            O::PGRegexMatch => like(LikeKind::Regex, false),
            O::PGRegexIMatch => like(LikeKind::RegexI, false),
            O::PGRegexNotMatch => like(LikeKind::Regex, true),
            O::PGRegexNotIMatch => like(LikeKind::RegexI, true),
            O::PGLikeMatch => like(LikeKind::Like, false),
            O::PGILikeMatch => like(LikeKind::ILike, false),
            O::PGNotLikeMatch => like(LikeKind::Like, true),
            O::PGNotILikeMatch => like(LikeKind::ILike, true),
            _ => None,
        };
        if let Some((kind, negated)) = matched {
            return self.like(kind, false, negated, (left, right), None, names);
        }
        let op = match op {
            O::And | O::Or => return self.chain(op, left, right, names),
            O::Plus => B::Add,
            O::Minus => B::Subtract,
            O::Multiply => B::Multiply,
            O::Divide => B::Divide,
            O::Modulo => B::Modulo,
            O::StringConcat => B::Concat,
            O::Eq => B::Eq,
            O::NotEq => B::NotEq,
            O::Lt => B::Less,
            O::LtEq => B::LessEq,
            O::Gt => B::Greater,
            O::GtEq => B::GreaterEq,
            O::Spaceship => B::IsNotDistinctFrom,
            O::BitwiseAnd => B::BitAnd,
            O::BitwiseOr => B::BitOr,
            O::PGBitwiseXor => B::BitXor,
            O::PGBitwiseShiftLeft => B::ShiftLeft,
            O::PGBitwiseShiftRight => B::ShiftRight,
            // `^` raises to a power, as in PostgreSQL.
            O::BitwiseXor | O::PGExp => return self.call_on("power", &[left, right], names),
            O::PGStartsWith => return self.call_on("starts_with", &[left, right], names),
            O::Arrow | O::LongArrow | O::HashArrow | O::HashLongArrow => {
                return self.arrow(op, left, right, names);
            }
            other => return self.unsupported(&format!("the operator {other}"), self.here),
        };
        self.binary(op, left, right, names)
    }

    /// `a AND b AND …` as one node; the parser nests it to the left, and long chains must not exhaust the stack.
    fn chain(&mut self, op: &BinaryOperator, left: &Ast, right: &Ast, names: Names<'_>) -> Bind<Expr> {
        let mut operands = vec![right];
        let mut rest = left;
        while let Ast::BinaryOp { left, op: next, right } = rest {
            if next != op {
                break;
            }
            operands.push(right);
            rest = left;
        }
        operands.push(rest);
        let bound: Vec<_> = operands
            .into_iter()
            .rev()
            .map(|o| {
                let expr = self.expr(o, names)?;
                let one = vec![expr.clone()];
                // One operand alone: an error about its type then points at it and not at the whole chain.
                let made = if *op == BinaryOperator::And { typing::and(one) } else { typing::or(one) };
                let at = self.place(o);
                self.typed(made, at)?;
                Ok(expr)
            })
            .collect();
        let operands = all(bound)?;
        let made = if *op == BinaryOperator::And { typing::and(operands) } else { typing::or(operands) };
        self.typed(made, self.here)
    }

    fn between(&mut self, expr: &Ast, negated: bool, low: &Ast, high: &Ast, names: Names<'_>) -> Bind<Expr> {
        let (low, symmetric) = match crate::sql::symmetric_bound(low) {
            Some(low) => (low, true),
            None => (low, false),
        };
        let (expr, bounds) = (self.expr(expr, names), self.pair(low, high, names));
        let (expr, (low, high)) = (expr?, bounds?);
        if walk::is_volatile(&expr) || symmetric && (walk::is_volatile(&low) || walk::is_volatile(&high)) {
            return self.fail("BETWEEN can't test a value that changes with each evaluation", self.here);
        }
        if !symmetric {
            return self.typed(typing::between(expr, low, high, negated), self.here);
        }
        let made = typing::between(expr.clone(), low.clone(), high.clone(), negated).and_then(|one| {
            let both = vec![one, typing::between(expr, high, low, negated)?];
            if negated { typing::and(both) } else { typing::or(both) }
        });
        self.typed(made, self.here)
    }

    fn like(
        &mut self,
        kind: LikeKind,
        any: bool,
        negated: bool,
        (expr, pattern): (&Ast, &Ast),
        escape: Option<&Ast>,
        names: Names<'_>,
    ) -> Bind<Expr> {
        if any {
            return self.unsupported("LIKE ANY", self.here);
        }
        let pair = self.pair(expr, pattern, names);
        let escape = match escape {
            None => None,
            Some(e) => match self.expr(e, names)? {
                // None at all, not even the backslash that escapes otherwise.
                Expr::Literal { value: FieldValue::String(s), .. } if s.is_empty() => Some('\0'),
                Expr::Literal { value: FieldValue::String(s), .. } if s.chars().count() == 1 => {
                    s.chars().next()
                }
                _ => {
                    let at = self.place(e);
                    return self.fail("ESCAPE takes one character in quotes", at);
                }
            },
        };
        let (expr, pattern) = pair?;
        let made = typing::like(kind, expr, pattern, escape, negated);
        self.typed(made, self.here)
    }

    pub(super) fn cast(
        &mut self,
        expr: &Ast,
        data_type: &ast::DataType,
        mode: CastMode,
        names: Names<'_>,
    ) -> Bind<Expr> {
        let expr = self.expr(expr, names);
        let to = self.data_type(data_type);
        let made = typing::cast(expr?, to?, mode);
        self.typed(made, self.here)
    }

    fn case(
        &mut self,
        operand: Option<&Ast>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&Ast>,
        names: Names<'_>,
    ) -> Bind<Expr> {
        let operand = operand.map(|o| self.expr(o, names));
        let branches: Vec<_> = conditions.iter().map(|w| self.pair(&w.condition, &w.result, names)).collect();
        let otherwise = otherwise.map(|o| self.expr(o, names));
        let (branches, operand, otherwise) = (all(branches)?, operand.transpose()?, otherwise.transpose()?);
        if operand.as_ref().is_some_and(walk::is_volatile) {
            return self.fail("CASE can't compare a value that changes with each evaluation", self.here);
        }
        self.typed(typing::case(operand, branches, otherwise), self.here)
    }

    fn structure(&mut self, values: &[Ast], fields: &[ast::StructField], names: Names<'_>) -> Bind<Expr> {
        if !fields.is_empty() {
            return self.unsupported("STRUCT with declared field types", self.here);
        }
        self.row(values.iter(), names)
    }

    /// `ROW(…)`, `STRUCT(…)`: a field is named by AS, else `f1`, `f2` … by its position.
    pub(super) fn row<'e>(&mut self, items: impl Iterator<Item = &'e Ast>, names: Names<'_>) -> Bind<Expr> {
        let fields: Vec<_> = items
            .enumerate()
            .map(|(i, item)| {
                let (name, item) = match item {
                    Ast::Named { expr, name } => (name.value.as_str().into(), &**expr),
                    other => (compact_str::format_compact!("f{}", i + 1), other),
                };
                Ok((name, self.expr(item, names)?))
            })
            .collect();
        let fields = all(fields)?;
        self.typed(typing::structure(fields), self.here)
    }

    /// A bare name: a column of FROM, an alias, a system column – in this order.
    fn identifier(&mut self, ident: &Ident, names: Names<'_>) -> Bind<Expr> {
        match self.find(ident, names)? {
            Some(expr) => Ok(expr),
            None => Err(self.unknown_column(ident, names)),
        }
    }

    fn find(&mut self, ident: &Ident, names: Names<'_>) -> Bind<Option<Expr>> {
        match names.scope.column(ident) {
            Lookup::Found(i) => {
                let made = typing::column(&names.scope.schema, i);
                return self.typed(made, self.here).map(Some);
            }
            Lookup::Ambiguous(relations) => {
                let at = self.ident_place(ident);
                let mut error = Diagnostic::new(format!("the column '{}' is ambiguous", ident.value), at);
                if relations.len() > 1 {
                    let list: Vec<_> = relations.iter().map(|r| format!("{r}.{}", ident.value)).collect();
                    error = error.with_hint(format!("write {}", list.join(" or ")));
                }
                return Err(self.report(error));
            }
            Lookup::Missing => {}
        }
        if let Some((slot, alias)) = names.alias(ident) {
            return match &alias.state {
                AliasState::Failed => Err(Reported),
                AliasState::Plain(expr) => self.visible(expr, names).map(Some),
                AliasState::Computed { expr, expanded } => match (names.alias_use, expanded) {
                    (AliasUse::Slot, _) => {
                        alias.used.set(true);
                        let index = names.scope.schema.len() + slot;
                        let name = alias.name.value.as_str().into();
                        Ok(Some(Expr::Column { index, name, data_type: expr.data_type() }))
                    }
                    (AliasUse::Inline, None) => {
                        let at = self.ident_place(ident);
                        let message = format!("'{}' is too large to be used here", ident.value);
                        let hint = "compute it in a subquery and filter outside";
                        Err(self.report(Diagnostic::new(message, at).with_hint(hint)))
                    }
                    (AliasUse::Inline, Some(expanded)) if walk::is_volatile(expanded) => {
                        let at = self.ident_place(ident);
                        let message =
                            format!("'{}' has another value each time it is evaluated", ident.value);
                        let hint = "compute it in a subquery and filter outside";
                        Err(self.report(Diagnostic::new(message, at).with_hint(hint)))
                    }
                    (AliasUse::Inline, Some(expanded)) => {
                        self.charge(expanded.node_count(), self.here)?;
                        self.visible(expanded, names).map(Some)
                    }
                },
            };
        }
        if let Some(window) = self.window_column(&ident.value, names) {
            return Ok(Some(window));
        }
        Ok(system_column(ident).map(Expr::System))
    }

    /// What an alias stands for, unless it is only known behind GROUP BY.
    fn visible(&mut self, expr: &Expr, names: Names<'_>) -> Bind<Expr> {
        if names.place.collected.is_none() && mentions_window(expr) {
            return Err(self.window_misplaced(names.place.clause, self.here));
        }
        self.in_place(expr.clone(), names)
    }

    fn unknown_column(&mut self, ident: &Ident, names: Names<'_>) -> Reported {
        let at = self.ident_place(ident);
        let mut error = Diagnostic::new(format!("there is no column '{}'", ident.value), at);
        error.hint = match names.scope.schema.is_empty() && names.aliases.is_empty() {
            true if ident.quote_style == Some('"') => Some("text is written in single quotes".into()),
            true => Some("there is no FROM".into()),
            // ksqlDB's names of a window's bounds.
            false if ident.value.eq_ignore_ascii_case("windowstart") => Some("write window_start".into()),
            false if ident.value.eq_ignore_ascii_case("windowend") => Some("write window_end".into()),
            false => {
                let mut known: Vec<&str> = names.all().collect();
                if ident.value.starts_with('_') {
                    system_names().for_each(|name| known.push(name));
                }
                suggestion(&ident.value, known, "the columns are")
            }
        };
        self.report(error)
    }

    /// `relation.column`, `column.field`, and longer.
    pub(super) fn path(&mut self, parts: &[Ident], names: Names<'_>) -> Bind<Expr> {
        let [first, rest @ ..] = parts else { return self.fail("an empty name", self.here) };
        let (mut expr, fields) = match rest {
            [] => return self.identifier(first, names),
            [second, deeper @ ..] => match names.scope.relation(first) {
                Some(relation) => match names.scope.column_of(relation, second) {
                    Lookup::Found(i) => {
                        let made = typing::column(&names.scope.schema, i);
                        (self.typed(made, self.here)?, deeper)
                    }
                    Lookup::Ambiguous(_) => {
                        let at = self.ident_place(second);
                        return self.fail(format!("the column '{}' is ambiguous", second.value), at);
                    }
                    Lookup::Missing => match (self.find(first, names)?, system_column(second)) {
                        (Some(column), _) => (column, rest),
                        (None, Some(system)) => (Expr::System(system), deeper),
                        (None, None) => {
                            let at = self.ident_place(second);
                            let message = format!("'{}' has no column '{}'", first.value, second.value);
                            let known = names.scope.columns_of(relation);
                            let hint = suggestion(&second.value, known, "its columns are");
                            return Err(self.report(Diagnostic { message, span: at, hint }));
                        }
                    },
                },
                None => match self.find(first, names)? {
                    Some(column) => (column, rest),
                    None => return Err(self.unknown_qualifier(first, names)),
                },
            },
        };
        for field in fields {
            expr = self.member(expr, field)?;
        }
        Ok(expr)
    }

    fn unknown_qualifier(&mut self, ident: &Ident, names: Names<'_>) -> Reported {
        let at = self.ident_place(ident);
        let message = format!("there is no relation or column '{}' here", ident.value);
        let relations = names.scope.relations.iter().filter_map(|r| Some(r.name.as_ref()?.value.as_str()));
        let hint = suggestion(&ident.value, relations.chain(names.all()), "there are");
        self.report(Diagnostic { message, span: at, hint })
    }

    pub(super) fn member(&mut self, expr: Expr, field: &Ident) -> Bind<Expr> {
        let at = self.ident_place(field);
        // Fields match as columns do: exactly, else without case.
        let name = match expr.data_type() {
            crate::record::DataType::Struct(fields) => {
                let hits =
                    super::scope::hits(field, fields.iter().enumerate().map(|(i, f)| (i, f.name.as_str())));
                match hits.as_slice() {
                    [one] => fields.get(*one).map_or(field.value.clone(), |f| f.name.to_string()),
                    _ => field.value.clone(),
                }
            }
            _ => field.value.clone(),
        };
        self.typed(typing::field(expr, &name), at)
    }

    /// `a.b[1].c`.
    fn access(&mut self, root: &Ast, chain: &[ast::AccessExpr], names: Names<'_>) -> Bind<Expr> {
        let mut chain = chain.iter().peekable();
        let mut expr = match root {
            Ast::Identifier(_) | Ast::CompoundIdentifier(_) => {
                let mut parts = match root {
                    Ast::CompoundIdentifier(parts) => parts.clone(),
                    Ast::Identifier(ident) => vec![ident.clone()],
                    _ => Vec::new(),
                };
                // The leading names decide together what is a relation and what a column.
                while let Some(ast::AccessExpr::Dot(Ast::Identifier(ident))) = chain.peek() {
                    parts.push(ident.clone());
                    chain.next();
                }
                self.path(&parts, names)?
            }
            other => self.expr(other, names)?,
        };
        for step in chain {
            expr = match step {
                ast::AccessExpr::Dot(Ast::Identifier(field)) => self.member(expr, field)?,
                ast::AccessExpr::Dot(other) => {
                    let at = self.place(other);
                    return self.fail("a field's name is expected behind the dot", at);
                }
                ast::AccessExpr::Subscript(subscript) => self.subscript(expr, subscript, names)?,
            };
        }
        Ok(expr)
    }
}

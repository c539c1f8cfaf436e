//! Expressions as SQL, for EXPLAIN, messages and default column names.

use std::fmt::{self, Display, Formatter, Write};

use super::{BinaryOp, CastMode, Expr, LikeKind, SystemColumn, UnaryOp};
use crate::record::{FieldValue, text};

impl Display for BinaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Modulo => "%",
            BinaryOp::Eq => "=",
            BinaryOp::NotEq => "<>",
            BinaryOp::Less => "<",
            BinaryOp::LessEq => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEq => ">=",
            BinaryOp::IsDistinctFrom => "IS DISTINCT FROM",
            BinaryOp::IsNotDistinctFrom => "IS NOT DISTINCT FROM",
            BinaryOp::Concat => "||",
            BinaryOp::BitAnd => "&",
            BinaryOp::BitOr => "|",
            BinaryOp::BitXor => "#",
            BinaryOp::ShiftLeft => "<<",
            BinaryOp::ShiftRight => ">>",
        })
    }
}

impl Display for UnaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UnaryOp::Not => "NOT",
            UnaryOp::Negate => "-",
            UnaryOp::BitNot => "~",
            UnaryOp::IsNull => "IS NULL",
            UnaryOp::IsNotNull => "IS NOT NULL",
            UnaryOp::IsTrue => "IS TRUE",
            UnaryOp::IsNotTrue => "IS NOT TRUE",
            UnaryOp::IsFalse => "IS FALSE",
            UnaryOp::IsNotFalse => "IS NOT FALSE",
            UnaryOp::IsUnknown => "IS UNKNOWN",
            UnaryOp::IsNotUnknown => "IS NOT UNKNOWN",
        })
    }
}

impl Display for LikeKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LikeKind::Like => "LIKE",
            LikeKind::ILike => "ILIKE",
            LikeKind::SimilarTo => "SIMILAR TO",
            LikeKind::Regex => "~",
            LikeKind::RegexI => "~*",
        })
    }
}

impl Display for SystemColumn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How tightly an operator binds: operands that bind less get parentheses.
fn binding(expr: &Expr) -> u8 {
    match expr {
        Expr::Or(_) => 1,
        Expr::And(_) => 2,
        Expr::Unary { op: UnaryOp::Not, .. } => 3,
        Expr::Unary { op: UnaryOp::Negate | UnaryOp::BitNot, .. } => 9,
        Expr::Unary { .. } => 4,
        Expr::InList { .. } | Expr::Like { .. } => 5,
        Expr::Binary { op, .. } => match op {
            BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Modulo => 8,
            BinaryOp::Add | BinaryOp::Subtract => 7,
            BinaryOp::Concat
            | BinaryOp::BitAnd
            | BinaryOp::BitOr
            | BinaryOp::BitXor
            | BinaryOp::ShiftLeft
            | BinaryOp::ShiftRight => 6,
            BinaryOp::IsDistinctFrom | BinaryOp::IsNotDistinctFrom => 4,
            _ => 5,
        },
        _ => 10,
    }
}

/// An operand, in parentheses if it binds less than `least`.
struct Operand<'a>(&'a Expr, u8);

impl Display for Operand<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if binding(self.0) < self.1 { write!(f, "({})", self.0) } else { self.0.fmt(f) }
    }
}

fn list<T>(
    f: &mut Formatter<'_>,
    items: impl IntoIterator<Item = T>,
    between: &str,
    mut each: impl FnMut(&mut Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        each(f, item)?;
    }
    Ok(())
}

/// A name as SQL reads it back.
fn name(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    let plain = !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain { f.write_str(name) } else { write!(f, "\"{}\"", name.replace('"', "\"\"")) }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let own = binding(self);
        match self {
            Expr::Column { name: n, .. } => name(f, n),
            Expr::System(column) => column.fmt(f),
            Expr::Literal { value, .. } => literal(f, value),
            Expr::Unary { op: UnaryOp::Not, expr, .. } => write!(f, "NOT {}", Operand(expr, own)),
            Expr::Unary { op: op @ (UnaryOp::Negate | UnaryOp::BitNot), expr, .. } => {
                write!(f, "{op}{}", Operand(expr, own + 1))
            }
            Expr::Unary { op, expr, .. } => write!(f, "{} {op}", Operand(expr, own + 1)),
            Expr::Binary { op, left, right, .. } => {
                write!(f, "{} {op} {}", Operand(left, own), Operand(right, own + 1))
            }
            Expr::And(items) => list(f, items, " AND ", |f, e| Operand(e, own + 1).fmt(f)),
            Expr::Or(items) => list(f, items, " OR ", |f, e| Operand(e, own + 1).fmt(f)),
            Expr::Case { branches, otherwise, .. } => case(f, branches, otherwise.as_deref()),
            Expr::Cast { expr, to, mode } => {
                let word = if *mode == CastMode::Try { "TRY_CAST" } else { "CAST" };
                write!(f, "{word}({expr} AS {to})")
            }
            Expr::InList { expr, list: items, negated } => {
                let not = if *negated { "NOT " } else { "" };
                write!(f, "{} {not}IN (", Operand(expr, own + 1))?;
                list(f, items, ", ", |f, e| e.fmt(f))?;
                f.write_char(')')
            }
            Expr::Like { kind, expr, pattern, escape, negated } => {
                let expr = Operand(expr, own + 1);
                match (kind, negated) {
                    (_, false) => write!(f, "{expr} {kind} ")?,
                    (LikeKind::Regex | LikeKind::RegexI, true) => write!(f, "{expr} !{kind} ")?,
                    (_, true) => write!(f, "{expr} NOT {kind} ")?,
                }
                Operand(pattern, own + 1).fmt(f)?;
                match escape {
                    Some('\0') => f.write_str(" ESCAPE ''"),
                    Some(c) => write!(f, " ESCAPE '{c}'"),
                    None => Ok(()),
                }
            }
            Expr::Call { function, args, .. } => {
                write!(f, "{}(", function.name)?;
                list(f, args, ", ", |f, e| e.fmt(f))?;
                f.write_char(')')
            }
            Expr::Field { expr, name: n, .. } => {
                write!(f, "{}.", Operand(expr, 10))?;
                name(f, n)
            }
            Expr::Index { expr, index, .. } => write!(f, "{}[{index}]", Operand(expr, 10)),
            other => constructor(f, other),
        }
    }
}

/// ARRAY, MAP and STRUCT.
fn constructor(f: &mut Formatter<'_>, expr: &Expr) -> fmt::Result {
    match expr {
        Expr::Array { items, .. } => {
            f.write_str("ARRAY[")?;
            list(f, items, ", ", |f, e| e.fmt(f))?;
            f.write_char(']')
        }
        Expr::Map { entries, .. } => {
            f.write_str("MAP {")?;
            list(f, entries, ", ", |f, (k, v)| write!(f, "{k}: {v}"))?;
            f.write_char('}')
        }
        Expr::Struct { fields, .. } => {
            f.write_str("STRUCT(")?;
            list(f, fields, ", ", |f, (n, e)| {
                write!(f, "{e} AS ")?;
                name(f, n)
            })?;
            f.write_char(')')
        }
        _ => Err(fmt::Error),
    }
}

fn case(f: &mut Formatter<'_>, branches: &[(Expr, Expr)], otherwise: Option<&Expr>) -> fmt::Result {
    // COALESCE is bound as CASE; show what was written.
    let coalesced = branches
        .iter()
        .all(|(c, r)| matches!(c, Expr::Unary { op: UnaryOp::IsNotNull, expr, .. } if **expr == *r));
    if let (true, Some(last)) = (coalesced, otherwise) {
        f.write_str("coalesce(")?;
        list(f, branches.iter().map(|(_, r)| r).chain([last]), ", ", |f, e| e.fmt(f))?;
        return f.write_char(')');
    }
    f.write_str("CASE")?;
    for (condition, result) in branches {
        write!(f, " WHEN {condition} THEN {result}")?;
    }
    match otherwise {
        Some(e) => write!(f, " ELSE {e} END"),
        None => f.write_str(" END"),
    }
}

fn literal(f: &mut Formatter<'_>, value: &FieldValue) -> fmt::Result {
    let typed = |f: &mut Formatter<'_>, word: &str, write: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        write(&mut bytes);
        write!(f, "{word}'{}'", String::from_utf8_lossy(&bytes).trim_end_matches('Z'))
    };
    match value {
        FieldValue::Null => f.write_str("NULL"),
        FieldValue::Boolean(b) => f.write_str(if *b { "TRUE" } else { "FALSE" }),
        FieldValue::Integer(i) => write!(f, "{i}"),
        FieldValue::Decimal(d) => write!(f, "{d}"),
        FieldValue::Float(x) if x.is_finite() => write!(f, "{x:e}"),
        FieldValue::Float(x) => typed(f, "DOUBLE ", &|out| text::write_f64(*x, out)),
        FieldValue::String(s) => write!(f, "'{}'", s.replace('\'', "''")),
        FieldValue::Bytes(b) => {
            f.write_str("X'")?;
            b.iter().try_for_each(|b| write!(f, "{b:02X}"))?;
            f.write_char('\'')
        }
        FieldValue::Date(d) => typed(f, "DATE ", &|out| text::write_date(*d, out)),
        FieldValue::Time(t) => typed(f, "TIME ", &|out| text::write_time(*t, out)),
        FieldValue::Timestamp(t) => typed(f, "TIMESTAMP ", &|out| text::write_timestamp(*t, out)),
        FieldValue::Interval(i) => typed(f, "INTERVAL ", &|out| text::write_interval(i, out)),
        FieldValue::Array(items) => {
            f.write_str("ARRAY[")?;
            list(f, items.iter(), ", ", literal)?;
            f.write_char(']')
        }
        FieldValue::Map(entries) => {
            f.write_str("MAP {")?;
            list(f, entries.iter(), ", ", |f, (k, v)| {
                literal(f, k)?;
                f.write_str(": ")?;
                literal(f, v)
            })?;
            f.write_char('}')
        }
        FieldValue::Struct(s) => {
            f.write_str("STRUCT(")?;
            list(f, s.names.iter().zip(&s.values), ", ", |f, (n, v)| {
                literal(f, v)?;
                f.write_str(" AS ")?;
                name(f, n)
            })?;
            f.write_char(')')
        }
        FieldValue::Json(j) => write!(f, "JSON '{}'", j.replace('\'', "''")),
    }
}

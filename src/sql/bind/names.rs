//! Names of output columns that have no alias, as PostgreSQL gives them (`FigureColname`).

use sqlparser::ast::{self, Expr as Ast};

use crate::record::CompactString;

/// How sure a name is: a cast gives way to what stands inside it, and CASE to its ELSE.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    Weak,
    Strong,
}

/// The name of an item without an alias; `?column?` if its form suggests none.
pub(super) fn column_name(expr: &Ast) -> CompactString {
    figure(expr).map_or_else(|| "?column?".into(), |(name, _)| name)
}

fn figure(expr: &Ast) -> Option<(CompactString, Strength)> {
    let strong = |name: &str| Some((CompactString::new(name), Strength::Strong));
    let weak = |name: &str| Some((CompactString::new(name), Strength::Weak));
    match expr {
        Ast::Identifier(ident) => strong(&ident.value),
        Ast::CompoundIdentifier(parts) => strong(&parts.last()?.value),
        Ast::CompoundFieldAccess { root, access_chain } => {
            let named = access_chain.iter().rev().find_map(|step| match step {
                ast::AccessExpr::Dot(Ast::Identifier(ident)) => Some(ident.value.as_str()),
                ast::AccessExpr::Dot(_) | ast::AccessExpr::Subscript(_) => None,
            });
            named.map_or_else(|| figure(root), strong)
        }
        Ast::Nested(inner) => figure(inner),
        Ast::Collate { expr, .. } => figure(expr),
        Ast::Function(function) => strong(&function.name.0.last()?.as_ident()?.value.to_lowercase()),
        Ast::Cast { expr, data_type, .. } => {
            figure(expr).filter(|(_, s)| *s == Strength::Strong).or_else(|| weak(&type_name(data_type)))
        }
        Ast::TypedString(typed) => weak(&type_name(&typed.data_type)),
        Ast::Interval(_) => weak("interval"),
        Ast::Value(value) if matches!(value.value, ast::Value::Boolean(_)) => weak("bool"),
        Ast::Case { else_result, .. } => else_result
            .as_deref()
            .and_then(figure)
            .filter(|(_, s)| *s == Strength::Strong)
            .or_else(|| weak("case")),
        Ast::Extract { .. } => strong("extract"),
        Ast::Position { .. } => strong("position"),
        Ast::Substring { .. } => strong("substring"),
        Ast::Trim { trim_where, .. } => strong(match trim_where {
            None | Some(ast::TrimWhereField::Both) => "btrim",
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
        }),
        Ast::Overlay { .. } => strong("overlay"),
        Ast::Ceil { .. } => strong("ceil"),
        Ast::Floor { .. } => strong("floor"),
        Ast::AtTimeZone { .. } => strong("timezone"),
        Ast::Array(_) => strong("array"),
        Ast::Map(_) => strong("map"),
        Ast::Tuple(_) => strong("row"),
        Ast::Struct { .. } | Ast::Dictionary(_) => strong("struct"),
        _ => None,
    }
}

/// The name of a type as PostgreSQL has it in its catalog.
fn type_name(data_type: &ast::DataType) -> CompactString {
    use crate::record::DataType as T;
    let name = match crate::sql::data_type(data_type) {
        Ok(T::Boolean) => "bool",
        Ok(T::SmallInt) => "int2",
        Ok(T::Integer) => "int4",
        Ok(T::BigInt) => "int8",
        Ok(T::Real) => "float4",
        Ok(T::Double) => "float8",
        Ok(T::Decimal { .. }) => "numeric",
        Ok(T::Varchar) if matches!(data_type, ast::DataType::Text) => "text",
        Ok(T::Varchar) => "varchar",
        Ok(T::Bytes) => "bytea",
        Ok(T::Date) => "date",
        Ok(T::Time) => "time",
        Ok(T::Timestamp) => "timestamp",
        Ok(T::Interval) => "interval",
        Ok(T::Array(_)) => "array",
        Ok(T::Map(..)) => "map",
        Ok(T::Struct(_)) => "struct",
        Ok(T::Json) => "json",
        Ok(T::Null) | Err(_) => "?column?",
    };
    name.into()
}

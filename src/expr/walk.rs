//! Walking and rewriting expression trees: children, columns used, column remapping.

use super::{Expr, SystemColumn, Volatility};
use crate::record::DataType;

impl Expr {
    /// The type of the value.
    pub fn data_type(&self) -> DataType {
        match self {
            Expr::Column { data_type, .. }
            | Expr::Literal { data_type, .. }
            | Expr::Unary { data_type, .. }
            | Expr::Binary { data_type, .. }
            | Expr::Case { data_type, .. }
            | Expr::Call { data_type, .. }
            | Expr::Field { data_type, .. }
            | Expr::Index { data_type, .. }
            | Expr::Array { data_type, .. }
            | Expr::Map { data_type, .. }
            | Expr::Struct { data_type, .. } => data_type.clone(),
            Expr::System(column) => column.data_type(),
            Expr::And(_) | Expr::Or(_) | Expr::InList { .. } | Expr::Like { .. } => DataType::Boolean,
            Expr::Cast { to, .. } => to.clone(),
        }
    }

    /// The operands, left to right.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Column { .. } | Expr::System(_) | Expr::Literal { .. } => Vec::new(),
            Expr::Unary { expr, .. } | Expr::Cast { expr, .. } | Expr::Field { expr, .. } => vec![expr],
            Expr::Binary { left, right, .. } => vec![left, right],
            Expr::Index { expr, index, .. } => vec![expr, index],
            Expr::Like { expr, pattern, .. } => vec![expr, pattern],
            Expr::And(items)
            | Expr::Or(items)
            | Expr::Array { items, .. }
            | Expr::Call { args: items, .. } => items.iter().collect(),
            Expr::Case { branches, otherwise, .. } => {
                branches.iter().flat_map(|(c, r)| [c, r]).chain(otherwise.as_deref()).collect()
            }
            Expr::InList { expr, list, .. } => std::iter::once(&**expr).chain(list).collect(),
            Expr::Map { entries, .. } => entries.iter().flat_map(|(k, v)| [k, v]).collect(),
            Expr::Struct { fields, .. } => fields.iter().map(|(_, e)| e).collect(),
        }
    }

    /// The operands, left to right, to be changed in place.
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Expr::Column { .. } | Expr::System(_) | Expr::Literal { .. } => Vec::new(),
            Expr::Unary { expr, .. } | Expr::Cast { expr, .. } | Expr::Field { expr, .. } => vec![expr],
            Expr::Binary { left, right, .. } => vec![left, right],
            Expr::Index { expr, index, .. } => vec![expr, index],
            Expr::Like { expr, pattern, .. } => vec![expr, pattern],
            Expr::And(items)
            | Expr::Or(items)
            | Expr::Array { items, .. }
            | Expr::Call { args: items, .. } => items.iter_mut().collect(),
            Expr::Case { branches, otherwise, .. } => {
                branches.iter_mut().flat_map(|(c, r)| [c, r]).chain(otherwise.as_deref_mut()).collect()
            }
            Expr::InList { expr, list, .. } => std::iter::once(&mut **expr).chain(list).collect(),
            Expr::Map { entries, .. } => entries.iter_mut().flat_map(|(k, v)| [k, v]).collect(),
            Expr::Struct { fields, .. } => fields.iter_mut().map(|(_, e)| e).collect(),
        }
    }

    /// How many nodes the tree has.
    pub(crate) fn node_count(&self) -> usize {
        let mut nodes = 0;
        self.walk(&mut |_| nodes += 1);
        nodes
    }

    /// How many nodes are above each other.
    pub(crate) fn depth(&self) -> usize {
        1 + self.children().into_iter().map(Expr::depth).max().unwrap_or(0)
    }

    /// Calls `visit` for this node and all below it, parents first.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }

    /// Rewrites the tree from the leaves up: `f` gets each node with its operands already rewritten.
    pub fn transform(mut self, f: &mut dyn FnMut(Expr) -> Expr) -> Expr {
        for child in self.children_mut() {
            let taken = std::mem::replace(child, Expr::And(Vec::new()));
            *child = taken.transform(f);
        }
        f(self)
    }

    /// The same expression over an input whose columns stand at other positions.
    pub fn map_columns(&self, f: &dyn Fn(usize) -> usize) -> Expr {
        self.clone().transform(&mut |e| match e {
            Expr::Column { index, name, data_type } => Expr::Column { index: f(index), name, data_type },
            other => other,
        })
    }

    /// The same expression with each column replaced by what computes it, e.g. to move a predicate below a projection.
    pub fn replace_columns(&self, f: &dyn Fn(usize) -> Option<Expr>) -> Expr {
        self.clone().transform(&mut |e| match &e {
            Expr::Column { index, .. } => f(*index).unwrap_or(e),
            _ => e,
        })
    }

    /// Positions of the columns that are read, ascending, each once.
    pub fn columns_used(&self) -> Vec<usize> {
        let mut used = Vec::new();
        self.walk(&mut |e| {
            if let Expr::Column { index, .. } = e {
                used.push(*index);
            }
        });
        used.sort_unstable();
        used.dedup();
        used
    }

    /// The system columns that are read, each once. Functions that look at the record by themselves
    /// ([`Volatility::Context`]) do not show here: see [`volatility`](Self::volatility).
    pub fn system_columns_used(&self) -> Vec<SystemColumn> {
        let mut used = Vec::new();
        self.walk(&mut |e| match e {
            Expr::System(column) if !used.contains(column) => used.push(*column),
            _ => {}
        });
        used
    }

    /// Whether the value is the same for every record: no column, and only immutable functions.
    pub fn is_constant(&self) -> bool {
        let mut constant = true;
        self.walk(&mut |e| match e {
            Expr::Column { .. } | Expr::System(_) => constant = false,
            Expr::Call { function, .. } => constant &= function.volatility == Volatility::Immutable,
            _ => {}
        });
        constant
    }

    /// The most volatile thing inside: [`Volatility::Volatile`] calls must not be duplicated or moved.
    pub fn volatility(&self) -> Volatility {
        let mut found = Volatility::Immutable;
        self.walk(&mut |e| {
            let here = match e {
                Expr::Call { function, .. } => function.volatility,
                Expr::System(_) => Volatility::Context,
                _ => Volatility::Immutable,
            };
            if here == Volatility::Volatile || found == Volatility::Immutable {
                found = here;
            }
        });
        found
    }
}

impl SystemColumn {
    /// All of them, in the order of the reference.
    pub const ALL: [SystemColumn; 7] = [
        SystemColumn::Timestamp,
        SystemColumn::EventTime,
        SystemColumn::Offset,
        SystemColumn::Partition,
        SystemColumn::Topic,
        SystemColumn::Key,
        SystemColumn::Headers,
    ];
    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            SystemColumn::Timestamp => "_timestamp",
            SystemColumn::EventTime => "_event_time",
            SystemColumn::Offset => "_offset",
            SystemColumn::Partition => "_partition",
            SystemColumn::Topic => "_topic",
            SystemColumn::Key => "_key",
            SystemColumn::Headers => "_headers",
        }
    }
    /// The column of that name (any case).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name().eq_ignore_ascii_case(name))
    }
    /// Its type.
    pub fn data_type(self) -> DataType {
        match self {
            SystemColumn::Timestamp | SystemColumn::EventTime => DataType::Timestamp,
            SystemColumn::Offset => DataType::BigInt,
            SystemColumn::Partition => DataType::Integer,
            SystemColumn::Topic | SystemColumn::Key => DataType::Varchar,
            SystemColumn::Headers => DataType::map(DataType::Varchar, DataType::Varchar),
        }
    }
}

/// Whether the tree has more levels than that.
pub(super) fn depth_exceeds(expr: &Expr, levels: usize) -> bool {
    match levels.checked_sub(1) {
        None => true,
        Some(below) => expr.children().into_iter().any(|child| depth_exceeds(child, below)),
    }
}

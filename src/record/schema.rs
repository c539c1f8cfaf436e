//! The shape that the records of a stream share: names and types, held once.

use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;
use hashbrown::HashMap;

use super::DataType;

/// A named, typed column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// Column name; SQL matches it exactly first, then without case.
    pub name: CompactString,
    /// Column type.
    pub data_type: DataType,
    /// `false` after NOT NULL or in a primary key: a NULL is then a record error.
    pub nullable: bool,
}

impl Field {
    /// A nullable column.
    pub fn new(name: impl AsRef<str>, data_type: DataType) -> Self {
        Self { name: CompactString::new(name), data_type, nullable: true }
    }
    /// The same column, declared NOT NULL.
    pub fn not_null(mut self) -> Self {
        self.nullable = false;
        self
    }
}

/// The ordered columns of a record. Always behind an `Arc`; records compare it by pointer.
#[derive(Clone, Default)]
pub struct Schema {
    fields: Vec<Field>,
    by_name: HashMap<CompactString, usize>,
}

impl Schema {
    /// Builds a schema. If a name occurs twice, look-ups find its first column.
    pub fn new(fields: impl IntoIterator<Item = Field>) -> Arc<Self> {
        let fields: Vec<Field> = fields.into_iter().collect();
        let mut by_name = HashMap::with_capacity(fields.len());
        for (i, f) in fields.iter().enumerate() {
            by_name.entry(f.name.clone()).or_insert(i);
        }
        Arc::new(Self { fields, by_name })
    }

    /// Short form for tests and examples.
    ///
    /// ```
    /// use millstream::{DataType, Schema};
    /// let schema = Schema::of([("id", DataType::BigInt), ("name", DataType::Varchar)]);
    /// assert_eq!(schema.index_of("name"), Some(1));
    /// ```
    pub fn of<N: AsRef<str>>(columns: impl IntoIterator<Item = (N, DataType)>) -> Arc<Self> {
        Self::new(columns.into_iter().map(|(n, t)| Field::new(n, t)))
    }

    /// The columns, in order.
    #[inline]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
    /// Number of columns.
    #[inline]
    pub fn len(&self) -> usize {
        self.fields.len()
    }
    /// Whether there is no column.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
    /// The column called exactly `name`. For set-up, never per record.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }
    /// The column of that name: exact, else the only one that matches without case.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.index_of(name).or_else(|| {
            let mut hits = (0..self.len()).filter(|&i| self.fields[i].name.eq_ignore_ascii_case(name));
            match (hits.next(), hits.next()) {
                (Some(i), None) => Some(i),
                _ => None,
            }
        })
    }
    /// Column names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|f| f.name.as_str())
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields
    }
}
impl Eq for Schema {}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.fields.iter().map(|x| (x.name.as_str(), &x.data_type))).finish()
    }
}

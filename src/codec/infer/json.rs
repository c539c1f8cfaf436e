//! Columns of JSON objects: a type for each key, nested ones included.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::guess::Types;
use super::{Fed, SIGN, foreign, skip_line};
use crate::codec::json::{JsonOptions, Layout};
use crate::codec::{Input, TimestampFormat};
use crate::record::{CompactString, DataType, Field, Schema};

/// An object with more keys than this is data in its keys: JSON, not STRUCT.
const MOST_FIELDS: usize = 200;

/// What was seen at one place.
#[derive(Debug, Default)]
struct Node {
    seen: u8,
    /// Keys in order of first appearance.
    fields: Vec<(CompactString, Node)>,
    item: Option<Box<Node>>,
}

const BOOLEAN: u8 = 1;
const BIGINT: u8 = 2;
/// Beyond 64 bits with sign.
const BIG: u8 = 4;
const FLOAT: u8 = 8;
const TEXT: u8 = 16;
const DATE: u8 = 32;
const TIMESTAMP: u8 = 64;
const NESTED: u8 = 128;

impl Node {
    fn data_type(&self) -> DataType {
        const NUMBERS: u8 = BIGINT | BIG | FLOAT;
        let only = |mask: u8| self.seen & !mask == 0;
        match self.seen {
            0 => DataType::Json,
            BOOLEAN => DataType::Boolean,
            BIGINT => DataType::BigInt,
            DATE => DataType::Date,
            _ if only(BIGINT | BIG) => DataType::Decimal { precision: 28, scale: 0 },
            _ if only(NUMBERS) => DataType::Double,
            _ if only(DATE | TIMESTAMP) => DataType::Timestamp,
            _ if only(TEXT | DATE | TIMESTAMP) => DataType::Varchar,
            NESTED => self.nested(),
            _ => DataType::Json,
        }
    }
    fn nested(&self) -> DataType {
        match &self.item {
            Some(item) if self.fields.is_empty() => DataType::array(item.data_type()),
            None if (1..=MOST_FIELDS).contains(&self.fields.len()) => DataType::Struct(self.struct_fields()),
            _ => DataType::Json,
        }
    }
    fn struct_fields(&self) -> Vec<Field> {
        self.fields.iter().map(|(name, node)| Field::new(name, node.data_type())).collect()
    }
}

pub(super) struct JsonSampler {
    options: JsonOptions,
    root: Node,
    begun: bool,
    /// The layout of this input, once it is known.
    array: bool,
    rows: u64,
    skipping: bool,
    /// The end of the array, or what no one understands.
    over: bool,
    /// Why the first record says nothing.
    problem: Option<String>,
}

impl JsonSampler {
    pub(super) fn new(options: JsonOptions) -> Self {
        Self {
            array: options.layout == Layout::Array,
            options,
            root: Node::default(),
            begun: false,
            rows: 0,
            skipping: false,
            over: false,
            problem: None,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], input: Input, limit: u64) -> Fed {
        let mut at = 0;
        if !self.begun {
            if bytes.len() < SIGN && input == Input::Partial {
                return Fed::default();
            }
            let mark: usize = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
            let blanks =
                bytes.get(mark..).unwrap_or_default().iter().take_while(|b| b.is_ascii_whitespace()).count();
            let Some(first) = bytes.get(mark + blanks) else { return Fed::default() };
            self.begun = true;
            if let Some(what) = foreign(bytes) {
                self.problem = Some(what.into());
                self.over = true;
            }
            self.array |= self.options.layout == Layout::Auto && *first == b'[';
            at = mark + blanks + usize::from(self.array && *first == b'[');
        }
        loop {
            if self.over || self.rows >= limit {
                return Fed { consumed: at, enough: true };
            }
            let rest = bytes.get(at..).unwrap_or_default();
            let step = if self.array { self.element(rest) } else { self.line(rest, input) };
            if step == 0 {
                return Fed { consumed: at, enough: self.over };
            }
            at += step;
        }
    }

    /// Looks at the line at the front; returns how many bytes it takes, 0 if its end has not come.
    fn line(&mut self, rest: &[u8], input: Input) -> usize {
        let (len, over) = skip_line(rest, input);
        if !over {
            if !self.skipping && rest.len() <= self.options.max_record_bytes {
                return 0;
            }
            self.skipping = true;
            self.too_long();
            return len;
        }
        let line = rest.get(..len).unwrap_or_default();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if std::mem::take(&mut self.skipping) || line.len() > self.options.max_record_bytes {
            self.too_long();
        } else {
            self.record(line);
        }
        len
    }

    fn too_long(&mut self) {
        self.problem.get_or_insert_with(|| "its first record is longer than max_record_bytes".into());
    }

    /// Looks at the element at the front, with the comma before it.
    fn element(&mut self, rest: &[u8]) -> usize {
        let before = rest.iter().take_while(|b| b.is_ascii_whitespace() || **b == b',').count();
        let element = rest.get(before..).unwrap_or_default();
        if element.first().is_none_or(|b| *b == b']') {
            self.over = !element.is_empty();
            return before;
        }
        let mut elements = serde_json::Deserializer::from_slice(element).into_iter::<IgnoredAny>();
        match elements.next() {
            Some(Ok(_)) => {
                let len = elements.byte_offset();
                self.record(element.get(..len).unwrap_or_default());
                before + len
            }
            Some(Err(e)) if e.is_eof() && element.len() <= self.options.max_record_bytes => 0,
            _ => {
                self.over = true;
                0
            }
        }
    }

    /// Merges one object; what is none, or is broken, says nothing.
    fn record(&mut self, text: &[u8]) {
        let Some(first) = text.iter().find(|b| !b.is_ascii_whitespace()) else { return };
        let problem = match (first, serde_json::from_slice::<IgnoredAny>(text)) {
            (b'{', Ok(_)) => None,
            _ if text.contains(&0) => Some("it holds a NUL byte: it is UTF-16 or binary".into()),
            (b'{', Err(e)) => Some(format!("its first record is not one JSON object: {e}")),
            _ => Some("its first record is no JSON object".into()),
        };
        if let Some(problem) = problem {
            self.problem.get_or_insert(problem);
            return;
        }
        let forms = &self.options.timestamp_format;
        let seed = See { node: &mut self.root, timestamps: forms };
        if seed.deserialize(&mut serde_json::Deserializer::from_slice(text)).is_ok() {
            self.rows += 1;
        }
    }

    pub(super) fn finish(self) -> Result<(Arc<Schema>, u64), String> {
        if self.root.fields.is_empty() {
            let why = match (self.rows, self.problem) {
                (0, Some(problem)) => problem,
                (0, None) if !self.begun => "it is empty; declare the columns".into(),
                (0, None) => "there is no whole object; declare the columns".into(),
                _ => "its objects are empty; declare the columns".into(),
            };
            return Err(format!("the columns of the JSON input can't be inferred: {why}"));
        }
        Ok((Schema::new(self.root.struct_fields()), self.rows))
    }
}

/// Merges one value into a node.
struct See<'a> {
    node: &'a mut Node,
    timestamps: &'a TimestampFormat,
}

impl<'de> DeserializeSeed<'de> for See<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for See<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.node.seen |= BOOLEAN;
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.node.seen |= BIGINT;
        Ok(())
    }
    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.node.seen |= if i64::try_from(value).is_ok() { BIGINT } else { BIG };
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.node.seen |= FLOAT;
        Ok(())
    }
    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        // A text already: nothing narrower can come of it.
        if self.node.seen & TEXT == 0 {
            self.node.seen |= match Types::of(value, self.timestamps).temporal() {
                Some(DataType::Date) => DATE,
                Some(_) => TIMESTAMP,
                None => TEXT,
            };
        }
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.node.seen |= NESTED;
        let item = self.node.item.get_or_insert_default();
        while items.next_element_seed(See { node: item, timestamps: self.timestamps })?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.node.seen |= NESTED;
        let fields = &mut self.node.fields;
        let mut next = 0;
        while let Some(place) = entries.next_key_seed(Key { fields, next })? {
            next = place + 1;
            match fields.get_mut(place) {
                Some((_, node)) => entries.next_value_seed(See { node, timestamps: self.timestamps })?,
                None => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Finds the place of a key, first where it is expected, or makes one.
struct Key<'a> {
    fields: &'a mut Vec<(CompactString, Node)>,
    next: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = usize;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E>(self, key: &str) -> Result<usize, E> {
        if self.fields.get(self.next).is_some_and(|(name, _)| name == key) {
            return Ok(self.next);
        }
        if let Some(place) = self.fields.iter().position(|(name, _)| name == key) {
            return Ok(place);
        }
        self.fields.push((CompactString::new(key), Node::default()));
        Ok(self.fields.len() - 1)
    }
}

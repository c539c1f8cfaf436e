//! From the text of one object to the values of one record: by the predicted shape, else in full.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::column::{Kind, Reader};
use super::lex::{Fault, Lexer, find_special, key_end, number_end, unescape};
use super::number::{short_decimal, short_double, short_integer};
use super::options::{DuplicateKeys, JsonOptions, UnknownFields};
use super::shape::{ROOT, Shapes};
use crate::record::{CompactString, ErrorCode, FieldValue, Schema};

/// A wanted column.
#[derive(Clone, Debug)]
struct Column {
    name: CompactString,
    type_name: String,
    kind: Kind,
    nullable: bool,
    /// Where its value stands in the object that is being read in full.
    found: Option<(usize, usize)>,
}

/// Reads objects. Stateful: remembers the order of keys and keeps its buffers.
#[derive(Clone, Debug)]
pub(super) struct ObjectReader {
    columns: Vec<Column>,
    by_name: HashMap<CompactString, usize>,
    /// With `unknown_fields = 'error'`: all names that are allowed.
    declared: Option<HashSet<CompactString>>,
    pub(super) lexer: Lexer,
    reader: Reader,
    shapes: Shapes,
    key: String,
}

/// Why an object gave no record.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) fault: Fault,
    pub(super) column: Option<CompactString>,
    /// The end of the object, if it is valid JSON.
    pub(super) end: Option<usize>,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { fault, column: None, end: None }
    }
}

impl ObjectReader {
    pub(super) fn new(schema: &Arc<Schema>, options: &JsonOptions) -> Self {
        let column = |f: &crate::record::Field| Column {
            name: f.name.clone(),
            type_name: f.data_type.to_string(),
            kind: Kind::new(&f.data_type, options),
            nullable: f.nullable,
            found: None,
        };
        let mut by_name = HashMap::new();
        for (i, name) in schema.names().enumerate() {
            by_name.entry(CompactString::new(name)).or_insert(i);
        }
        let strict = options.unknown_fields == UnknownFields::Error;
        Self {
            columns: schema.fields().iter().map(column).collect(),
            declared: strict.then(|| schema.names().map(CompactString::new).collect()),
            by_name,
            lexer: Lexer {
                multiline: false,
                unique_keys: options.duplicate_keys == DuplicateKeys::Error,
                ..Lexer::default()
            },
            reader: Reader::new(options),
            shapes: Shapes::default(),
            key: String::new(),
        }
    }

    /// Names that are known although they are not wanted.
    pub(super) fn declare(&mut self, schema: &Schema) {
        if let Some(declared) = &mut self.declared {
            declared.extend(schema.names().map(CompactString::new));
        }
    }

    /// Reads the object at `pos` if its keys come in an order that was seen before and nothing is wrong
    /// with it; answers its end. `None` says nothing but that [`read`](Self::read) must look.
    #[inline]
    pub(super) fn read_predicted(
        &mut self,
        text: &str,
        mut pos: usize,
        values: &mut [FieldValue],
    ) -> Option<usize> {
        let bytes = text.as_bytes();
        let mut node = self.shapes.get(ROOT)?;
        loop {
            let Some(next) = self.shapes.next(node, bytes.get(pos..)?) else {
                if bytes.get(pos) != Some(&b'}') {
                    pos = self.lexer.skip_blanks(bytes, pos);
                    if bytes.get(pos) != Some(&b'}') {
                        return None;
                    }
                }
                for &absent in node.absent.as_deref()? {
                    *values.get_mut(absent)? = FieldValue::Null;
                }
                return Some(pos + 1);
            };
            node = next;
            pos += node.prefix.len();
            pos = match node.column {
                None => skip_predicted(&mut self.lexer, text, pos)?,
                Some(i) => {
                    let column = self.columns.get(i)?;
                    let slot = values.get_mut(i)?;
                    read_value(&mut self.lexer, &mut self.reader, column, text, pos, slot)?
                }
            };
        }
    }

    /// Reads the object at `pos` in full, and learns its shape. Answers its end.
    pub(super) fn read(
        &mut self,
        text: &str,
        pos: usize,
        values: &mut [FieldValue],
    ) -> Result<usize, Refusal> {
        self.lexer.keys.clear();
        self.shapes.begin();
        for column in &mut self.columns {
            column.found = None;
        }
        if text.as_bytes().get(pos) != Some(&b'{') {
            let end = self.lexer.skip_value(text, pos, 0)?;
            let fault = Fault::new(ErrorCode::TypeMismatch, pos, "a record must be a JSON object");
            return Err(Refusal { fault, column: None, end: Some(end) });
        }
        let (end, mut complaint) = self.members(text, pos)?;
        if let Err(twice) = self.lexer.finish_keys(text, 0) {
            complaint = Some(Refusal::from(twice));
        }
        if let Some(refusal) = complaint.or_else(|| self.convert(text, pos, values).err()) {
            return Err(Refusal { end: Some(end), ..refusal });
        }
        let absent = self.columns.iter().enumerate().filter(|(_, c)| c.found.is_none()).map(|(i, _)| i);
        self.shapes.learn(text, absent);
        Ok(end)
    }

    /// Steps over all members, notes where the wanted ones stand; answers the end of the object.
    fn members(&mut self, text: &str, start: usize) -> Result<(usize, Option<Refusal>), Fault> {
        let bytes = text.as_bytes();
        let mut unknown = None;
        let mut from = start;
        let mut pos = self.lexer.skip_blanks(bytes, start + 1);
        if bytes.get(pos) == Some(&b'}') {
            return Ok((pos + 1, None));
        }
        loop {
            let (end, escaped) = key_end(bytes, pos)?;
            let content = text.get(pos + 1..end - 1).unwrap_or("");
            self.key.clear();
            if escaped {
                unescape(content, &mut self.key)?;
            }
            let key = if escaped { self.key.as_str() } else { content };
            let column = self.by_name.get(key).copied();
            if unknown.is_none() && self.declared.as_ref().is_some_and(|d| !d.contains(key)) {
                let shown: String = key.chars().take(60).collect();
                let message = format!("the field \"{shown}\" is not declared");
                unknown = Some(Refusal::from(Fault::new(ErrorCode::UnknownField, pos, message)));
            }
            if self.lexer.unique_keys {
                self.lexer.keys.push(text, pos + 1, end - 1, escaped);
            }
            let value = self.lexer.skip_colon(bytes, end)?;
            self.shapes.note(from, value, column);
            from = self.lexer.skip_value(text, value, 1)?;
            if let Some(c) = column.and_then(|i| self.columns.get_mut(i)) {
                if c.found.is_some() {
                    self.shapes.forget();
                }
                c.found = Some((value, from));
            }
            pos = self.lexer.skip_blanks(bytes, from);
            match self.lexer.skip_comma(bytes, pos)? {
                Some(next) => pos = next,
                None => return Ok((pos + 1, unknown)),
            }
        }
    }

    /// Converts the values that were found.
    fn convert(&mut self, text: &str, start: usize, values: &mut [FieldValue]) -> Result<(), Refusal> {
        for (column, slot) in self.columns.iter().zip(values) {
            let (raw, at) = match column.found {
                Some((a, b)) => (text.get(a..b).unwrap_or("null"), a),
                None => ("null", start),
            };
            let refuse = |code, message: String| Refusal {
                fault: Fault::new(code, at, message),
                column: Some(column.name.clone()),
                end: None,
            };
            if self.reader.read(&column.kind, raw, slot).is_err() {
                let mut shown: String = raw.chars().take(60).collect();
                if shown.len() < raw.len() {
                    shown.push('…');
                }
                let message = format!("{shown} does not fit {}", column.type_name);
                return Err(refuse(ErrorCode::TypeMismatch, message));
            }
            if !column.nullable && slot.is_null() {
                let what = if column.found.is_some() { "NULL" } else { "no value" };
                return Err(refuse(ErrorCode::NotNull, format!("{what} in a NOT NULL column")));
            }
        }
        Ok(())
    }
}

#[inline]
fn skip_predicted(lexer: &mut Lexer, text: &str, pos: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    match bytes.get(pos)? {
        b'"' => {
            let end = find_special(bytes, pos + 1);
            if bytes.get(end) == Some(&b'"') {
                return Some(end + 1);
            }
        }
        b'-' | b'0'..=b'9' => return number_end(bytes, pos).ok(),
        _ => {}
    }
    lexer.skip_value(text, pos, 1).ok()
}

#[inline]
fn read_value(
    lexer: &mut Lexer,
    reader: &mut Reader,
    column: &Column,
    text: &str,
    pos: usize,
    slot: &mut FieldValue,
) -> Option<usize> {
    let bytes = text.as_bytes();
    match (bytes.get(pos)?, &column.kind) {
        (b'"', Kind::Json) => {}
        (b'"', kind) => {
            let end = find_special(bytes, pos + 1);
            if bytes.get(end) == Some(&b'"') {
                let content = text.get(pos + 1..end)?;
                if let Kind::Varchar = kind {
                    slot.set_str(content);
                    return Some(end + 1);
                }
                reader.read_string(kind, content, slot).ok()?;
                return Some(end + 1);
            }
        }
        (_, Kind::Integer { min, max }) => {
            if let Some((n, end)) = short_integer(bytes, pos) {
                if n < *min || n > *max {
                    return None;
                }
                *slot = FieldValue::Integer(n);
                return Some(end);
            }
        }
        (_, Kind::Decimal { precision, scale }) => {
            if let Some((d, end)) = short_decimal(bytes, pos, *precision, *scale) {
                *slot = FieldValue::Decimal(d);
                return Some(end);
            }
        }
        (_, Kind::Double) => {
            if let Some((v, end)) = short_double(bytes, pos) {
                *slot = FieldValue::Float(v);
                return Some(end);
            }
        }
        _ => {}
    }
    let end = lexer.skip_value(text, pos, 1).ok()?;
    reader.read(&column.kind, text.get(pos..end)?, slot).ok()?;
    (column.nullable || !slot.is_null()).then_some(end)
}

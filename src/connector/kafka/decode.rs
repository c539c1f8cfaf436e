//! From a message to a record: key and value through their formats, then what the broker says about the message.

use std::sync::Arc;

use super::client::Message;
use super::options::Tombstones;
use crate::catalog::Options;
use crate::codec::{Decoder, Format, Input, Origin};
use crate::connector::registry::config;
use crate::io::{IoError, Scan, SystemColumns};
use crate::record::{
    BatchBuilder, BuilderMark, CompactString, DataType, ErrorCode, FieldValue, RecordError, Reject, Schema,
    StreamRecord,
};

/// The formats of a stream and which columns each holds.
#[derive(Clone)]
pub(super) struct MessageFormat {
    schema: Arc<Schema>,
    value: Format,
    /// `None`: all columns come from the value.
    key: Option<Format>,
    key_columns: Vec<CompactString>,
    tombstones: Tombstones,
}

impl MessageFormat {
    pub(super) fn new(
        schema: Arc<Schema>,
        value: Format,
        key_format: Option<&str>,
        key_columns: &[String],
        options: &Options,
        tombstones: Tombstones,
    ) -> Result<Self, IoError> {
        let positions = columns(&schema, key_columns)?;
        let key = key_of(&schema, &positions, key_format, options)?;
        let named = |i: &usize| schema.fields().get(*i).map(|f| f.name.clone());
        let this = Self {
            key_columns: positions.iter().filter_map(named).collect(),
            value: value.for_messages().map_err(config)?,
            key,
            schema,
            tombstones,
        };
        let everything =
            Scan { schema: this.schema.clone(), system: SystemColumns::default(), clock: None, kept: false };
        // Types that a format can't hold are told now.
        this.decoder(&everything)?;
        Ok(this)
    }

    pub(super) fn decoder(&self, scan: &Scan) -> Result<MessageDecoder, IoError> {
        let in_key = |name: &CompactString| self.key_columns.contains(name);
        let all: Vec<CompactString> = self.schema.fields().iter().map(|f| f.name.clone()).collect();
        let (of_key, of_value): (Vec<_>, Vec<_>) = all.into_iter().partition(in_key);
        let key_wanted: Vec<usize> = places(&scan.schema, |n| in_key(n));
        let value_wanted: Vec<usize> = places(&scan.schema, |n| !in_key(n));
        let value = self.value.decoder(&pick(&scan.schema, &value_wanted), &of_value).map_err(config)?;
        let key = match &self.key {
            Some(format) if !key_wanted.is_empty() => {
                let schema = pick(&scan.schema, &key_wanted);
                let decoder = format.decoder(&schema, &of_key).map_err(config)?;
                Some(Side {
                    empty: Empty::of(format),
                    places: key_wanted,
                    aside: Aside::new(schema),
                    decoder,
                })
            }
            _ => None,
        };
        let not_null = scan.schema.fields().iter().find(|f| !f.nullable && !in_key(&f.name));
        Ok(MessageDecoder {
            empty: Empty::of(&self.value),
            aside: key.is_some().then(|| Aside::new(pick(&scan.schema, &value_wanted))),
            places: value_wanted,
            value,
            key,
            tombstones: self.tombstones,
            not_null: not_null.map(|f| f.name.clone()),
            system: scan.system,
        })
    }
}

/// Positions of columns by name.
pub(super) fn columns(schema: &Schema, names: &[String]) -> Result<Vec<usize>, IoError> {
    let mut positions = Vec::new();
    for name in names {
        let Some(at) = schema.find(name) else {
            let near = crate::catalog::nearest(name, schema.names());
            let hint = match near.as_slice() {
                [] => String::new(),
                near => format!("; did you mean {}?", near.join(" or ")),
            };
            return Err(IoError::config(format!("there is no column '{name}'{hint}")));
        };
        if !positions.contains(&at) {
            positions.push(at);
        }
    }
    Ok(positions)
}

/// The format of the key: what the option says, else what suits its columns.
pub(super) fn key_of(
    schema: &Schema,
    positions: &[usize],
    named: Option<&str>,
    options: &Options,
) -> Result<Option<Format>, IoError> {
    let types: Vec<&DataType> =
        positions.iter().filter_map(|i| schema.fields().get(*i)).map(|f| &f.data_type).collect();
    let name = match (types.as_slice(), named) {
        ([], None) => return Ok(None),
        ([], Some(_)) => return Err(IoError::config("'key_format' needs 'key_columns'")),
        (_, Some(named)) => named,
        ([DataType::Varchar], None) => "text",
        ([DataType::Bytes], None) => "raw",
        (_, None) => "json",
    };
    // Of the format's options the key takes those that say how values look, not how the value's frame does.
    let looks = ["timestamp_format", "bytes_format", "decimal_format", "coerce"];
    let options = Options::new(options.iter().filter(|(n, _)| looks.contains(n)));
    Format::new(name, &options).and_then(Format::for_messages).map(Some).map_err(config)
}

fn places(schema: &Schema, wanted: impl Fn(&CompactString) -> bool) -> Vec<usize> {
    schema.fields().iter().enumerate().filter(|(_, f)| wanted(&f.name)).map(|(i, _)| i).collect()
}

/// The columns of `schema` at these places; the schema itself if that is all of them.
pub(super) fn pick(schema: &Arc<Schema>, places: &[usize]) -> Arc<Schema> {
    match places.len() == schema.len() {
        true => schema.clone(),
        false => Schema::new(places.iter().filter_map(|i| schema.fields().get(*i)).cloned()),
    }
}

/// What no bytes at all mean in a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Empty {
    /// An empty text.
    Text,
    /// Nothing that could be decoded.
    Nothing,
}

impl Empty {
    fn of(format: &Format) -> Self {
        if matches!(format.spec().name, "text" | "raw") { Self::Text } else { Self::Nothing }
    }
}

/// A decoder with the columns that it fills, where those are not all.
struct Side {
    decoder: Box<dyn Decoder>,
    empty: Empty,
    places: Vec<usize>,
    aside: Aside,
}

/// Where one record is decoded before its columns are moved to their places.
struct Aside {
    builder: BatchBuilder,
    nothing: BuilderMark,
}

impl Aside {
    fn new(schema: Arc<Schema>) -> Self {
        let builder = BatchBuilder::new(schema);
        Self { nothing: builder.mark(), builder }
    }
    /// Copies the one record's values into `to`.
    fn move_to(&mut self, places: &[usize], to: &mut StreamRecord) {
        if let Some(from) = self.builder.records().last() {
            for (place, value) in places.iter().zip(from.values()) {
                if let Some(slot) = to.values_mut().get_mut(*place) {
                    slot.assign(value);
                }
            }
        }
        self.builder.roll_back(self.nothing);
    }
}

/// Decodes the messages of one reader.
pub(super) struct MessageDecoder {
    value: Box<dyn Decoder>,
    empty: Empty,
    places: Vec<usize>,
    /// Where the value goes first if the key has columns too.
    aside: Option<Aside>,
    key: Option<Side>,
    tombstones: Tombstones,
    /// A value column that must not be NULL.
    not_null: Option<CompactString>,
    system: SystemColumns,
}

impl MessageDecoder {
    /// Adds one record or one reject, or nothing for a tombstone that is left out. `origin` names the partition.
    pub(super) fn decode(
        &mut self,
        message: &Message<'_>,
        origin: &Arc<str>,
        topic: &Arc<str>,
        out: &mut BatchBuilder,
    ) {
        let offset = Origin { offset: message.offset.max(0) as u64, line: 1 };
        let mut taken = match (message.value, &mut self.aside) {
            (None, _) => match self.tombstone(out) {
                Ok(true) => Ok(()),
                Ok(false) => return,
                Err(e) => Err(e),
            },
            (Some(value), None) => one(self.value.as_mut(), self.empty, value, offset, out),
            (Some(value), Some(aside)) => {
                let taken = one(self.value.as_mut(), self.empty, value, offset, &mut aside.builder);
                taken.map(|()| {
                    aside.move_to(&self.places, out.record());
                    out.add_bytes(value.len() + 1);
                })
            }
        };
        if let (Ok(()), Some(side)) = (&taken, &mut self.key) {
            taken = match out.last_mut() {
                Some(record) => side.read(message.key, offset, record),
                None => Ok(()),
            };
            if taken.is_err() {
                out.undo();
            }
        }
        match taken {
            Ok(()) => self.stamp(message, topic, out),
            Err(error) => reject(message, origin, error, out),
        }
    }

    /// Reports a message whose headers can't be read.
    pub(super) fn refuse(
        &self,
        message: &Message<'_>,
        origin: &Arc<str>,
        why: String,
        out: &mut BatchBuilder,
    ) {
        reject(message, origin, RecordError::new(ErrorCode::Encoding, format!("headers: {why}")), out);
    }

    /// A message without value. `false`: it is left out.
    fn tombstone(&self, out: &mut BatchBuilder) -> Result<bool, RecordError> {
        match (self.tombstones, &self.not_null) {
            (Tombstones::Skip, _) => Ok(false),
            (Tombstones::Error, _) => {
                Err(RecordError::new(ErrorCode::Malformed, "a tombstone: the message has no value"))
            }
            (Tombstones::Null, Some(column)) => {
                let message = "a tombstone: the message has no value, and the column is NOT NULL";
                Err(RecordError::new(ErrorCode::NotNull, message).in_column(column))
            }
            (Tombstones::Null, None) => {
                out.record();
                out.add_bytes(1);
                Ok(true)
            }
        }
    }

    fn stamp(&self, message: &Message<'_>, topic: &Arc<str>, out: &mut BatchBuilder) {
        let Some(record) = out.last_mut() else { return };
        record.set_offset(Some(message.offset));
        record.set_timestamp(message.timestamp.map(|ms| ms.saturating_mul(1000)));
        if self.system.topic {
            record.set_topic(Some(topic.clone()));
        }
        if self.system.key {
            record.set_key(match message.key {
                None => FieldValue::Null,
                Some(key) => match std::str::from_utf8(key) {
                    Ok(text) => FieldValue::String(CompactString::new(text)),
                    Err(_) => FieldValue::Bytes(key.into()),
                },
            });
        }
    }

    /// Copies the headers into the record that was added last.
    pub(super) fn headers(&self, message: &Message<'_>, out: &mut BatchBuilder) -> Result<(), String> {
        let (Some(headers), Some(record)) = (message.headers, out.last_mut()) else { return Ok(()) };
        let into = record.headers_mut();
        headers.each(&mut |name, value| into.push(name, value.unwrap_or_default()))
    }

    /// Whether [`headers`](Self::headers) has anything to do.
    pub(super) fn wants_headers(&self) -> bool {
        self.system.headers
    }
    /// Every record names its topic.
    pub(super) fn name_topics(&mut self) {
        self.system.topic = true;
    }
    pub(super) fn names_topics(&self) -> bool {
        self.system.topic
    }
}

fn reject(message: &Message<'_>, origin: &Arc<str>, error: RecordError, out: &mut BatchBuilder) {
    let raw = message.value.or(message.key).unwrap_or(&[]);
    let raw_len = raw.len() as u64;
    out.set_origin(Some(origin.clone()));
    out.add_bytes(raw.len());
    out.reject(Reject { at: 0, offset: message.offset, line: None, raw: raw.to_vec(), raw_len, error });
    // Records stand in partitions, not at bytes of a file.
    out.set_origin(None);
}

/// The id of a schema in front of a message, as Confluent's serializers put it there. No text begins with a byte 0.
fn schema_id(bytes: &[u8]) -> Option<u32> {
    let (id, _) = bytes.strip_prefix(&[0])?.split_first_chunk::<4>()?;
    Some(u32::from_be_bytes(*id))
}

/// Decodes one message into one record.
fn one(
    decoder: &mut dyn Decoder,
    empty: Empty,
    bytes: &[u8],
    origin: Origin,
    out: &mut BatchBuilder,
) -> Result<(), RecordError> {
    if bytes.is_empty() && empty == Empty::Text {
        out.record().values_mut().iter_mut().for_each(|slot| *slot = FieldValue::String("".into()));
        out.add_bytes(1);
        return Ok(());
    }
    if let Some(id) = schema_id(bytes).filter(|_| empty == Empty::Nothing) {
        let message = format!(
            "the Confluent wire format: byte 0, then the id {id} of a schema in a registry, which is not supported yet; have it \
             written as plain JSON (JsonConverter, schemas.enable = false), or read the bytes with format = 'raw'"
        );
        return Err(RecordError::new(ErrorCode::Malformed, message));
    }
    let mark = out.mark();
    let (records, rejects) = (out.len(), out.rejects().len());
    decoder.reset(true);
    let done = decoder.decode(bytes, Input::Complete, origin, out);
    let added = out.len() - records;
    if let Some(reject) = out.rejects().get(rejects) {
        let error = reject.error.clone();
        out.roll_back(mark);
        return Err(error);
    }
    let left = bytes.get(done.consumed..).is_some_and(|rest| !rest.iter().all(u8::is_ascii_whitespace));
    match (added, left) {
        (1, false) => Ok(()),
        (0, false) => Err(RecordError::new(ErrorCode::Malformed, "an empty message")),
        _ => {
            out.roll_back(mark);
            Err(RecordError::new(ErrorCode::Malformed, "a message that holds more than one record"))
        }
    }
}

impl Side {
    /// Fills the key's columns of `record`, which are NULL.
    fn read(
        &mut self,
        key: Option<&[u8]>,
        origin: Origin,
        record: &mut StreamRecord,
    ) -> Result<(), RecordError> {
        let Some(key) = key else {
            let not_null = |f: &&crate::record::Field| !f.nullable;
            return match self.aside.builder.schema().fields().iter().find(not_null) {
                Some(field) => {
                    let error = RecordError::new(ErrorCode::NotNull, "the message has no key");
                    Err(error.in_column(&field.name))
                }
                // The columns of a fresh record are NULL.
                None => Ok(()),
            };
        };
        one(self.decoder.as_mut(), self.empty, key, origin, &mut self.aside.builder).map_err(|mut e| {
            e.message.insert_str(0, "key: ");
            e
        })?;
        self.aside.move_to(&self.places, record);
        Ok(())
    }
}

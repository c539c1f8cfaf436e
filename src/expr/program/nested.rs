//! ARRAY, MAP, STRUCT and JSON: building and looking into them.

use std::cmp::Ordering;
use std::sync::Arc;

use super::int::IntNode;
use super::node::{Node, mismatch};
use crate::expr::value::{failed, json};
use crate::expr::{Datum, EvalContext, EvalResult, compare, to_text};
use crate::record::{CompactString, ErrorCode, FieldValue, StructValue};

#[derive(Clone, Debug)]
pub(super) enum NestedNode {
    /// A field of a STRUCT.
    Field(Node, usize),
    /// An element of an ARRAY, from 1; from no end.
    Element(Node, IntNode),
    /// The value of a key in a MAP.
    Lookup(Node, Node),
    /// Steps into JSON.
    Json(Node, Box<[JsonStep]>),
    Array(Box<[Node]>),
    Map(Box<[(Node, Node)]>),
    Struct(Arc<[CompactString]>, Box<[Node]>),
}

#[derive(Clone, Debug)]
pub(super) enum JsonStep {
    Member(CompactString),
    /// Member or element, by the type of the value.
    Computed(Node),
}

impl NestedNode {
    pub(super) fn eval<'a>(&'a self, ctx: &EvalContext<'a>) -> EvalResult<Datum<'a>> {
        Ok(Datum::Own(match self {
            NestedNode::Field(base, index) => {
                return Ok(inside(base.eval(ctx)?, |v| match v {
                    FieldValue::Struct(s) => s.values.get(*index),
                    _ => None,
                }));
            }
            NestedNode::Element(base, index) => {
                let base = base.eval(ctx)?;
                let index = index.eval(ctx)?.and_then(|i| usize::try_from(i.checked_sub(1)?).ok());
                return Ok(inside(base, |v| match v {
                    FieldValue::Array(items) => items.get(index?),
                    _ => None,
                }));
            }
            NestedNode::Lookup(base, key) => {
                let (base, key) = (base.eval(ctx)?, key.eval(ctx)?);
                return Ok(inside(base, |v| match v {
                    FieldValue::Map(entries) => entries
                        .iter()
                        .find(|(k, _)| compare(k, &key) == Some(Ordering::Equal))
                        .map(|(_, value)| value),
                    _ => None,
                }));
            }
            NestedNode::Json(base, steps) => json_path(&*base.eval(ctx)?, steps, ctx)?,
            NestedNode::Array(items) => FieldValue::Array(Arc::new(values(items, ctx)?)),
            NestedNode::Map(entries) => build_map(entries, ctx)?,
            NestedNode::Struct(names, items) => FieldValue::Struct(Arc::new(StructValue {
                names: names.clone(),
                values: values(items, ctx)?,
            })),
        }))
    }
}

/// A part of a value: borrowed if the whole is.
fn inside<'a>(whole: Datum<'a>, part: impl Fn(&FieldValue) -> Option<&FieldValue>) -> Datum<'a> {
    match whole {
        Datum::Ref(v) => part(v).map_or(Datum::Own(FieldValue::Null), Datum::Ref),
        Datum::Own(v) => Datum::Own(part(&v).cloned().unwrap_or_default()),
    }
}

fn values<'a>(items: &'a [Node], ctx: &EvalContext<'a>) -> EvalResult<Vec<FieldValue>> {
    items.iter().map(|n| n.eval(ctx).map(Datum::into_owned)).collect()
}

fn build_map<'a>(entries: &'a [(Node, Node)], ctx: &EvalContext<'a>) -> EvalResult<FieldValue> {
    let mut map: Vec<(FieldValue, FieldValue)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let key = key.eval(ctx)?.into_owned();
        if key.is_null() {
            return Err(failed(ErrorCode::InvalidArgument, "a key of a MAP is NULL"));
        }
        if map.iter().any(|(k, _)| compare(k, &key) == Some(Ordering::Equal)) {
            return Err(failed(
                ErrorCode::DuplicateKey,
                format!("key {} occurs twice in a MAP", to_text(&key)),
            ));
        }
        map.push((key, value.eval(ctx)?.into_owned()));
    }
    Ok(FieldValue::Map(Arc::new(map)))
}

fn json_path<'a>(base: &FieldValue, steps: &'a [JsonStep], ctx: &EvalContext<'a>) -> EvalResult<FieldValue> {
    let mut here: &str = match base {
        FieldValue::Json(j) => j.trim_ascii(),
        FieldValue::Null => return Ok(FieldValue::Null),
        other => return Err(mismatch(ctx, None, other, "JSON")),
    };
    for step in steps {
        let next = match step {
            JsonStep::Member(name) => json::member(here, name),
            JsonStep::Computed(node) => match &*node.eval(ctx)? {
                FieldValue::String(name) => json::member(here, name),
                FieldValue::Integer(index) => json::element(here, *index),
                FieldValue::Null => None,
                other => return Err(mismatch(ctx, None, other, "a JSON subscript")),
            },
        };
        match next {
            Some(found) => here = found,
            None => return Ok(FieldValue::Null),
        }
    }
    Ok(FieldValue::Json(here.into()))
}

/// `||` of arrays or bytes. As in PostgreSQL, a NULL array is left out, NULL bytes make the result NULL.
pub(super) fn append(a: &FieldValue, b: &FieldValue, ctx: &EvalContext<'_>) -> EvalResult<FieldValue> {
    use FieldValue as V;
    Ok(match (a, b) {
        (V::Array(_), V::Null) => a.clone(),
        (V::Null, V::Array(_)) => b.clone(),
        (V::Null, _) | (_, V::Null) => V::Null,
        (V::Array(x), V::Array(y)) => V::Array(Arc::new(x.iter().chain(y.iter()).cloned().collect())),
        (V::Bytes(x), V::Bytes(y)) => V::Bytes([&**x, &**y].concat().into()),
        _ => return Err(mismatch(ctx, None, a, "an operand of ||")),
    })
}

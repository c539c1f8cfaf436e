//! Paths into JSON, followed over its text without building a tree.

use super::args::invalid;
use crate::expr::EvalResult;
use crate::expr::value::json::{Elements, Members, element, member, string};
use crate::record::FieldValue;

/// Steps that a path may have: it bounds the recursion of wildcards.
const MAX_STEPS: usize = 256;

/// What `->>` gives: the text of a string, NULL for null, else the JSON.
pub(super) fn as_text(json: &str) -> EvalResult<FieldValue> {
    match json {
        "null" => Ok(FieldValue::Null),
        s if s.starts_with('"') => {
            Ok(FieldValue::from(&*string(s).ok_or_else(|| invalid("the JSON string is not valid Unicode"))?))
        }
        s => Ok(s.into()),
    }
}

/// One step of a path.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Step<'p> {
    Member(&'p str),
    Item(i64),
    AllMembers,
    AllItems,
}
/// The steps of `$.name."name"['name'][0][*].*`.
#[derive(Clone)]
pub(super) struct Steps<'p>(&'p str);

impl<'p> Steps<'p> {
    /// Checks a path; without `$` it is the name of one member.
    pub(super) fn parse(path: &'p str) -> EvalResult<(Self, bool)> {
        let body = path.trim();
        let body =
            body.strip_prefix("lax ").or_else(|| body.strip_prefix("strict ")).unwrap_or(body).trim_start();
        let Some(body) = body.strip_prefix('$') else {
            return Err(invalid(format!("the path '{path}' does not start with $")));
        };
        let mut steps = Steps(body);
        let (mut count, mut several) = (0, false);
        while let Some(step) = steps.step() {
            let step = step.ok_or_else(|| {
                invalid(format!("the path '{path}' is not understood: $.name, [index], [*]"))
            })?;
            several |= matches!(step, Step::AllItems | Step::AllMembers);
            count += 1;
        }
        if count > MAX_STEPS {
            return Err(invalid(format!("the path has more than {MAX_STEPS} steps")));
        }
        Ok((Steps(body), several))
    }
    /// The next step; `Some(None)` if it is malformed.
    fn step(&mut self) -> Option<Option<Step<'p>>> {
        if self.0.is_empty() {
            return None;
        }
        Some(self.take())
    }
    fn take(&mut self) -> Option<Step<'p>> {
        if let Some(rest) = self.0.strip_prefix('[') {
            let (step, rest) = match rest.chars().next()? {
                quote @ ('\'' | '"') => {
                    let (name, rest) = rest.get(1..)?.split_once(quote)?;
                    (Step::Member(name), rest.strip_prefix(']')?)
                }
                _ => {
                    let (inside, rest) = rest.split_once(']')?;
                    match inside.trim() {
                        "*" => (Step::AllItems, rest),
                        "last" => (Step::Item(-1), rest),
                        index => (Step::Item(index.parse().ok()?), rest),
                    }
                }
            };
            self.0 = rest;
            return Some(step);
        }
        let rest = self.0.strip_prefix('.')?;
        if let Some(rest) = rest.strip_prefix('*') {
            self.0 = rest;
            return Some(Step::AllMembers);
        }
        let (name, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                rest.split_at_checked(end).filter(|(name, _)| !name.is_empty())?
            }
        };
        self.0 = rest;
        Some(Step::Member(name))
    }
    /// Calls `found` for everything that the path leads to, in order.
    pub(super) fn visit<'j>(mut self, mut json: &'j str, found: &mut dyn FnMut(&'j str)) {
        while let Some(Some(step)) = self.step() {
            let next = match step {
                Step::Member(name) => member(json, name),
                Step::Item(index) => element(json, index),
                Step::AllItems => {
                    Elements::of(json)
                        .into_iter()
                        .flatten()
                        .for_each(|value| self.clone().visit(value, found));
                    return;
                }
                Step::AllMembers => {
                    Members::of(json)
                        .into_iter()
                        .flatten()
                        .for_each(|(_, value)| self.clone().visit(value, found));
                    return;
                }
            };
            match next {
                Some(value) => json = value,
                None => return,
            }
        }
        found(json);
    }
    /// The first value that the path leads to.
    pub(super) fn first(self, json: &str) -> Option<&str> {
        let mut first = None;
        self.visit(json, &mut |value| {
            first.get_or_insert(value);
        });
        first
    }
}

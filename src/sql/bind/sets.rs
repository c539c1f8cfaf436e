//! GROUPING SETS, ROLLUP, CUBE, GROUPING(…); GROUP BY ALL.

use std::collections::BTreeSet;

use sqlparser::ast::{self, Expr as Ast, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::calls::StandIn;
use super::group::{Key, uses_calls};
use super::scope::{AliasUse, Names};
use super::select::Item;
use super::{Bind, Reported, Session, all};
use crate::expr::{BinaryOp, Expr, typing};
use crate::plan::OutputTarget;
use crate::record::{DataType, FieldValue};
use crate::sql::Span;

/// PostgreSQL's limit too.
const MOST_SETS: usize = 4096;

/// Sets of grouping expressions; each item of GROUP BY gives some, and each of one is combined with each of the others.
type Sets = Vec<Vec<Key>>;

/// For each argument of GROUPING the key that tells whether it counts; `None` = it always does.
type Markers = Vec<Option<usize>>;

impl Session<'_, '_> {
    /// The grouping expressions of several items, and which of them each set has; no sets where all have all.
    pub(super) fn grouping(
        &mut self,
        list: &[Ast],
        modifiers: &[ast::GroupByWithModifier],
        names: Names<'_>,
        items: Option<&[Item]>,
    ) -> Bind<(Vec<Key>, Vec<Vec<Expr>>)> {
        let span = self.here;
        let bound: Vec<_> = list
            .iter()
            .map(|ast| {
                let at = self.place(ast);
                self.within(at, |s| s.grouping_item(ast, names, items))
            })
            .collect();
        let mut parts: Vec<(Sets, bool)> = all(bound)?;
        for modifier in modifiers {
            let at = self.keyword_in(span, "WITH");
            let elements = || parts.iter().filter_map(|(sets, _)| sets.first().cloned()).collect::<Vec<_>>();
            if parts.iter().any(|(_, several)| *several) {
                return self.unsupported(&format!("GROUPING SETS beside {modifier}"), at);
            }
            let sets = match modifier {
                ast::GroupByWithModifier::Rollup => rollup(&elements()),
                ast::GroupByWithModifier::Cube => self.cube(&elements(), at)?,
                ast::GroupByWithModifier::Totals | ast::GroupByWithModifier::GroupingSets(_) => {
                    return self.unsupported(&format!("GROUP BY … {modifier}"), at);
                }
            };
            parts = vec![(sets, true)];
        }
        let several = parts.iter().any(|(_, several)| *several);
        let mut sets: Sets = vec![Vec::new()];
        for (part, _) in parts {
            if sets.len().saturating_mul(part.len()) > MOST_SETS {
                return self.fail(format!("GROUP BY makes more than {MOST_SETS} grouping sets"), span);
            }
            sets =
                sets.iter().flat_map(|a| part.iter().map(|b| a.iter().chain(b).cloned().collect())).collect();
        }
        let mut keys: Vec<Key> = Vec::new();
        for key in sets.iter().flatten() {
            if several && keys.iter().any(|k| k.expr == key.expr) {
                continue;
            }
            keys.push(key.clone());
        }
        let sets = sets.into_iter().map(|set| set.into_iter().map(|k| k.expr).collect());
        Ok((keys, if several { sets.collect() } else { Vec::new() }))
    }

    /// The sets of one item; whether it is more than an expression.
    fn grouping_item(&mut self, ast: &Ast, names: Names<'_>, items: Option<&[Item]>) -> Bind<(Sets, bool)> {
        match ast {
            Ast::Rollup(elements) => {
                let elements = self.elements(elements, names, items)?;
                Ok((rollup(&elements), true))
            }
            Ast::Cube(elements) => {
                let elements = self.elements(elements, names, items)?;
                Ok((self.cube(&elements, self.here)?, true))
            }
            Ast::GroupingSets(sets) => {
                let bound: Vec<_> = sets
                    .iter()
                    .map(|set| match set.as_slice() {
                        [nested @ (Ast::Rollup(_) | Ast::Cube(_) | Ast::GroupingSets(_))] => {
                            Ok(self.grouping_item(nested, names, items)?.0)
                        }
                        set => Ok(vec![self.element(set, names, items)?]),
                    })
                    .collect();
                Ok((all(bound)?.into_iter().flatten().collect(), true))
            }
            // `()`, the set of nothing.
            Ast::Tuple(list) if list.is_empty() => Ok((vec![Vec::new()], true)),
            _ => Ok((vec![vec![self.group_key(ast, names, items)?]], false)),
        }
    }

    fn elements(&mut self, list: &[Vec<Ast>], names: Names<'_>, items: Option<&[Item]>) -> Bind<Sets> {
        let bound: Vec<_> = list.iter().map(|element| self.element(element, names, items)).collect();
        all(bound)
    }

    fn element(&mut self, list: &[Ast], names: Names<'_>, items: Option<&[Item]>) -> Bind<Vec<Key>> {
        let keys: Vec<_> = list
            .iter()
            .map(|ast| {
                let at = self.place(ast);
                self.within(at, |s| s.group_key(ast, names, items))
            })
            .collect();
        all(keys)
    }

    fn cube(&mut self, elements: &[Vec<Key>], at: Span) -> Bind<Sets> {
        let n = elements.len();
        if n >= usize::BITS as usize || 1usize << n > MOST_SETS {
            return self.fail(format!("CUBE makes more than {MOST_SETS} grouping sets"), at);
        }
        let set = |mask: usize| {
            let chosen = elements.iter().enumerate().filter(|(i, _)| mask >> (n - 1 - i) & 1 == 1);
            chosen.flat_map(|(_, keys)| keys.iter().cloned()).collect()
        };
        Ok((0..1usize << n).rev().map(set).collect())
    }

    /// GROUP BY ALL: by each item that aggregates nothing.
    pub(super) fn group_by_all(&mut self, names: Names<'_>, items: Option<&[Item]>) -> Bind<Vec<Key>> {
        let items = items.ok_or(Reported)?;
        let mut found: Vec<Key> = Vec::new();
        for item in items {
            let expr = self.expanded(item, names)?;
            let OutputTarget::Column(name) = &item.target else { continue };
            if !uses_calls(&expr) && !found.iter().any(|k| k.expr == expr) {
                found.push(Key { expr, name: name.clone() });
            }
        }
        Ok(found)
    }

    /// `GROUPING(a, b)`: a bit for each argument, set in rows of sets without it.
    pub(super) fn grouping_call(&mut self, function: &ast::Function, names: Names<'_>) -> Bind<Expr> {
        let collected = match names.place.collected {
            Some(collected) if names.place.aggregates => collected,
            _ => return self.misplaced("grouping", names.place),
        };
        let args = match &function.args {
            FunctionArguments::List(list) => list.args.as_slice(),
            FunctionArguments::None | FunctionArguments::Subquery(_) => &[],
        };
        if args.is_empty() || args.len() > 31 {
            return self.fail("GROUPING takes 1 to 31 grouping expressions", self.here);
        }
        let inner =
            Names { place: super::calls::Place::row("GROUPING"), alias_use: AliasUse::Inline, ..names };
        let bits: Vec<_> = args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(ast)) => {
                    let expr = self.expr(ast, inner)?;
                    let at = self.place(ast);
                    let mut noted = collected.grouping.borrow_mut();
                    let n = noted.iter().position(|(e, _)| *e == expr).unwrap_or(noted.len());
                    if n == noted.len() {
                        noted.push((expr, at));
                    }
                    Ok(StandIn::Grouping(n).expr("grouping", DataType::Integer))
                }
                _ => self.fail("GROUPING takes grouping expressions", self.here),
            })
            .collect();
        let mut bits = all(bits)?.into_iter();
        let mut value = bits.next().ok_or(Reported)?;
        for bit in bits {
            let two = typing::literal(FieldValue::Integer(2));
            let doubled = typing::binary(BinaryOp::Multiply, value, two);
            let sum = doubled.and_then(|d| typing::binary(BinaryOp::Add, d, bit));
            value = self.typed(sum, self.here)?;
        }
        Ok(value)
    }

    /// A window is in every set: of what GROUP BY names, all but the window is among the keys.
    pub(super) fn check_window_sets(&mut self, sets: &[Vec<Expr>], keys: &[Key]) -> Bind<()> {
        let named = |set: &[Expr]| set.iter().filter(|e| !keys.iter().any(|k| k.expr == **e)).count();
        let most = sets.iter().map(|set| named(set)).max().unwrap_or(0);
        if sets.iter().any(|set| named(set) < most) {
            return self.unsupported("a grouping set without the window", self.here);
        }
        Ok(())
    }

    /// Sets as positions of keys, with a constant key for each argument of GROUPING: it is there where the argument counts.
    pub(super) fn grouping_sets(
        &mut self,
        sets: &[Vec<Expr>],
        keys: &mut Vec<Key>,
        grouping: &[(Expr, Span)],
    ) -> Bind<(Vec<Vec<usize>>, Markers)> {
        let all_keys: BTreeSet<usize> = (0..keys.len()).collect();
        let position = |keys: &[Key], expr: &Expr| keys.iter().position(|k| k.expr == *expr);
        let mut positions: Vec<Vec<usize>> =
            sets.iter().map(|set| set.iter().filter_map(|e| position(keys, e)).collect()).collect();
        let mut markers = Vec::new();
        for (expr, at) in grouping {
            let Some(argument) = position(keys, expr).filter(|p| all_keys.contains(p)) else {
                return self.fail("the arguments of GROUPING are grouping expressions", *at);
            };
            if positions.is_empty() {
                markers.push(None);
                continue;
            }
            let marker = keys.len();
            let number = i64::try_from(marker).unwrap_or(i64::MAX);
            keys.push(Key { expr: typing::literal(FieldValue::Integer(number)), name: "grouping".into() });
            positions.iter_mut().filter(|set| set.contains(&argument)).for_each(|set| set.push(marker));
            markers.push(Some(marker));
        }
        Ok((positions, markers))
    }
}

/// All, then all but the last, … then none.
fn rollup(elements: &[Vec<Key>]) -> Sets {
    (0..=elements.len()).rev().map(|n| elements.iter().take(n).flatten().cloned().collect()).collect()
}

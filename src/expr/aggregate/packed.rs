//! States as words: what most calls keep are counts, sums and extremes of a few columns. Calls of one argument share them – COUNT, SUM, AVG,
//! MIN and MAX of a column are one count, one sum and two extremes – and a row's value is looked at once for all.
//!
//! Words are no other semantics: [`Packing::state`] gives the [`Accumulator`] that the call would have, and it has the result.

use std::cmp::Ordering;

use super::accumulator::{Inner, beats, order_of_floats};
use super::moments::Moments;
use super::program::{AggregateInput, AggregateProgram, column};
use super::wide::{Wide, mantissa_at};
use super::{Accumulator, AggregateCall};
use crate::expr::{Expr, Volatility};
use crate::record::{DataType, Decimal, FieldValue, StreamRecord};

/// Set in a count of doubles: there was an infinity or NaN.
const SPECIAL: u64 = 1 << 63;

/// Where the state of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The rows of the group.
    Rows,
    /// The words of that argument.
    Argument(usize),
    /// An accumulator, number so many of those that a group has.
    Cell(usize),
}

/// What the words of an argument are, the count of its values first. 128 bits are two words, the lower first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A count.
    Values,
    /// A count of what is true.
    Trues,
    /// Sum: 128 bits. Extremes: 64 each, of dates and times too.
    Integer,
    /// Sum: 128 bits at that scale. Extremes: 128 bits each, as they came.
    Decimal(u8),
    /// Sum and extremes: bits of a double.
    Float,
    /// Three doubles, the first of which is the count.
    Moments,
}

/// One argument of one or more calls.
#[derive(Debug)]
struct Argument {
    source: Source,
    expr: Expr,
    kind: Kind,
    /// Whether they lie in the second of the two places for words, and from where.
    further: bool,
    from: usize,
    /// Where in them sum, least and greatest value are; 0 is the count, and says that they are not kept.
    sum: usize,
    least: usize,
    greatest: usize,
    len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Column(usize),
    /// The first argument of that call, evaluated.
    Computed(usize),
}

/// What of a call can be words.
struct Part {
    kind: Kind,
    sum: bool,
    least: bool,
    greatest: bool,
}

/// Where the states of calls are: in words, or in cells.
#[derive(Debug, Default)]
pub struct Packing {
    places: Vec<Place>,
    arguments: Vec<Argument>,
    /// Calls whose states are cells.
    cells: Vec<usize>,
    /// Calls to be evaluated for each row: the others have the argument of one of these, or none.
    evaluated: Vec<usize>,
    words: usize,
    further: usize,
}

impl Packing {
    /// All states are cells.
    pub fn none(programs: &[AggregateProgram]) -> Self {
        let all: Vec<usize> = (0..programs.len()).collect();
        let places = all.iter().map(|at| Place::Cell(*at)).collect();
        Self { places, cells: all.clone(), evaluated: all, ..Self::default() }
    }

    /// What can be is words. `room`: so many words have the first place, the others go to the second.
    pub fn new(calls: &[AggregateCall], programs: &[AggregateProgram], room: usize) -> Self {
        let mut packing = Self::default();
        for (at, (call, program)) in calls.iter().zip(programs).enumerate() {
            let place = packing.place(at, call, program);
            packing.places.push(place);
            if let Place::Cell(_) = place {
                packing.cells.push(at);
            }
        }
        for argument in &mut packing.arguments {
            argument.allot(room, &mut packing.words, &mut packing.further);
        }
        packing
    }

    fn place(&mut self, at: usize, call: &AggregateCall, program: &AggregateProgram) -> Place {
        let place = self.place_in_words(at, call, program);
        // Whichever call came first evaluates the argument.
        if place.is_none_or(|p| p != Place::Rows && !self.places.contains(&p)) {
            self.evaluated.push(at);
        }
        place.unwrap_or(Place::Cell(self.cells.len()))
    }

    fn place_in_words(
        &mut self,
        at: usize,
        call: &AggregateCall,
        program: &AggregateProgram,
    ) -> Option<Place> {
        if program.has_filter() {
            return None;
        }
        let part = match (&program.empty().0, &*call.args) {
            (Inner::Rows(_), []) => return Some(Place::Rows),
            // COUNT(1).
            (Inner::Values(_), [_]) if program.constant().is_some_and(|v| !v.is_null()) => {
                return Some(Place::Rows);
            }
            (state, [arg]) if program.constant().is_none() => Part::of(state, &arg.data_type())?,
            _ => return None,
        };
        let expr = call.args.first()?;
        let source = program.column().map_or(Source::Computed(at), Source::Column);
        let found = self.arguments.iter().position(|a| {
            let same = match (a.source, source) {
                (Source::Column(a), Source::Column(b)) => a == b,
                _ => a.expr == *expr && expr.volatility() != Volatility::Volatile,
            };
            same && a.serves(part.kind)
        });
        let place = found.unwrap_or(self.arguments.len());
        if found.is_none() {
            let expr = expr.clone();
            let kind = part.kind;
            let (further, from, sum, least, greatest, len) = (false, 0, 0, 0, 0, 0);
            self.arguments.push(Argument { source, expr, kind, further, from, sum, least, greatest, len });
        }
        let argument = self.arguments.get_mut(place)?;
        if argument.kind == Kind::Values {
            argument.kind = part.kind;
        }
        // Places are numbered when all are known.
        argument.sum |= usize::from(part.sum);
        argument.least |= usize::from(part.least);
        argument.greatest |= usize::from(part.greatest);
        Some(Place::Argument(place))
    }

    /// Words of a group in the first place and in the second, and cells.
    pub fn widths(&self) -> (usize, usize, usize) {
        (self.words, self.further, self.cells.len())
    }
    /// The calls whose states are cells, in the order of those.
    pub fn cells(&self) -> &[usize] {
        &self.cells
    }
    /// The calls that are to be evaluated for each row.
    pub fn evaluated(&self) -> &[usize] {
        &self.evaluated
    }
    /// The number of the cell that a call has.
    #[inline]
    pub fn cell_of(&self, call: usize) -> Option<usize> {
        match self.places.get(call) {
            Some(Place::Cell(cell)) => Some(*cell),
            _ => None,
        }
    }

    /// Adds a row, or takes it back. Its rows are for the owner to count.
    #[inline]
    pub fn feed(
        &self,
        words: &mut [u64],
        further: &mut [u64],
        record: &StreamRecord,
        inputs: &[AggregateInput],
        adds: bool,
    ) {
        for argument in &self.arguments {
            let value = match argument.source {
                Source::Column(index) => column(record, index),
                Source::Computed(call) => inputs.get(call).map_or(&FieldValue::Null, AggregateInput::first),
            };
            let place = if argument.further { &mut *further } else { &mut *words };
            if let Some(words) = place.get_mut(argument.from..argument.from + argument.len) {
                match adds {
                    true => argument.add(words, value),
                    false => argument.subtract(words, value),
                }
            }
        }
    }

    /// The state of a call that is no cell, as `program` would have it.
    pub fn state(
        &self,
        call: usize,
        program: &AggregateProgram,
        rows: i64,
        (words, further): (&[u64], &[u64]),
    ) -> Accumulator {
        let mut state = program.new_state();
        match self.places.get(call) {
            Some(Place::Argument(at)) => {
                if let Some(argument) = self.arguments.get(*at) {
                    let place = if argument.further { further } else { words };
                    argument.fill(&mut state.0, place.get(argument.from..).unwrap_or_default());
                }
            }
            _ => {
                if let Inner::Rows(n) | Inner::Values(n) = &mut state.0 {
                    *n = rows;
                }
            }
        }
        state
    }
}

impl Part {
    /// What the state of a call needs; `None`: it can't be words.
    fn of(state: &Inner, argument: &DataType) -> Option<Self> {
        let part = |kind| Self { kind, sum: false, least: false, greatest: false };
        Some(match state {
            Inner::Values(_) => part(Kind::Values),
            Inner::Trues(_) => part(Kind::Trues),
            Inner::Sum { .. } => Self { sum: true, ..part(Kind::Integer) },
            Inner::DecimalSum { scale, .. } => Self { sum: true, ..part(Kind::Decimal(*scale)) },
            Inner::FloatSum { .. } => Self { sum: true, ..part(Kind::Float) },
            Inner::IntExtreme { max, .. } => Self { least: !max, greatest: *max, ..part(Kind::Integer) },
            Inner::FloatExtreme { max, .. } => Self { least: !max, greatest: *max, ..part(Kind::Float) },
            Inner::Extreme { max, .. } => match argument {
                DataType::Decimal { scale, .. } => {
                    Self { least: !max, greatest: *max, ..part(Kind::Decimal(*scale)) }
                }
                _ => return None,
            },
            Inner::Moments { .. } => part(Kind::Moments),
            _ => return None,
        })
    }
}

impl Argument {
    /// Whether its words can be those of a call of that kind, too.
    fn serves(&self, kind: Kind) -> bool {
        let counts = |k| !matches!(k, Kind::Trues | Kind::Moments);
        self.kind == kind
            || ((self.kind == Kind::Values || kind == Kind::Values) && counts(kind) && counts(self.kind))
    }

    /// Finds room for its words: in the first place while they fit.
    fn allot(&mut self, room: usize, words: &mut usize, further: &mut usize) {
        let mut len = if self.kind == Kind::Moments { 3 } else { 1 };
        let wide = matches!(self.kind, Kind::Integer | Kind::Decimal(_));
        let each = if let Kind::Decimal(_) = self.kind { 2 } else { 1 };
        let sum = if wide { 2 } else { 1 };
        for (at, size) in [(&mut self.sum, sum), (&mut self.least, each), (&mut self.greatest, each)] {
            if *at > 0 {
                *at = len;
                len += size;
            }
        }
        self.len = len;
        self.further = *words + len > room;
        let taken = if self.further { further } else { words };
        self.from = *taken;
        *taken += len;
    }

    #[inline]
    fn add(&self, words: &mut [u64], value: &FieldValue) {
        use FieldValue as V;
        match (self.kind, value) {
            (Kind::Float, V::Float(x)) => self.add_float(words, *x),
            (Kind::Integer, V::Integer(x) | V::Timestamp(x) | V::Time(x)) => self.add_integer(words, *x),
            (Kind::Integer, V::Date(x)) => self.add_integer(words, i64::from(*x)),
            (Kind::Decimal(scale), V::Decimal(x)) => self.add_decimal(words, x, scale),
            _ => self.add_rare(words, value),
        }
    }

    #[inline]
    fn add_float(&self, words: &mut [u64], x: f64) {
        let Some(n) = words.first_mut() else { return };
        let first = *n & !SPECIAL == 0;
        *n = (*n + 1) | (u64::from(!x.is_finite()) << 63);
        if self.sum > 0
            && let Some(sum) = words.get_mut(self.sum)
        {
            *sum = (f64::from_bits(*sum) + x).to_bits();
        }
        for (at, max) in [(self.least, false), (self.greatest, true)] {
            if at > 0
                && let Some(best) = words.get_mut(at)
                && (first || float_beats(x, f64::from_bits(*best), max))
            {
                *best = x.to_bits();
            }
        }
    }

    #[inline]
    fn add_integer(&self, words: &mut [u64], x: i64) {
        let Some(n) = words.first_mut() else { return };
        let first = *n == 0;
        *n += 1;
        if self.sum > 0 {
            add_wide(words, self.sum, i128::from(x));
        }
        if self.least > 0
            && let Some(best) = words.get_mut(self.least)
            && (first || x < *best as i64)
        {
            *best = x as u64;
        }
        if self.greatest > 0
            && let Some(best) = words.get_mut(self.greatest)
            && (first || x > *best as i64)
        {
            *best = x as u64;
        }
    }

    #[inline]
    fn add_decimal(&self, words: &mut [u64], x: &Decimal, scale: u8) {
        let Some(n) = words.first_mut() else { return };
        let first = *n == 0;
        *n += 1;
        let value = words_of(x);
        let short = short_decimal(value);
        if self.sum > 0 {
            let sum = short
                .filter(|s| s.scale == scale)
                .map_or_else(|| mantissa_at(x, scale), |s| s.mantissa.into());
            add_wide(words, self.sum, sum);
        }
        for (at, max) in [(self.least, false), (self.greatest, true)] {
            if at > 0
                && let Some([low, high]) = words.get_mut(at..at + 2)
            {
                let better = match (short, short_decimal([*low, *high])) {
                    _ if first => true,
                    (Some(x), Some(best)) if x.scale == best.scale => match max {
                        true => x.mantissa > best.mantissa,
                        false => x.mantissa < best.mantissa,
                    },
                    _ => beats(order_of_decimals(x, &decimal_of([*low, *high])), max),
                };
                if better {
                    [*low, *high] = value;
                }
            }
        }
    }

    fn add_rare(&self, words: &mut [u64], value: &FieldValue) {
        if value.is_null() {
            return;
        }
        match (self.kind, value) {
            (Kind::Values, _) => count(words, 1),
            (Kind::Trues, FieldValue::Boolean(true)) => count(words, 1),
            (Kind::Moments, value) => {
                if let [n, sum, squares] = words {
                    let mut moments = Moments::of_words([*n, *sum, *squares]);
                    moments.update(value);
                    [*n, *sum, *squares] = moments.to_words();
                }
            }
            _ => {}
        }
    }

    /// Takes back what was added: there are counts and exact sums only.
    fn subtract(&self, words: &mut [u64], value: &FieldValue) {
        use FieldValue as V;
        match (self.kind, value) {
            (_, V::Null) => {}
            (Kind::Integer, V::Integer(x)) => {
                add_wide(words, self.sum, -i128::from(*x));
                count(words, -1);
            }
            (Kind::Decimal(scale), V::Decimal(x)) => {
                add_wide(words, self.sum, mantissa_at(x, scale).saturating_neg());
                count(words, -1);
            }
            (Kind::Values, _) | (Kind::Trues, V::Boolean(true)) => count(words, -1),
            _ => {}
        }
    }

    /// Makes an empty state what the words say.
    fn fill(&self, state: &mut Inner, words: &[u64]) {
        let word = |at: usize| words.get(at).copied().unwrap_or(0);
        let count = if self.kind == Kind::Float { word(0) & !SPECIAL } else { word(0) } as i64;
        match state {
            Inner::Values(n) | Inner::Trues(n) => *n = count,
            Inner::Sum { sum, n, .. } | Inner::DecimalSum { sum, n, .. } => {
                (*n, *sum) = (count, Wide::from_halves(word(self.sum + 1) as i64, word(self.sum) as i64));
            }
            Inner::FloatSum { sum, n, special, .. } => {
                (*n, *sum, *special) = (count, f64::from_bits(word(self.sum)), word(0) & SPECIAL != 0);
            }
            Inner::IntExtreme { least, seen, max, .. } if count != 0 => {
                let best = word(if *max { self.greatest } else { self.least }) as i64;
                (*seen, *least) = (true, best ^ -i64::from(*max));
            }
            Inner::FloatExtreme { best, seen, max } if count != 0 => {
                let word = word(if *max { self.greatest } else { self.least });
                (*seen, *best) = (true, f64::from_bits(word));
            }
            Inner::Extreme { best, max } if count != 0 => {
                let at = if *max { self.greatest } else { self.least };
                *best = FieldValue::Decimal(decimal_of([word(at), word(at + 1)]));
            }
            Inner::Moments { moments, .. } => *moments = Moments::of_words([word(0), word(1), word(2)]),
            _ => {}
        }
    }
}

/// A decimal in two words: sign, scale and 32 bits of its digits, then the upper 64.
#[inline]
fn words_of(x: &Decimal) -> [u64; 2] {
    let x = x.unpack();
    let flags = u64::from(x.scale) << 16 | u64::from(x.negative) << 31;
    [flags | u64::from(x.lo) << 32, u64::from(x.mid) | u64::from(x.hi) << 32]
}

/// The decimal in two words.
#[inline]
fn decimal_of(words: [u64; 2]) -> Decimal {
    let mut bytes = [0; 16];
    let (halves, _) = bytes.as_chunks_mut::<8>();
    halves.iter_mut().zip(words).for_each(|(to, from)| *to = from.to_le_bytes());
    Decimal::deserialize(bytes)
}

/// A decimal whose digits have 32 bits.
#[derive(Clone, Copy, Debug)]
struct ShortDecimal {
    scale: u8,
    mantissa: i64,
}

/// The decimal in two words, if it is short.
#[inline]
fn short_decimal([low, high]: [u64; 2]) -> Option<ShortDecimal> {
    let (digits, negative) = ((low >> 32) as i64, low & 1 << 31 != 0);
    let mantissa = if negative { -digits } else { digits };
    (high == 0).then_some(ShortDecimal { scale: (low >> 16) as u8, mantissa })
}

/// As [`total_order`](super::key::total_order) has it; those of one scale by their digits.
#[inline]
fn order_of_decimals(a: &Decimal, b: &Decimal) -> Ordering {
    if a.scale() == b.scale() {
        a.mantissa().cmp(&b.mantissa())
    } else {
        a.cmp(b).then_with(|| a.scale().cmp(&b.scale()))
    }
}

#[inline]
fn float_beats(x: f64, best: f64, max: bool) -> bool {
    // Equal ones and NaN take longer.
    match (x < best, x > best) {
        (false, false) => beats(order_of_floats(x, best), max),
        (less, greater) => {
            if max {
                greater
            } else {
                less
            }
        }
    }
}

fn count(words: &mut [u64], by: i64) {
    if let Some(n) = words.first_mut() {
        *n = n.wrapping_add_signed(by);
    }
}

#[inline]
fn add_wide(words: &mut [u64], at: usize, by: i128) {
    // 0 is the place of the count.
    if let (1.., Some([low, high])) = (at, words.get_mut(at..at + 2)) {
        let mut wide = Wide::from_halves(*high as i64, *low as i64);
        wide.add(by);
        (*low, *high) = (wide.get() as u64, (wide.get() >> 64) as u64);
    }
}

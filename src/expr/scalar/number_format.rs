//! Numbers as text by PostgreSQL's templates (`FM999,990.00`), and out of it.

use super::args::{any, invalid, text};
use super::row::{DOUBLE, INT, TEXT, row};
use crate::expr::{EvalResult, FunctionSpec};
use crate::record::text::parse_decimal;
use crate::record::{DataType, Decimal, FieldValue};
use rust_decimal::RoundingStrategy;

pub(super) fn functions() -> Vec<FunctionSpec> {
    // One row a type: a parameter of any type would keep dates from the other to_char.
    let decimal = DataType::Decimal { precision: 28, scale: 0 };
    let mut all = Vec::new();
    for (signature, example, number) in [
        ("to_char(integer, format)", ("to_char(1485, '9,999')", " 1,485"), INT),
        ("to_char(decimal, format)", ("to_char(-1234.567, 'FM999,990.00')", "-1,234.57"), decimal),
        ("to_char(double, format)", ("to_char(CAST(12.45 AS DOUBLE), '99.9')", " 12.4"), DOUBLE),
    ] {
        let doc = "As text by a template of 9 0 . , D G S MI PL SG PR TH and FM";
        all.push(row(signature, doc, example, [number, TEXT], TEXT, |_, a| {
            let template = Template::parse(text(a, 1)?)?;
            Ok(template.fill(&Digits::of(any(a, 0), template.after)?).into())
        }));
    }
    all.extend([row(
        "to_number(text, format)",
        "A DECIMAL out of text by a template of 9 0 . , D G S MI PL SG PR",
        ("to_number('12,454.8-', '99G999D9S')", "-12454.8"),
        [TEXT, TEXT],
        DataType::Decimal { precision: 28, scale: 10 },
        |_, a| {
            let template = Template::parse(text(a, 1)?)?;
            template.read(text(a, 0)?).map(FieldValue::Decimal)
        },
    )]);
    all
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Item {
    Nine,
    Zero,
    Point,
    Comma,
    /// S: a sign next to the number.
    Sign,
    Minus,
    Plus,
    PlusMinus,
    Ordinal {
        upper: bool,
    },
    Currency,
    Literal(char),
}

/// A parsed template.
#[derive(Debug, Default)]
struct Template {
    items: Vec<Item>,
    /// Digits before and after the point.
    before: usize,
    after: usize,
    point: bool,
    /// FM
    fill: bool,
    /// PR
    brackets: bool,
    /// S, at the end if it follows the digits.
    sign: Option<Place>,
    /// Which digit position has the first 0 before the point.
    zero_start: Option<usize>,
    /// Position after the last 0.
    zero_end: usize,
    /// MI or SG: they write the sign themselves.
    own_sign: bool,
}
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Before,
    After,
}

const WORDS: &[(&str, Option<Item>)] = &[
    ("MI", Some(Item::Minus)),
    ("PL", Some(Item::Plus)),
    ("SG", Some(Item::PlusMinus)),
    ("PR", None),
    ("B", None),
    ("FM", None),
    ("TH", Some(Item::Ordinal { upper: true })),
    ("S", Some(Item::Sign)),
    ("D", Some(Item::Point)),
    ("G", Some(Item::Comma)),
    ("L", Some(Item::Currency)),
    (".", Some(Item::Point)),
    (",", Some(Item::Comma)),
    ("9", Some(Item::Nine)),
    ("0", Some(Item::Zero)),
];

impl Template {
    fn parse(format: &str) -> EvalResult<Self> {
        let mut t = Template::default();
        let mut rest = format;
        while let Some(c) = rest.chars().next() {
            let upper = rest.get(..2).unwrap_or(rest).to_ascii_uppercase();
            if c == '"' {
                let (inside, tail) = rest.get(1..).and_then(|r| r.split_once('"')).unwrap_or((rest, ""));
                t.items.extend(inside.chars().map(Item::Literal));
                rest = tail;
                continue;
            }
            if rest.get(..4).is_some_and(|w| w.eq_ignore_ascii_case("EEEE"))
                || upper == "RN"
                || upper.starts_with('V')
            {
                return Err(invalid(format!(
                    "the number format '{format}' is not supported yet: EEEE, RN and V are missing"
                )));
            }
            match WORDS.iter().find(|(word, _)| upper.starts_with(word)) {
                Some((word, item)) => {
                    let lower = rest.starts_with("th");
                    t.add(word, *item, lower)?;
                    rest = rest.get(word.len()..).unwrap_or_default();
                }
                None => {
                    t.items.push(Item::Literal(c));
                    rest = rest.get(c.len_utf8()..).unwrap_or_default();
                }
            }
        }
        Ok(t)
    }
    fn add(&mut self, word: &str, item: Option<Item>, lower: bool) -> EvalResult<()> {
        match item {
            Some(Item::Nine | Item::Zero) => {
                if item == Some(Item::Zero) && !self.point && self.zero_start.is_none() {
                    self.zero_start = Some(self.before);
                }
                if self.point {
                    self.after += 1
                } else {
                    self.before += 1
                }
                if item == Some(Item::Zero) {
                    self.zero_end = self.before + self.after;
                }
            }
            Some(Item::Point) if self.point => {
                return Err(invalid("multiple decimal points in the number format"));
            }
            Some(Item::Point) => self.point = true,
            Some(Item::Sign) => {
                self.sign = Some(if self.before + self.after == 0 { Place::Before } else { Place::After })
            }
            Some(Item::Minus | Item::PlusMinus) => self.own_sign = true,
            None if word == "FM" => self.fill = true,
            None if word == "PR" => self.brackets = true,
            _ => {}
        }
        self.items.extend(item.map(|item| match item {
            Item::Ordinal { .. } => Item::Ordinal { upper: !lower },
            item => item,
        }));
        Ok(())
    }
}

/// A rounded number, as digits.
struct Digits {
    negative: bool,
    /// Without leading zeros, but at least `0`.
    whole: String,
    fraction: String,
}
impl Digits {
    fn of(v: &FieldValue, after: usize) -> EvalResult<Self> {
        let shown = match v {
            FieldValue::Integer(i) => i.to_string(),
            FieldValue::Decimal(d) => d
                .round_dp_with_strategy(after.min(28) as u32, RoundingStrategy::MidpointAwayFromZero)
                .to_string(),
            FieldValue::Float(f) if f.is_finite() => format!("{f:.*}", after.min(100)),
            other => {
                return Err(invalid(format!(
                    "to_char needs a finite number, not {}",
                    crate::expr::to_text(other)
                )));
            }
        };
        let (negative, shown) = match shown.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, shown.as_str()),
        };
        let (whole, fraction) = shown.split_once('.').unwrap_or((shown, ""));
        let zero = shown.bytes().all(|b| matches!(b, b'0' | b'.'));
        Ok(Self {
            negative: negative && !zero,
            whole: whole.into(),
            fraction: format!("{fraction:0<after$}"),
        })
    }
}

impl Template {
    fn fill(&self, number: &Digits) -> String {
        let overflow = number.whole.len() > self.before;
        let whole = if overflow { "#".repeat(self.before) } else { number.whole.clone() };
        let fraction = if overflow { "#".repeat(self.after) } else { number.fraction.clone() };
        // Blanks to the left of the number, among the digit positions.
        let blanks = self.before - whole.len();
        let relevant = self.relevant(&fraction, blanks);
        let hidden_zero = whole == "0" && self.after > 0 && self.zero_start.is_none();
        let mut w = Writer {
            template: self,
            negative: number.negative,
            out: String::new(),
            signed: self.own_sign,
            digit: false,
        };
        if !self.own_sign && self.sign == Some(Place::After) {
            w.signed = true;
        }
        let (mut position, mut in_fraction) = (0, false);
        let last = self.items.iter().rposition(|i| matches!(i, Item::Nine | Item::Zero | Item::Point));
        for (at, item) in self.items.iter().enumerate() {
            match item {
                Item::Nine | Item::Zero if !in_fraction => {
                    let zero = self.zero_start.is_some_and(|z| z <= position);
                    if position < blanks && !zero {
                        w.blank();
                    } else if position < blanks {
                        w.digit('0');
                    } else if hidden_zero {
                        // 0.1 is .1, but FM9.9 shows 0 as 0.
                        if self.fill && relevant == Some(0) { w.digit('0') } else { w.blank() }
                    } else {
                        w.digit(whole.chars().nth(position - blanks).unwrap_or('0'));
                    }
                    position += 1;
                }
                Item::Nine | Item::Zero => {
                    let place = position - self.before;
                    if relevant.is_none_or(|n| place < n) || *item == Item::Zero {
                        w.digit(fraction.chars().nth(place).unwrap_or('0'));
                    }
                    position += 1;
                }
                // A point without digits behind it is not shown, unless the number does not fit.
                Item::Point if self.after == 0 && !overflow => in_fraction = true,
                Item::Point => {
                    in_fraction = true;
                    w.sign();
                    w.out.push('.');
                }
                Item::Comma if w.digit => w.out.push(','),
                Item::Comma | Item::Currency => w.blank(),
                other => w.mark(*other, number, in_fraction || overflow),
            }
            if Some(at) == last {
                w.close();
            }
        }
        w.out
    }
    /// With FM: how many digits of the fraction are shown.
    fn relevant(&self, fraction: &str, blanks: usize) -> Option<usize> {
        if !self.fill || !self.point {
            return None;
        }
        let needed = fraction.trim_end_matches('0').len();
        let forced = self.zero_end.saturating_sub(self.before.max(blanks));
        Some(needed.max(forced))
    }
}

struct Writer<'t> {
    template: &'t Template,
    negative: bool,
    out: String,
    /// The sign has been written, or is not written here.
    signed: bool,
    /// A digit has been written.
    digit: bool,
}
impl Writer<'_> {
    fn blank(&mut self) {
        if !self.template.fill {
            self.out.push(' ');
        }
    }
    /// The sign, once, where the number begins.
    fn sign(&mut self) {
        if std::mem::replace(&mut self.signed, true) {
            return;
        }
        match (self.template.sign, self.template.brackets, self.negative) {
            (Some(Place::Before), _, negative) => self.out.push(if negative { '-' } else { '+' }),
            (_, true, true) => self.out.push('<'),
            (_, false, true) => self.out.push('-'),
            _ => self.blank(),
        }
    }
    fn digit(&mut self, c: char) {
        self.sign();
        self.out.push(c);
        self.digit = true;
    }
    /// After the last digit.
    fn close(&mut self) {
        if self.template.sign == Some(Place::After) && !self.template.own_sign {
            self.out.push(if self.negative { '-' } else { '+' });
        } else if self.template.brackets && self.negative {
            self.out.push('>');
        } else if self.template.brackets {
            self.blank();
        }
    }
    fn mark(&mut self, item: Item, number: &Digits, no_ordinal: bool) {
        match item {
            Item::Literal(c) => self.out.push(c),
            Item::Minus if self.negative => self.out.push('-'),
            Item::Plus if !self.negative => self.out.push('+'),
            Item::Minus | Item::Plus => self.blank(),
            Item::PlusMinus => self.out.push(if self.negative { '-' } else { '+' }),
            Item::Ordinal { upper } if !self.negative && !no_ordinal => {
                let (last, teen) = (
                    number.whole.chars().last(),
                    number.whole.ends_with(['1', '2', '3']) && number.whole.chars().rev().nth(1) == Some('1'),
                );
                let suffix = match last {
                    _ if teen => "th",
                    Some('1') => "st",
                    Some('2') => "nd",
                    Some('3') => "rd",
                    _ => "th",
                };
                self.out.push_str(&if upper { suffix.to_uppercase() } else { suffix.into() });
            }
            _ => {}
        }
    }
}

impl Template {
    /// Reads what the template would write: digits and a point count, a minus or < makes it negative.
    fn read(&self, s: &str) -> EvalResult<Decimal> {
        let mut digits = String::new();
        let mut negative = false;
        for c in s.trim().chars() {
            match c {
                '0'..='9' => digits.push(c),
                '.' if self.point && !digits.contains('.') => digits.push(c),
                '-' | '<' => negative = true,
                // What a template may hold besides: signs, groups, blanks, currency, literals.
                _ if self.point || c != '.' => {}
                _ => break,
            }
        }
        let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid(format!("'{s}' has no digits")));
        }
        let whole = whole.get(..whole.len().min(self.before)).unwrap_or_default();
        let fraction = fraction.get(..fraction.len().min(self.after)).unwrap_or_default();
        let number = parse_decimal(&format!("{whole}.{fraction}0"));
        let scaled = number.map(|d| d.round_dp(fraction.len() as u32));
        let value = scaled.ok_or_else(|| invalid(format!("'{s}' has more digits than a DECIMAL holds")))?;
        Ok(if negative { -value } else { value })
    }
}

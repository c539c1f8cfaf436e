//! Hashes and binary-to-text encodings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};
use xxhash_rust::xxh64::{Xxh64, xxh64};

use super::args::{any, bytes, invalid, text, within_limit};
use super::row::{ANY, BYTES, INT, TEXT, derived, lenient, row, variadic};
use crate::expr::{EvalResult, FunctionSpec};
use crate::record::{DataType, FieldValue};

pub(super) fn functions() -> Vec<FunctionSpec> {
    let mut all = digests();
    all.extend(checksums());
    all.extend(encodings());
    all
}

fn digests() -> Vec<FunctionSpec> {
    type Hash = fn(&[u8]) -> Vec<u8>;
    struct Digests(
        &'static str,
        &'static str,
        &'static str,
        (&'static str, &'static str),
        (&'static str, &'static str),
        Hash,
    );
    let sha2: [Digests; 4] = [
        Digests(
            "sha224(text)",
            "sha224(bytes)",
            "SHA-224",
            ("sha224('abc')", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
            ("length(sha224(decode('616263', 'hex')))", "28"),
            |b| Sha224::digest(b).to_vec(),
        ),
        Digests(
            "sha256(text)",
            "sha256(bytes)",
            "SHA-256",
            ("sha256('abc')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "encode(sha256(decode('616263', 'hex')), 'hex')",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            |b| Sha256::digest(b).to_vec(),
        ),
        Digests(
            "sha384(text)",
            "sha384(bytes)",
            "SHA-384",
            ("left(sha384('abc'), 16)", "cb00753f45a35e8b"),
            ("length(sha384(decode('616263', 'hex')))", "48"),
            |b| Sha384::digest(b).to_vec(),
        ),
        Digests(
            "sha512(text)",
            "sha512(bytes)",
            "SHA-512",
            ("left(sha512('abc'), 16)", "ddaf35a193617aba"),
            ("length(sha512(decode('616263', 'hex')))", "64"),
            |b| Sha512::digest(b).to_vec(),
        ),
    ];
    let mut all = Vec::new();
    for Digests(of_text, of_bytes, name, text_example, bytes_example, hash) in sha2 {
        let (text_doc, bytes_doc) = docs(name);
        all.push(row(of_text, text_doc, text_example, [TEXT], TEXT, move |_, a| {
            Ok(hex(&hash(bytes(a, 0)?)).into())
        }));
        all.push(row(of_bytes, bytes_doc, bytes_example, [BYTES], BYTES, move |_, a| {
            Ok(hash(bytes(a, 0)?).as_slice().into())
        }));
    }
    for (signature, doc, example, parameter) in [
        ("md5(text)", "MD5 in hexadecimal", ("md5('abc')", "900150983cd24fb0d6963f7d28e17f72"), TEXT),
        (
            "md5(bytes)",
            "MD5 in hexadecimal",
            ("md5(decode('616263', 'hex'))", "900150983cd24fb0d6963f7d28e17f72"),
            BYTES,
        ),
    ] {
        all.push(row(signature, doc, example, [parameter], TEXT, |_, a| {
            Ok(hex(&Md5::digest(bytes(a, 0)?)).into())
        }));
    }
    for (signature, doc, example, parameter) in [
        (
            "sha1(text)",
            "SHA-1 in hexadecimal",
            ("sha1('abc')", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            TEXT,
        ),
        (
            "sha1(bytes)",
            "SHA-1 in hexadecimal",
            ("sha1(decode('616263', 'hex'))", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            BYTES,
        ),
    ] {
        all.push(row(signature, doc, example, [parameter], TEXT, |_, a| {
            Ok(hex(&Sha1::digest(bytes(a, 0)?)).into())
        }));
    }
    all
}
fn docs(name: &str) -> (&'static str, &'static str) {
    match name {
        "SHA-224" => ("SHA-224 in hexadecimal", "SHA-224 as bytes"),
        "SHA-256" => ("SHA-256 in hexadecimal", "SHA-256 as bytes"),
        "SHA-384" => ("SHA-384 in hexadecimal", "SHA-384 as bytes"),
        _ => ("SHA-512 in hexadecimal", "SHA-512 as bytes"),
    }
}

fn checksums() -> Vec<FunctionSpec> {
    vec![
        row(
            "xxhash64(value)",
            "XXH64 with seed 0 of text or bytes",
            ("xxhash64('abc')", "4952883123889572249"),
            [ANY],
            derived(text_or_bytes),
            |_, a| Ok((xxh64(bytes(a, 0)?, 0) as i64).into()),
        ),
        row(
            "xxhash(value)",
            "The same as xxhash64",
            ("xxhash('abc')", "4952883123889572249"),
            [ANY],
            derived(text_or_bytes),
            |_, a| Ok((xxh64(bytes(a, 0)?, 0) as i64).into()),
        ),
        row(
            "crc32(value)",
            "CRC-32 (IEEE) of text or bytes",
            ("crc32('The quick brown fox jumps over the lazy dog')", "1095738169"),
            [ANY],
            derived(text_or_bytes),
            |_, a| Ok(i64::from(crc32fast::hash(bytes(a, 0)?)).into()),
        ),
        lenient(row(
            "hash(value, …)",
            "A hash of all values, the same in every run; for sharding, not for security",
            ("hash('a', 1) = hash('a', 1)", "true"),
            variadic([ANY]),
            INT,
            |_, a| {
                let mut hasher = Xxh64::new(0);
                for v in a {
                    feed(v, &mut hasher);
                }
                Ok((hasher.digest() as i64).into())
            },
        )),
    ]
}
fn text_or_bytes(types: &[DataType]) -> Result<DataType, String> {
    match types.first() {
        Some(DataType::Varchar | DataType::Bytes | DataType::Json | DataType::Null) => Ok(INT),
        Some(t) => Err(format!("the argument must be VARCHAR or BYTES, not {t}")),
        None => Err("an argument is missing".into()),
    }
}
/// Feeds a value with its kind and length, so that `('a', 'b')` and `('ab', '')` differ.
fn feed(v: &FieldValue, h: &mut Xxh64) {
    let mut tagged = |tag: u8, payload: &[u8]| {
        h.update(&[tag]);
        h.update(&(payload.len() as u64).to_le_bytes());
        h.update(payload);
    };
    match v {
        FieldValue::Null => tagged(0, &[]),
        FieldValue::Boolean(b) => tagged(1, &[u8::from(*b)]),
        FieldValue::Integer(i) => tagged(2, &i.to_le_bytes()),
        // 0.0 and -0.0 are equal, and so are all NaNs.
        FieldValue::Float(f) if *f == 0.0 => tagged(3, &0f64.to_le_bytes()),
        FieldValue::Float(f) if f.is_nan() => tagged(3, &f64::NAN.to_le_bytes()),
        FieldValue::Float(f) => tagged(3, &f.to_le_bytes()),
        FieldValue::Decimal(d) => tagged(4, &d.normalize().serialize()),
        FieldValue::String(s) => tagged(5, s.as_bytes()),
        FieldValue::Bytes(b) => tagged(6, b),
        FieldValue::Date(d) => tagged(7, &d.to_le_bytes()),
        FieldValue::Time(t) => tagged(8, &t.to_le_bytes()),
        FieldValue::Timestamp(t) => tagged(9, &t.to_le_bytes()),
        FieldValue::Interval(i) => {
            tagged(10, &i.months.to_le_bytes());
            tagged(10, &i.days.to_le_bytes());
            tagged(10, &i.micros.to_le_bytes());
        }
        FieldValue::Array(items) => {
            tagged(11, &(items.len() as u64).to_le_bytes());
            items.iter().for_each(|v| feed(v, h));
        }
        FieldValue::Map(entries) => {
            tagged(12, &(entries.len() as u64).to_le_bytes());
            for (k, v) in entries.iter() {
                feed(k, h);
                feed(v, h);
            }
        }
        FieldValue::Struct(s) => {
            tagged(13, &(s.values.len() as u64).to_le_bytes());
            s.values.iter().for_each(|v| feed(v, h));
        }
        FieldValue::Json(j) => tagged(14, j.as_bytes()),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| DIGITS.get(usize::from(n)).copied().map_or('0', char::from);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}
fn unhex(s: &str) -> EvalResult<Vec<u8>> {
    let mut out = Vec::with_capacity(s.len() / 2);
    let mut high = None;
    for c in s.chars().filter(|c| !matches!(c, ' ' | '\n' | '\t' | '\r')) {
        let n = c.to_digit(16).ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{c}\"")))? as u8;
        match high.take() {
            None => high = Some(n),
            Some(h) => out.push(h << 4 | n),
        }
    }
    if high.is_some() { Err(invalid("invalid hexadecimal data: odd number of digits")) } else { Ok(out) }
}
fn unbase64(s: &str) -> EvalResult<Vec<u8>> {
    let compact: String = s.chars().filter(|c| !matches!(c, ' ' | '\n' | '\t' | '\r')).collect();
    STANDARD.decode(compact).map_err(|e| invalid(format!("invalid base64: {e}")))
}
/// PostgreSQL breaks base64 into lines of 76 characters, as MIME does.
fn mime_base64(bytes: &[u8]) -> String {
    let whole = STANDARD.encode(bytes);
    let mut out = String::with_capacity(whole.len() + whole.len() / 76);
    let mut rest = whole.as_str();
    while let Some((line, tail)) = rest.split_at_checked(76).filter(|(_, tail)| !tail.is_empty()) {
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str(rest);
    out
}
/// Bytes as text with `\ooo` for what is not ASCII.
fn escape(bytes: &[u8]) -> String {
    let mut out = String::new();
    for b in bytes {
        match b {
            b'\\' => out.push_str("\\\\"),
            0 | 128.. => out.push_str(&format!("\\{b:03o}")),
            b => out.push(char::from(*b)),
        }
    }
    out
}
fn unescape(s: &str) -> EvalResult<Vec<u8>> {
    let bad = || invalid("invalid escape: a backslash stands before another one or three octal digits");
    let mut out = Vec::with_capacity(s.len());
    let mut rest = s.as_bytes();
    while let [first, tail @ ..] = rest {
        (rest, _) = match (first, tail) {
            (b'\\', [b'\\', tail @ ..]) => (tail, out.push(b'\\')),
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                (tail, out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0')))
            }
            (b'\\', _) => return Err(bad()),
            (other, tail) => (tail, out.push(*other)),
        };
    }
    Ok(out)
}

fn encodings() -> Vec<FunctionSpec> {
    vec![
        row(
            "encode(bytes, format)",
            "Bytes as text: 'hex', 'base64' (lines of 76) or 'escape'",
            ("encode(convert_to('123', 'UTF8'), 'base64')", "MTIz"),
            [BYTES, TEXT],
            TEXT,
            |_, a| {
                let b = bytes(a, 0)?;
                match text(a, 1)? {
                    f if f.eq_ignore_ascii_case("hex") => Ok(hex(b).into()),
                    f if f.eq_ignore_ascii_case("base64") => Ok(mime_base64(b).into()),
                    f if f.eq_ignore_ascii_case("escape") => Ok(escape(b).into()),
                    other => Err(unknown_encoding(other)),
                }
            },
        ),
        row(
            "decode(text, format)",
            "Bytes from text: 'hex', 'base64' or 'escape'",
            ("encode(decode('MTIz', 'base64'), 'hex')", "313233"),
            [TEXT, TEXT],
            BYTES,
            |_, a| {
                let s = text(a, 0)?;
                let decoded = match text(a, 1)? {
                    f if f.eq_ignore_ascii_case("hex") => unhex(s)?,
                    f if f.eq_ignore_ascii_case("base64") => unbase64(s)?,
                    f if f.eq_ignore_ascii_case("escape") => unescape(s)?,
                    other => return Err(unknown_encoding(other)),
                };
                Ok(decoded.as_slice().into())
            },
        ),
        row(
            "to_base64(value)",
            "Text or bytes as base64 in one line",
            ("to_base64('hello world')", "aGVsbG8gd29ybGQ="),
            [ANY],
            derived(base64_of),
            |_, a| {
                let b = bytes(a, 0)?;
                within_limit(b.len() / 3 * 4)?;
                Ok(STANDARD.encode(b).into())
            },
        ),
        row(
            "from_base64(text)",
            "Bytes from base64",
            ("convert_from(from_base64('aGVsbG8='), 'UTF8')", "hello"),
            [TEXT],
            BYTES,
            |_, a| Ok(unbase64(text(a, 0)?)?.as_slice().into()),
        ),
        row(
            "hex(value)",
            "Text, bytes or an integer in base 16, upper case",
            ("hex('abc')", "616263"),
            [ANY],
            derived(hex_of),
            |_, a| match any(a, 0) {
                FieldValue::Integer(i) => Ok(format!("{i:X}").into()),
                _ => Ok(hex(bytes(a, 0)?).to_uppercase().into()),
            },
        ),
        row(
            "unhex(text)",
            "Bytes from base 16",
            ("convert_from(unhex('616263'), 'UTF8')", "abc"),
            [TEXT],
            BYTES,
            |_, a| Ok(unhex(text(a, 0)?)?.as_slice().into()),
        ),
        row(
            "convert_to(text, encoding)",
            "Bytes of the text; 'UTF8' is the only encoding",
            ("length(convert_to('jösé', 'UTF8'))", "6"),
            [TEXT, TEXT],
            BYTES,
            |_, a| {
                utf8_only(text(a, 1)?)?;
                Ok(bytes(a, 0)?.into())
            },
        ),
        row(
            "convert_from(bytes, encoding)",
            "Text from its bytes; 'UTF8' is the only encoding",
            ("convert_from(decode('616263', 'hex'), 'UTF8')", "abc"),
            [BYTES, TEXT],
            TEXT,
            |_, a| {
                utf8_only(text(a, 1)?)?;
                let s = std::str::from_utf8(bytes(a, 0)?)
                    .map_err(|e| invalid(format!("not valid UTF-8: {e}")))?;
                Ok(s.into())
            },
        ),
    ]
}
fn unknown_encoding(name: &str) -> Box<crate::record::RecordError> {
    invalid(format!("unrecognized encoding: \"{name}\" (hex, base64, escape)"))
}
fn utf8_only(name: &str) -> EvalResult<()> {
    if name.eq_ignore_ascii_case("utf8") || name.eq_ignore_ascii_case("utf-8") {
        return Ok(());
    }
    Err(invalid(format!("encoding \"{name}\" is not supported, only UTF8 is")))
}
fn base64_of(types: &[DataType]) -> Result<DataType, String> {
    text_or_bytes(types).map(|_| TEXT)
}
fn hex_of(types: &[DataType]) -> Result<DataType, String> {
    match types.first() {
        Some(t) if t.is_integer() => Ok(TEXT),
        _ => base64_of(types),
    }
}

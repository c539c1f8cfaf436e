//! Comparing output with what is expected: bytes, except for numbers behind a `~` or `≈`.

/// End of the JSON value that starts at `at`; a `~` or `≈` may stand before a number.
fn skip(text: &[u8], at: usize) -> usize {
    let mut depth = 0usize;
    let mut i = at;
    while i < text.len() {
        match text[i] {
            b'"' => i = string_end(text, i) - 1,
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth == 0 => return i,
            b']' | b'}' => depth -= 1,
            b',' | b':' if depth == 0 => return i,
            _ => {}
        }
        i += 1;
    }
    i
}

fn string_end(text: &[u8], at: usize) -> usize {
    let mut i = at + 1;
    while i < text.len() && text[i] != b'"' {
        i += if text[i] == b'\\' { 2 } else { 1 };
    }
    (i + 1).min(text.len())
}

/// The elements of `[…]` as text.
pub fn elements(array: &str) -> Option<Vec<&str>> {
    parts(array.strip_prefix('[')?.strip_suffix(']')?)
}

/// The fields of `{…}`: key (with quotes) and value.
pub fn fields(object: &str) -> Option<Vec<(&str, &str)>> {
    let inner = object.strip_prefix('{')?.strip_suffix('}')?;
    parts(inner)?
        .into_iter()
        .map(|part| {
            let end = skip(part.as_bytes(), 0);
            Some((part.get(..end)?, part.get(end + 1..)?))
        })
        .collect()
}

fn parts(inner: &str) -> Option<Vec<&str>> {
    let (bytes, mut found, mut at) = (inner.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let mut end = skip(bytes, at);
        // A field's key ends at its colon: its value follows.
        if bytes.get(end) == Some(&b':') {
            end = skip(bytes, end + 1);
        }
        found.push(inner.get(at..end)?);
        at = end + 1;
    }
    Some(found)
}

/// Whether `actual` is `expected`.
pub fn same(expected: &str, actual: &str) -> bool {
    if let Some(number) = expected.strip_prefix('~') {
        return numbers(number, actual, |a, b| (a - b).abs() <= 1e-15 * a.abs().max(b.abs()));
    }
    if let Some(number) = expected.strip_prefix('≈') {
        return numbers(number, actual, |a, b| (a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1.0));
    }
    if !expected.contains(['~', '≈']) {
        return expected == actual;
    }
    if let (Some(a), Some(b)) = (elements(expected), elements(actual)) {
        return a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| same(a, b));
    }
    if let (Some(a), Some(b)) = (fields(expected), fields(actual)) {
        return a.len() == b.len() && a.iter().zip(&b).all(|((k, v), (l, w))| k == l && same(v, w));
    }
    expected == actual
}

fn numbers(expected: &str, actual: &str, near: impl Fn(f64, f64) -> bool) -> bool {
    match (expected.parse::<f64>(), actual.parse::<f64>()) {
        (Ok(a), Ok(b)) => a == b || near(a, b),
        _ => false,
    }
}

/// FNV-1a, 64 bits.
pub fn fnv1a(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[test]
fn values_are_compared_by_bytes_and_marked_numbers_by_value() {
    assert!(same("1.50", "1.50") && !same("1.50", "1.5") && !same("1", "2"));
    assert!(
        same("~1.5", "1.50")
            && same("~1000", "1e3")
            && !same("~1.5", "1.6")
            && !same("~1", "\"1\"")
            && !same("~1", "null")
    );
    assert!(same("[~1.0,\"a,~b\",null]", "[1,\"a,~b\",null]"));
    assert!(!same("[~1.0,2]", "[1]") && !same("[~1.0]", "[1,2]"));
    assert!(same(r#"{"a":~1.0,"b":{"c":[1,~2]}}"#, r#"{"a":1,"b":{"c":[1,2.0]}}"#));
    assert!(!same(r#"{"a":~1.0}"#, r#"{"b":1}"#) && !same(r#"{"a":~1.0}"#, r#"{"a":2}"#));
    assert!(same("≈0.1", "0.10000000000001") && !same("≈0.1", "0.1000001") && !same("≈1000", "1000.1"));
    assert!(same(r#"{"a":≈2.0,"b":"≈"}"#, r#"{"a":2.0000000000001,"b":"≈"}"#) && !same("≈1", "null"));
    assert!(same("\"~1\"", "\"~1\"") && !same("\"~1\"", "\"~2\""));
}

#[test]
fn nested_text_is_split_at_the_top_only() {
    assert_eq!(
        elements(r#"[1,[2,3],{"a":"],"},"\"]"]"#).unwrap(),
        ["1", "[2,3]", r#"{"a":"],"}"#, r#""\"]""#]
    );
    assert_eq!(fields(r#"{"a:,":1,"b":{"c":[2]}}"#).unwrap(), [("\"a:,\"", "1"), ("\"b\"", r#"{"c":[2]}"#)]);
    assert_eq!(elements("[]").unwrap().len(), 0);
}

#[test]
fn fnv1a_has_its_published_values() {
    assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
}

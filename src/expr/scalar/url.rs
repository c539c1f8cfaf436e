//! URLs: percent-encoding and the parts of RFC 3986.

use super::args::{invalid, text};
use super::row::{INT4, TEXT, optional, row};
use crate::expr::{EvalResult, FunctionSpec};
use crate::record::FieldValue;

/// The parts of a URL as they stand in it, not decoded.
#[derive(Clone, Copy, Default)]
struct Url<'u> {
    scheme: Option<&'u str>,
    authority: Option<&'u str>,
    user: Option<&'u str>,
    host: Option<&'u str>,
    port: Option<&'u str>,
    path: &'u str,
    query: Option<&'u str>,
    fragment: Option<&'u str>,
}

/// The split of RFC 3986, appendix B.
fn parse(url: &str) -> Url<'_> {
    let mut parts = Url::default();
    let mut rest = url;
    if let Some((scheme, tail)) = rest.split_once(':')
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    {
        (parts.scheme, rest) = (Some(scheme), tail);
    }
    if let Some((before, fragment)) = rest.split_once('#') {
        (parts.fragment, rest) = (Some(fragment), before);
    }
    if let Some((before, query)) = rest.split_once('?') {
        (parts.query, rest) = (Some(query), before);
    }
    if let Some(tail) = rest.strip_prefix("//") {
        let (authority, path) =
            tail.split_at_checked(tail.find('/').unwrap_or(tail.len())).unwrap_or((tail, ""));
        (parts.authority, rest) = (Some(authority), path);
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        parts.user = user;
        // A colon inside the brackets of an IPv6 address starts no port.
        let colon = host.rfind(':').filter(|at| !host.get(*at..).is_some_and(|tail| tail.contains(']')));
        match colon.and_then(|at| Some((host.get(..at)?, host.get(at + 1..)?))) {
            Some((name, port)) => {
                (parts.host, parts.port) = (Some(name), Some(port).filter(|p| !p.is_empty()))
            }
            None => parts.host = Some(host),
        }
        parts.host = parts.host.filter(|h| !h.is_empty());
    }
    parts.path = rest;
    parts
}

fn parameter(query: Option<&str>, name: &str) -> EvalResult<FieldValue> {
    for pair in query.unwrap_or_default().split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(key, Plus::Blank)? == name {
            return Ok(decode(value, Plus::Blank)?.into());
        }
    }
    Ok(FieldValue::Null)
}

pub(super) fn functions() -> Vec<FunctionSpec> {
    let mut all: Vec<FunctionSpec> = Vec::new();
    type Part = for<'u> fn(&Url<'u>) -> Option<&'u str>;
    let parts: [(&str, &str, (&str, &str), Part); 6] = [
        (
            "url_scheme(url)",
            "Scheme, as it is written",
            ("url_scheme('https://example.com/a')", "https"),
            |u| u.scheme,
        ),
        (
            "url_protocol(url)",
            "Scheme, as it is written",
            ("url_protocol('ftp://example.com/a')", "ftp"),
            |u| u.scheme,
        ),
        (
            "url_host(url)",
            "Host without user and port",
            ("url_host('https://me@example.com:8080/a')", "example.com"),
            |u| u.host,
        ),
        ("url_path(url)", "Path, not decoded", ("url_path('https://example.com/a/b?c=d')", "/a/b"), |u| {
            Some(u.path)
        }),
        (
            "url_query(url)",
            "Query without the question mark, not decoded; NULL if there is none",
            ("url_query('https://example.com/a?c=d#e')", "c=d"),
            |u| u.query,
        ),
        (
            "url_fragment(url)",
            "Fragment without #; NULL if there is none",
            ("url_fragment('https://example.com/a#e')", "e"),
            |u| u.fragment,
        ),
    ];
    for (signature, doc, example, part) in parts {
        all.push(row(
            signature,
            doc,
            example,
            [TEXT],
            TEXT,
            move |_, a| Ok(part(&parse(text(a, 0)?)).into()),
        ));
    }
    all.extend([
        row("url_port(url)", "Port; NULL if there is none", ("url_port('https://example.com:8080/a')", "8080"), [TEXT], INT4, |_, a| {
            match parse(text(a, 0)?).port {
                Some(port) => port.parse::<u16>().map(|p| i64::from(p).into()).map_err(|_| invalid(format!("\"{port}\" is no port"))),
                None => Ok(FieldValue::Null),
            }
        }),
        row("url_parameter(url, name)", "Value of a query parameter, decoded; NULL if there is none", ("url_parameter('https://example.com/?q=a%20b&r=1', 'q')", "a b"), [TEXT, TEXT], TEXT, |_, a| {
            parameter(parse(text(a, 0)?).query, text(a, 1)?)
        }),
        row("parse_url(url, part [, name])", "HOST, PATH, QUERY (or a parameter of it), REF, PROTOCOL, AUTHORITY, FILE or USERINFO, as in Hive and Flink", ("parse_url('http://example.com/p?k=v#r', 'QUERY', 'k')", "v"), optional([TEXT, TEXT, TEXT], 1), TEXT, |_, a| {
            let url = parse(text(a, 0)?);
            let part = text(a, 1)?;
            if a.len() > 2 {
                return if part == "QUERY" { parameter(url.query, text(a, 2)?) } else { Ok(FieldValue::Null) };
            }
            Ok(match part {
                "HOST" => url.host.into(),
                "PATH" => url.path.into(),
                "QUERY" => url.query.into(),
                "REF" => url.fragment.into(),
                "PROTOCOL" => url.scheme.into(),
                "AUTHORITY" => url.authority.into(),
                "USERINFO" => url.user.into(),
                "FILE" => match url.query {
                    Some(query) => format!("{}?{query}", url.path).into(),
                    None => url.path.into(),
                },
                other => return Err(invalid(format!("\"{other}\" is no part of a URL (HOST, PATH, QUERY, REF, PROTOCOL, AUTHORITY, FILE, USERINFO)"))),
            })
        }),
        row("url_encode(text)", "Percent-encodes all but letters, digits, - . _ and ~", ("url_encode('a b&c=é')", "a%20b%26c%3D%C3%A9"), [TEXT], TEXT, |_, a| Ok(encode(text(a, 0)?).into())),
        row("url_decode(text)", "Decodes percent-encoding", ("url_decode('a%20b%26c')", "a b&c"), [TEXT], TEXT, |_, a| Ok(decode(text(a, 0)?, Plus::Plus)?.into())),
    ]);
    all
}

fn encode(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for b in s.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}
/// What a plus sign stands for: in a query, HTML forms mean a blank.
#[derive(Clone, Copy)]
enum Plus {
    Plus,
    Blank,
}
fn decode(s: &str, plus: Plus) -> EvalResult<String> {
    let digit = |b: &u8| char::from(*b).to_digit(16).map(|d| d as u8);
    let mut out = Vec::with_capacity(s.len());
    let mut rest = s.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, plus) {
            (b'%', _) => {
                let decoded = match tail {
                    [a, b, after @ ..] => digit(a).zip(digit(b)).map(|(a, b)| (a << 4 | b, after)),
                    _ => None,
                };
                let (byte, after) =
                    decoded.ok_or_else(|| invalid("a % is not followed by two hexadecimal digits"))?;
                out.push(byte);
                rest = after;
            }
            (b'+', Plus::Blank) => out.push(b' '),
            (other, _) => out.push(*other),
        }
    }
    String::from_utf8(out).map_err(|_| invalid("what is percent-encoded is not valid UTF-8"))
}

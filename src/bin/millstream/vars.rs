//! `${VAR}`, `${VAR:-default}` and `${VAR:?message}` in pipeline files.

/// Replaces variables by their values. A variable that is not set and has no default is an error with its line.
pub(crate) fn substitute(text: &str, get: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let line = || text[..text.len() - from.len()].matches('\n').count() + 1;
        let Some(end) = from.find('}') else {
            return Err(format!("line {}: '${{' without '}}'", line()));
        };
        let inside = &from[2..end];
        let split = inside.find(":-").map(|i| (i, '-')).or(inside.find(":?").map(|i| (i, '?')));
        let (name, otherwise) = match split {
            Some((i, kind)) => (&inside[..i], Some((kind, &inside[i + 2..]))),
            None => (inside, None),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return Err(format!("line {}: '{name}' is no name of a variable", line()));
        }
        match (get(name).filter(|v| !v.is_empty() || otherwise.is_none()), otherwise) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(('-', default))) => out.push_str(default),
            (None, Some((_, message))) => return Err(format!("line {}: {name}: {message}", line())),
            (None, None) => {
                return Err(format!(
                    "line {}: the environment variable {name} is not set; ${{{name}:-default}} gives it a default",
                    line()
                ));
            }
        }
        rest = &from[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sub(text: &str) -> Result<String, String> {
        substitute(text, |n| match n {
            "A" => Some("1".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn values_defaults_and_messages() {
        assert_eq!(sub("x ${A} y${A}").unwrap(), "x 1 y1");
        assert_eq!(sub("${B:-two} ${A:-two} ${EMPTY:-e}").unwrap(), "two 1 e");
        assert_eq!(sub("a\n${B:?say B}").unwrap_err(), "line 2: B: say B");
        assert!(sub("${B}").unwrap_err().contains("not set"));
        assert!(sub("${A").unwrap_err().contains("without"));
        assert_eq!(sub("$1 {A}").unwrap(), "$1 {A}");
    }
}

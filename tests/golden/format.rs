//! Reads `tests/sql/*.test`; the format is described in `tests/sql/README.md`.

/// One file.
#[derive(Debug, Default)]
pub struct Topic {
    pub cases: Vec<Case>,
}

/// A source with its rows.
#[derive(Clone, Debug)]
pub struct Input {
    pub name: String,
    /// `(a BIGINT, …)` or nothing: inferred.
    pub columns: String,
    /// `json` or `csv`.
    pub format: String,
    pub rows: String,
}

/// What should come out.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// A value (eval), the array of the values of all rows (eval over).
    Value(String),
    Rows {
        lines: Vec<String>,
        sorted: bool,
        /// Number and FNV-1a of all lines, where `lines` are only the first.
        digest: Option<(usize, u64)>,
    },
    /// Refused at check, with this in the message.
    Refused(String),
    /// A record fails with this code.
    RecordError(String),
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// An expression, over the rows of an input.
    Eval { expression: String, over: Option<String> },
    /// Statements, the last one a SELECT.
    Query { title: String, sql: String },
}

/// One expression or query.
#[derive(Clone, Debug)]
pub struct Case {
    /// Line in the file, from 1.
    pub line: usize,
    /// Number of the block, so that neighbours can run in one SELECT.
    pub block: usize,
    /// Inputs and setup statements declared before it.
    pub inputs: Vec<Input>,
    pub setup: String,
    pub kind: Kind,
    pub expected: Expected,
    /// The reason of a `# pending:` mark.
    pub pending: Option<String>,
}

impl Case {
    /// For messages.
    pub fn title(&self) -> &str {
        match &self.kind {
            Kind::Eval { expression, .. } => expression,
            Kind::Query { title, .. } => title,
        }
    }
}

#[derive(Default)]
struct State {
    topic: Topic,
    inputs: Vec<Input>,
    setup: String,
    pending: Option<String>,
    block: usize,
}

/// Parses a file; panics with the line on a mistake, since the file is ours.
pub fn parse(text: &str) -> Topic {
    let lines: Vec<&str> = text.lines().collect();
    let mut state = State::default();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        if line.is_empty() || line.starts_with('#') {
            state.mark(line);
            at += 1;
        } else {
            let end = (at..lines.len()).find(|&i| lines[i].is_empty()).unwrap_or(lines.len());
            state.block += 1;
            state.block(&lines[at..end], at + 1);
            at = end;
        }
    }
    state.topic
}

impl State {
    /// Notes a `# pending:` line for the case that follows.
    fn mark(&mut self, line: &str) {
        if let Some(reason) = line.strip_prefix("# pending:") {
            self.pending = Some(reason.trim().to_string());
        }
    }

    fn block(&mut self, lines: &[&str], first: usize) {
        let (word, rest) = lines[0].split_once(' ').unwrap_or((lines[0], ""));
        match word {
            "input" => self.input(rest, &lines[1..]),
            "setup" => self.setup += &(lines[1..].join("\n") + "\n"),
            "eval" => self.eval(rest, &lines[1..], first + 1),
            "query" => self.query(rest, &lines[1..], first),
            _ => panic!("line {first}: no block begins with {word:?}"),
        }
    }

    fn input(&mut self, head: &str, rows: &[&str]) {
        let (head, format) = head.rsplit_once(" format ").unwrap_or((head, "json"));
        let (name, columns) = head.split_once(' ').unwrap_or((head, ""));
        self.inputs.retain(|i| i.name != name);
        self.inputs.push(Input {
            name: name.to_string(),
            columns: columns.to_string(),
            format: format.to_string(),
            rows: rows.join("\n") + "\n",
        });
    }

    fn eval(&mut self, over: &str, lines: &[&str], first: usize) {
        let over = over.strip_prefix("over ").map(str::to_string);
        for (i, line) in lines.iter().enumerate() {
            if line.starts_with('#') {
                self.mark(line);
                continue;
            }
            let Some((expression, value)) = line.rsplit_once(" => ") else {
                panic!("line {}: no ` => ` in {line:?}", first + i)
            };
            let kind = Kind::Eval { expression: expression.to_string(), over: over.clone() };
            let expected = error(value).unwrap_or_else(|| Expected::Value(value.to_string()));
            self.case(first + i, kind, expected);
        }
    }

    fn query(&mut self, title: &str, lines: &[&str], first: usize) {
        let lines: Vec<&str> = lines.iter().copied().filter(|l| !l.starts_with("# derived")).collect();
        let Some(mark) = lines.iter().position(|l| l.starts_with("----")) else {
            panic!("line {first}: a query without ----")
        };
        let sql = lines[..mark].join("\n");
        let sorted = lines[mark] == "---- sorted";
        let mut rows: Vec<String> = lines[mark + 1..].iter().map(ToString::to_string).collect();
        let expected = rows.first().and_then(|l| error(l)).unwrap_or_else(|| {
            let digest = rows.last().and_then(|l| digest(l));
            if digest.is_some() {
                rows.pop();
            }
            Expected::Rows { lines: rows, sorted, digest }
        });
        self.case(first, Kind::Query { title: title.to_string(), sql }, expected);
    }

    fn case(&mut self, line: usize, kind: Kind, expected: Expected) {
        self.topic.cases.push(Case {
            line,
            block: self.block,
            inputs: self.inputs.clone(),
            setup: self.setup.clone(),
            kind,
            expected,
            pending: self.pending.take(),
        });
    }
}

fn error(text: &str) -> Option<Expected> {
    if let Some(code) = text.strip_prefix("record error: ") {
        return Some(Expected::RecordError(code.trim().to_string()));
    }
    text.strip_prefix("error:").map(|part| Expected::Refused(part.trim().to_string()))
}

fn digest(line: &str) -> Option<(usize, u64)> {
    let (count, hash) = line.strip_prefix("... ")?.split_once(" rows, fnv1a ")?;
    Some((count.parse().ok()?, u64::from_str_radix(hash, 16).ok()?))
}

#[test]
fn every_kind_of_block_is_read() {
    let topic = parse(
        "# a comment\n\ninput t (a BIGINT)\n{\"a\":1}\n{\"a\":2}\n\neval over t\na + 1 => [2,3]\n# pending: later\na / 0 => record error: \
         division_by_zero\n\nsetup\nSET x = 1;\n\nquery some title\n# derived\nSELECT a\nFROM t\n---- sorted\n{\"a\":1}\n... 2 rows, fnv1a \
         00000000000000ff\n\nquery refused\nSELECT\n----\nerror: near\n",
    );
    assert_eq!(topic.cases.len(), 4);
    assert_eq!(topic.cases[0].expected, Expected::Value("[2,3]".into()));
    assert_eq!((topic.cases[0].line, topic.cases[0].pending.as_deref()), (8, None));
    assert_eq!(topic.cases[1].expected, Expected::RecordError("division_by_zero".into()));
    assert_eq!(topic.cases[1].pending.as_deref(), Some("later"));
    assert_eq!(topic.cases[2].setup, "SET x = 1;\n");
    let rows = Expected::Rows { lines: vec!["{\"a\":1}".into()], sorted: true, digest: Some((2, 255)) };
    assert_eq!(topic.cases[2].expected, rows);
    assert_eq!(topic.cases[3].expected, Expected::Refused("near".into()));
}

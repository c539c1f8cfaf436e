//! The options of a Kafka source or sink, checked.

use super::client::Fetch;
use crate::record::sorted;
use std::time::Duration;

use crate::catalog::{OptionKind, OptionSpec, Options, nearest};
use crate::connector::registry::Typed;
use crate::io::IoError;
use crate::record::text::parse_timestamp;

/// Formats that a key can have.
const KEY_FORMATS: OptionKind = OptionKind::OneOf(&["json", "csv", "text", "raw"]);

/// What `WITH (connector = 'kafka', …)` may say besides the format.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::required(
        "bootstrap_servers",
        OptionKind::Text,
        "brokers to begin with: 'host:port', several separated by commas",
    ),
    OptionSpec::new("topic", OptionKind::Text, "", "the topic"),
    OptionSpec::new("topics", OptionKind::Text, "", "sources: several topics, separated by commas"),
    OptionSpec::new(
        "topic_pattern",
        OptionKind::Text,
        "",
        "sources: a regular expression; the topics whose whole name matches",
    ),
    OptionSpec::new(
        "partitions",
        OptionKind::Int { min: 1, max: 100_000 },
        "",
        "how many the topic has: it is made with so many if it is not there; another number is an error",
    ),
    OptionSpec::new(
        "client",
        OptionKind::OneOf(&["auto", "kafka", "rdkafka"]),
        "auto",
        "the library that talks to the brokers; auto: rdkafka if it is compiled in",
    ),
    OptionSpec::new(
        "group_id",
        OptionKind::Text,
        "",
        "sources: the group whose offsets are read at the first start and committed after each commit of the job",
    ),
    OptionSpec::new(
        "start",
        OptionKind::Text,
        "",
        "sources: committed, earliest, latest, a time, or '{0: 17, 1: 4}'; default: committed with a group, else earliest",
    ),
    OptionSpec::new(
        "stop",
        OptionKind::OneOf(&["never", "latest"]),
        "never",
        "sources: latest ends the job at the offsets that were the last ones when it started",
    ),
    OptionSpec::new(
        "key_format",
        KEY_FORMATS,
        "",
        "format of keys; default: text for one VARCHAR, raw for one BYTES, else json",
    ),
    OptionSpec::new("key_columns", OptionKind::Text, "", "columns that the key holds, separated by commas"),
    OptionSpec::new(
        "tombstones",
        OptionKind::OneOf(&["null", "skip", "error"]),
        "null",
        "sources: a message without value is a row of NULLs (but for its key), is left out, or can't be decoded",
    ),
    OptionSpec::new(
        "changelog",
        OptionKind::OneOf(&["append", "upsert"]),
        "append",
        "sinks: upsert writes the latest row of a key, and a tombstone if it is gone; append: new rows",
    ),
    OptionSpec::new(
        "partition_by",
        OptionKind::Text,
        "",
        "columns whose values choose the partition; sinks: default the key, else in turn; sources: for --instances",
    ),
    OptionSpec::new(
        "compression",
        OptionKind::OneOf(&["none", "gzip", "snappy", "lz4", "zstd"]),
        "none",
        "sinks: compression of what is sent",
    ),
    OptionSpec::new(
        "acks",
        OptionKind::OneOf(&["all", "1"]),
        "all",
        "sinks: who must have a message: every replica in sync, or the leader alone (faster, lost with it)",
    ),
    OptionSpec::new(
        "linger_ms",
        OptionKind::Int { min: 0, max: 60_000 },
        "5",
        "sinks: how long a message waits for others; larger gives larger requests and more delay",
    ),
    OptionSpec::new(
        "delivery_timeout",
        OptionKind::Duration,
        "2m",
        "sinks: how long a message is tried before the job fails; larger outlives longer outages",
    ),
    OptionSpec::new(
        "discovery_interval",
        OptionKind::Duration,
        "1m",
        "sources without end: how often new partitions and topics are looked for, to be read from their first message",
    ),
    OptionSpec::new(
        "assignor",
        OptionKind::OneOf(&["cooperative-sticky", "range", "roundrobin"]),
        "cooperative-sticky",
        "sources under --instance: who divides the partitions; the same in all instances",
    ),
    OptionSpec::new(
        "membership",
        OptionKind::OneOf(&["dynamic", "static"]),
        "dynamic",
        "sources under --instance: static keeps an instance's partitions for it while it restarts (session.timeout.ms)",
    ),
    OptionSpec::new(
        "transaction_timeout",
        OptionKind::Duration,
        "1m",
        "transactional sinks: brokers abort a transaction that lasts longer; larger outlives pauses, readers wait longer",
    ),
    OptionSpec::new(
        "isolation",
        OptionKind::OneOf(&["read_committed", "read_uncommitted"]),
        "",
        "sources: whether messages of open and aborted transactions are hidden; default: hidden where the client can",
    ),
    OptionSpec::new(
        "out_of_range",
        OptionKind::OneOf(&["fail", "earliest"]),
        "fail",
        "sources: the job's offset is gone from the topic: fail, or go on with the first one there (counted, with a warning)",
    ),
    OptionSpec::new(
        "gaps",
        OptionKind::OneOf(&["fail", "accept"]),
        "fail",
        "sources with client = 'kafka': offsets that a fetch lacks: fail, or accept (right for compacted topics)",
    ),
    OptionSpec::new(
        "prefetch_bytes",
        OptionKind::Bytes,
        "16 MiB",
        "sources: bytes that are fetched ahead; larger evens out slow brokers and needs more memory",
    ),
    OptionSpec::new(
        "fetch",
        OptionKind::OneOf(&["auto", "direct", "library"]),
        "auto",
        "sources by rdkafka: who fetches: the engine (faster; plaintext, no 'kafka.…' options but of groups) or the library",
    ),
    OptionSpec::new("timeout", OptionKind::Duration, "30s", "how long a broker may take to answer"),
];

/// Options of later releases: named so that nobody takes them for typing errors.
const LATER: &[(&str, &str)] = &[
    ("transactional_id", "transactions go by the job: SET mode = 'transactional', the id is <job_name>.0"),
    ("schema_registry", "the Confluent wire format is not supported yet"),
    ("schema_registry_url", "the Confluent wire format is not supported yet"),
    (
        "assignment",
        "sharing a topic among the members of a group is not supported yet: a job reads all partitions",
    ),
];

/// Options named with this go to the library.
pub(super) const NATIVE: &str = "kafka.";

/// Options of the library that would break what the connector promises, and what to use instead.
const RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", "use bootstrap_servers"),
    ("metadata.broker.list", "use bootstrap_servers"),
    ("group.id", "use group_id"),
    ("enable.auto.commit", "offsets are committed after the job's own commit"),
    ("auto.commit.enable", "offsets are committed after the job's own commit"),
    ("enable.auto.offset.store", "offsets are committed after the job's own commit"),
    ("auto.offset.reset", "use start and out_of_range"),
    ("enable.partition.eof", "the connector needs it"),
    ("isolation.level", "use isolation"),
    ("acks", "use acks"),
    ("request.required.acks", "use acks"),
    ("compression.codec", "use compression"),
    ("compression.type", "use compression"),
    ("linger.ms", "use linger_ms"),
    ("queue.buffering.max.ms", "use linger_ms"),
    ("message.timeout.ms", "use delivery_timeout"),
    ("delivery.timeout.ms", "use delivery_timeout"),
    ("queued.max.messages.kbytes", "use prefetch_bytes"),
    ("transactional.id", "SET mode = 'transactional': the id is <job_name>.0"),
    ("transaction.timeout.ms", "use transaction_timeout"),
    ("partition.assignment.strategy", "use assignor"),
    ("group.instance.id", "use membership = 'static': the id is <instance>.<source>"),
];

/// Which topics are read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Topics {
    Named(Vec<String>),
    Pattern(String),
}

/// Where the first start begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Start {
    /// Where the group stands; where it has committed nothing, at the earliest.
    Committed,
    Earliest,
    Latest,
    /// The first message at or after that time, ms since the Unix epoch.
    Time(i64),
    /// Offsets of partitions; the others begin at the earliest.
    Offsets(Vec<(i32, i64)>),
}

/// What a message without value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tombstones {
    Null,
    Skip,
    Error,
}

/// What sources and sinks share.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) servers: String,
    pub(super) client: String,
    pub(super) timeout: Duration,
    pub(super) native: Vec<(String, String)>,
    pub(super) key_format: Option<String>,
    pub(super) key_columns: Vec<String>,
    /// How many each of its topics must have.
    pub(super) partitions: Option<i32>,
}

/// Checked options of a source.
#[derive(Clone, Debug)]
pub(super) struct SourceOptions {
    pub(super) common: Common,
    pub(super) topics: Topics,
    pub(super) group: Option<String>,
    pub(super) start: Start,
    pub(super) stop_at_latest: bool,
    pub(super) tombstones: Tombstones,
    pub(super) isolation: Option<bool>,
    pub(super) earliest_if_gone: bool,
    pub(super) accept_gaps: bool,
    pub(super) fetch: Fetch,
    pub(super) prefetch_bytes: usize,
    pub(super) discovery_interval: Duration,
    pub(super) partition_by: Vec<String>,
    pub(super) assignor: &'static str,
    pub(super) static_member: bool,
}

/// Checked options of a sink.
#[derive(Clone, Debug)]
pub(super) struct SinkOptions {
    pub(super) common: Common,
    pub(super) topic: String,
    pub(super) upsert: bool,
    pub(super) partition_by: Vec<String>,
    pub(super) compression: String,
    pub(super) acks_all: bool,
    pub(super) linger: Duration,
    pub(super) delivery_timeout: Duration,
    pub(super) transaction_timeout: Duration,
}

fn typed(options: &Options) -> Typed<'_> {
    Typed { options, specs: OPTIONS }
}

/// The words of a list.
fn list(text: Option<String>) -> Vec<String> {
    text.unwrap_or_default().split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
}

fn duration(options: &Options, name: &str) -> Result<Duration, IoError> {
    match typed(options).duration(name)?.unwrap_or_default() {
        Duration::ZERO => Err(IoError::config(format!("'{name}' can't be 0"))),
        d => Ok(d),
    }
}

/// What a name that no layer knows means, if it is one of a later release.
pub(super) fn later(name: &str) -> Option<&'static str> {
    LATER.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, why)| *why)
}

fn common(options: &Options) -> Result<Common, IoError> {
    let typed = typed(options);
    let servers = list(typed.text("bootstrap_servers")?);
    if servers.is_empty() {
        return Err(IoError::config("'bootstrap_servers' names no broker: 'host:port'"));
    }
    for server in &servers {
        let port = server
            .rsplit_once(':')
            .and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>().ok()).flatten());
        if port.is_none() {
            return Err(IoError::config(format!(
                "'bootstrap_servers' can't be '{server}': host:port, several separated by commas"
            )));
        }
    }
    let mut native = Vec::new();
    for (name, value) in options.iter().filter_map(|(n, v)| Some((n.strip_prefix(NATIVE)?, v))) {
        if let Some((_, instead)) = RESERVED.iter().find(|(n, _)| *n == name) {
            return Err(IoError::config(format!("'{NATIVE}{name}' can't be set: {instead}")));
        }
        native.push((name.to_owned(), value.to_owned()));
    }
    Ok(Common {
        servers: servers.join(","),
        client: typed.text("client")?.unwrap_or_default(),
        timeout: duration(options, "timeout")?,
        native,
        key_format: typed.text("key_format")?,
        key_columns: list(typed.text("key_columns")?),
        partitions: match typed.value("partitions")? {
            Some(crate::catalog::OptionValue::Int(n)) => i32::try_from(n).ok(),
            _ => None,
        },
    })
}

impl SourceOptions {
    pub(super) fn new(options: &Options) -> Result<Self, IoError> {
        let typed = typed(options);
        let topics = topics(options)?;
        let group = typed.text("group_id")?.filter(|g| !g.trim().is_empty());
        let start = start(typed.text("start")?.as_deref(), group.is_some())?;
        if matches!(start, Start::Offsets(_)) && !matches!(&topics, Topics::Named(names) if names.len() == 1)
        {
            return Err(IoError::config("'start' with offsets needs exactly one topic"));
        }
        Ok(Self {
            common: common(options)?,
            topics,
            group,
            start,
            stop_at_latest: typed.text("stop")?.as_deref() == Some("latest"),
            tombstones: match typed.text("tombstones")?.as_deref() {
                Some("skip") => Tombstones::Skip,
                Some("error") => Tombstones::Error,
                _ => Tombstones::Null,
            },
            isolation: typed.text("isolation")?.map(|i| i == "read_committed"),
            earliest_if_gone: typed.text("out_of_range")?.as_deref() == Some("earliest"),
            accept_gaps: typed.text("gaps")?.as_deref() == Some("accept"),
            fetch: match typed.text("fetch")?.as_deref() {
                Some("direct") => Fetch::Direct,
                Some("library") => Fetch::Library,
                _ => Fetch::Auto,
            },
            prefetch_bytes: prefetch(&typed)?,
            discovery_interval: duration(options, "discovery_interval")?,
            partition_by: list(typed.text("partition_by")?),
            assignor: match typed.text("assignor")?.as_deref() {
                Some("range") => "range",
                Some("roundrobin") => "roundrobin",
                _ => "cooperative-sticky",
            },
            static_member: typed.text("membership")?.as_deref() == Some("static"),
        })
    }
}

fn prefetch(typed: &Typed<'_>) -> Result<usize, IoError> {
    let bytes = match typed.value("prefetch_bytes")? {
        Some(crate::catalog::OptionValue::Bytes(n)) => usize::try_from(n).unwrap_or(usize::MAX),
        _ => 16 << 20,
    };
    match (64 << 10..=1 << 30).contains(&bytes) {
        true => Ok(bytes),
        false => Err(IoError::config("'prefetch_bytes' must lie between 64 KiB and 1 GiB")),
    }
}

fn topics(options: &Options) -> Result<Topics, IoError> {
    let typed = typed(options);
    let one = typed.text("topic")?.filter(|t| !t.trim().is_empty());
    let many = list(typed.text("topics")?);
    let pattern = typed.text("topic_pattern")?.filter(|t| !t.is_empty());
    match (one, many.as_slice(), pattern) {
        (Some(topic), [], None) => topic_name(&topic).map(|t| Topics::Named(vec![t])),
        (None, [_, ..], None) => {
            let mut names = many.iter().map(|t| topic_name(t)).collect::<Result<Vec<_>, _>>()?;
            sorted::sort_by(&mut names, Ord::cmp);
            names.dedup();
            Ok(Topics::Named(names))
        }
        (None, [], Some(pattern)) => match regex::Regex::new(&pattern) {
            Ok(_) => Ok(Topics::Pattern(pattern)),
            Err(e) => Err(IoError::config(format!("'topic_pattern' is no regular expression: {e}"))),
        },
        (None, [], None) => Err(IoError::config("a Kafka source needs 'topic', 'topics' or 'topic_pattern'")),
        _ => Err(IoError::config("'topic', 'topics' and 'topic_pattern' exclude each other")),
    }
}

/// A name that brokers accept.
fn topic_name(name: &str) -> Result<String, IoError> {
    let name = name.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match !name.is_empty() && name.len() <= 249 && name.chars().all(fits) && name != "." && name != ".." {
        true => Ok(name.to_owned()),
        false => Err(IoError::config(format!(
            "'{name}' can't be the name of a topic: at most 249 letters, digits, '.', '_' and '-'"
        ))),
    }
}

fn start(text: Option<&str>, grouped: bool) -> Result<Start, IoError> {
    let Some(text) = text.map(str::trim).filter(|t| !t.is_empty()) else {
        return Ok(if grouped { Start::Committed } else { Start::Earliest });
    };
    match text.to_ascii_lowercase().as_str() {
        "committed" if grouped => return Ok(Start::Committed),
        "committed" => return Err(IoError::config("start = 'committed' needs a group_id")),
        "earliest" => return Ok(Start::Earliest),
        "latest" => return Ok(Start::Latest),
        _ => {}
    }
    if text.starts_with('{') {
        return offsets(text).map(Start::Offsets).ok_or_else(|| {
            IoError::config(format!("'start' can't be '{text}': offsets look like '{{0: 17, 1: 4}}'"))
        });
    }
    if let Some(micros) = parse_timestamp(text) {
        return Ok(Start::Time(micros.div_euclid(1000)));
    }
    if let Ok(millis) = text.parse::<i64>()
        && millis >= 0
    {
        return Ok(Start::Time(millis));
    }
    let near = nearest(text, ["committed", "earliest", "latest"]);
    let hint = match near.first() {
        Some(near) => format!("did you mean {near}?"),
        None => "committed, earliest, latest, a time such as '2026-01-31 12:00:00' or in ms since 1970, or offsets \
                 such as '{0: 17}'"
            .into(),
    };
    Err(IoError::config(format!("'start' can't be '{text}'; {hint}")))
}

/// `{0: 17, 1: 4}`.
fn offsets(text: &str) -> Option<Vec<(i32, i64)>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut found: Vec<(i32, i64)> = Vec::new();
    for pair in inner.split(',') {
        let (partition, offset) = pair.split_once([':', '='])?;
        let partition = partition.trim().trim_matches(['"', '\'']).parse::<i32>().ok().filter(|p| *p >= 0)?;
        let offset = offset.trim().parse::<i64>().ok().filter(|o| *o >= 0)?;
        if found.iter().any(|(p, _)| *p == partition) {
            return None;
        }
        found.push((partition, offset));
    }
    Some(found)
}

impl SinkOptions {
    pub(super) fn new(options: &Options) -> Result<Self, IoError> {
        let typed = typed(options);
        let Some(topic) = typed.text("topic")?.filter(|t| !t.trim().is_empty()) else {
            return Err(IoError::config("a Kafka sink needs the option 'topic'"));
        };
        Ok(Self {
            common: common(options)?,
            topic: topic_name(&topic)?,
            upsert: typed.text("changelog")?.as_deref() == Some("upsert"),
            partition_by: list(typed.text("partition_by")?),
            compression: typed.text("compression")?.unwrap_or_default(),
            acks_all: typed.text("acks")?.as_deref() != Some("1"),
            linger: Duration::from_millis(typed.int("linger_ms")?.unwrap_or(5).unsigned_abs()),
            delivery_timeout: duration(options, "delivery_timeout")?,
            transaction_timeout: duration(options, "transaction_timeout")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(pairs: &[(&str, &str)]) -> Result<SourceOptions, String> {
        let base = [("bootstrap_servers", "localhost:9092")];
        SourceOptions::new(&Options::new(base.into_iter().chain(pairs.iter().copied())))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn topics_are_named_in_one_of_three_ways() {
        assert_eq!(source(&[("topic", " a ")]).unwrap().topics, Topics::Named(vec!["a".into()]));
        let two = Topics::Named(vec!["a".into(), "b".into()]);
        assert_eq!(source(&[("topics", "b, a,b")]).unwrap().topics, two);
        let pattern = Topics::Pattern("a.*".into());
        assert_eq!(source(&[("topic_pattern", "a.*")]).unwrap().topics, pattern);
        for (pairs, message) in [
            (&[][..], "needs 'topic'"),
            (&[("topic", "a"), ("topics", "b")], "exclude each other"),
            (&[("topic_pattern", "(")], "no regular expression"),
            (&[("topic", "a b")], "can't be the name of a topic"),
            (&[("topic", "..")], "can't be the name of a topic"),
        ] {
            let e = source(pairs).unwrap_err();
            assert!(e.contains(message), "{pairs:?}: {e}");
        }
    }

    #[test]
    fn a_start_is_a_word_a_time_or_offsets() {
        let start =
            |text: &str| source(&[("topic", "t"), ("start", text), ("group_id", "g")]).map(|o| o.start);
        assert_eq!(start(""), Ok(Start::Committed));
        assert_eq!(start("Earliest"), Ok(Start::Earliest));
        assert_eq!(start("latest"), Ok(Start::Latest));
        assert_eq!(start("2026-01-01T00:00:00Z"), Ok(Start::Time(1_767_225_600_000)));
        assert_eq!(start("1767225600000"), Ok(Start::Time(1_767_225_600_000)));
        assert_eq!(start("{0: 17, 3:4}"), Ok(Start::Offsets(vec![(0, 17), (3, 4)])));
        for (bad, message) in [
            ("earlyest", "did you mean earliest?"),
            ("{0: 1, 0: 2}", "offsets look like"),
            ("{0: -1}", "offsets look like"),
            ("{}", "offsets look like"),
            ("soon", "committed, earliest, latest"),
        ] {
            let e = start(bad).unwrap_err();
            assert!(e.contains(message), "{bad}: {e}");
        }
        assert_eq!(source(&[("topic", "t")]).unwrap().start, Start::Earliest);
        let e = source(&[("topic", "t"), ("start", "committed")]).unwrap_err();
        assert_eq!(e, "start = 'committed' needs a group_id");
        let e = source(&[("topics", "t, u"), ("start", "{0: 1}")]).unwrap_err();
        assert_eq!(e, "'start' with offsets needs exactly one topic");
    }

    #[test]
    fn what_would_break_promises_is_reserved() {
        let e = source(&[("topic", "t"), ("kafka.enable.auto.commit", "true")]).unwrap_err();
        assert_eq!(
            e,
            "'kafka.enable.auto.commit' can't be set: offsets are committed after the job's own commit"
        );
        let o = source(&[("topic", "t"), ("kafka.client.id", "me")]).unwrap();
        assert_eq!(o.common.native, [("client.id".to_owned(), "me".to_owned())]);
    }

    #[test]
    fn servers_have_ports() {
        let options = |s| Options::new([("bootstrap_servers", s), ("topic", "t")]);
        for bad in ["", "localhost", "localhost:x", ":9092", "a:1,b"] {
            assert!(SourceOptions::new(&options(bad)).is_err(), "{bad}");
        }
        let good = SourceOptions::new(&options("a:1, [::1]:2")).unwrap();
        assert_eq!(good.common.servers, "a:1,[::1]:2");
    }

    #[test]
    fn a_sink_has_one_topic() {
        let options = |pairs: &[(&str, &str)]| {
            SinkOptions::new(&Options::new(
                [("bootstrap_servers", "a:1")].into_iter().chain(pairs.iter().copied()),
            ))
        };
        let e = options(&[("topics", "a, b")]).unwrap_err().to_string();
        assert_eq!(e, "a Kafka sink needs the option 'topic'");
        let sink = options(&[("topic", "t"), ("acks", "1"), ("changelog", "upsert")]).unwrap();
        assert_eq!((sink.topic.as_str(), sink.acks_all, sink.upsert), ("t", false, true));
        assert_eq!(sink.linger, Duration::from_millis(5));
    }
}

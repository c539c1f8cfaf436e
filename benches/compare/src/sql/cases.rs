//! What `sql` runs: the scenarios of the old engine's tables, and series in which one thing grows.

use millstream::record::RowKind;
use millstream::{FieldValue, StreamRecord};

/// A query that every table of the old engine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Filter and projection.
    Select,
    /// Moving average over the last rows.
    RowsWindow,
    /// GROUP BY with five aggregates.
    GroupBy,
    /// Tumbling window.
    Tumbling,
    /// Tumbling window with EMIT CHANGES.
    EmitChanges,
}

/// Groups, windows or frames that grow from run to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Series {
    /// GROUP BY with more and more keys.
    Keys,
    /// TUMBLING with longer and longer windows.
    Windows,
    /// Windows of an hour that begin each second, or each hour.
    Hop,
    /// A moving average over rows, or over the last hour.
    Range,
    /// EMIT CHANGES with more groups in each window.
    Changes,
}

pub const SCENARIOS: [Scenario; 5] =
    [Scenario::Select, Scenario::GroupBy, Scenario::Tumbling, Scenario::RowsWindow, Scenario::EmitChanges];
pub const SERIES: [Series; 5] = [Series::Keys, Series::Windows, Series::Hop, Series::Range, Series::Changes];

/// How rows of the result are counted, so that a lost or doubled record is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Half of the records: those that the filter of SELECT passes.
    Half,
    /// A row for each record.
    Each,
    /// The first column counts records: all of them, this many times.
    Counted(u64),
}

impl Check {
    /// What the sink must have counted of `n` records.
    pub fn expected(self, n: u64) -> u64 {
        match self {
            Check::Half => n / 1000 * 500 + (n % 1000).saturating_sub(500),
            Check::Each => n,
            Check::Counted(times) => n * times,
        }
    }
    /// What a row of the result adds to that.
    pub fn weight(self, record: &StreamRecord) -> i64 {
        let count = match (self, record.values().first()) {
            (Check::Half | Check::Each, _) => 1,
            (_, Some(FieldValue::Integer(n))) => *n,
            _ => 0,
        };
        match record.kind() {
            RowKind::UpdateBefore | RowKind::Delete => -count,
            _ => count,
        }
    }
}

/// One query over records of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The scenario's name, or where on its series it stands.
    pub name: String,
    pub sql: String,
    pub check: Check,
    /// Different values of `name`.
    pub keys: u64,
    /// Between two records, in µs of event time.
    pub step: i64,
    /// Records, of those that the run is asked for.
    pub share: f64,
    /// How often they are given.
    pub rounds: u64,
    /// The source says how far time has come.
    pub watermark: bool,
    /// Records a second on one core that are aimed at, and at least.
    pub aim: Option<f64>,
    pub least: Option<f64>,
}

impl Case {
    fn new(name: impl Into<String>, check: Check, sql: impl Into<String>) -> Self {
        let (name, sql) = (name.into(), sql.into());
        Self {
            name,
            sql,
            check,
            keys: 8,
            step: 1000,
            share: 1.0,
            rounds: 1,
            watermark: false,
            aim: None,
            least: None,
        }
    }
    fn timed(self) -> Self {
        Self { watermark: true, ..self }
    }
}

/// The window of a query that counts and averages by name.
fn windowed(name: impl Into<String>, window: &str, times: u64, emit: &str) -> Case {
    let sql = format!(
        "SELECT COUNT(*) AS n, name, window_start, AVG(amount) AS mean FROM {window} \
         GROUP BY name, window_start, window_end{emit}"
    );
    Case::new(name, Check::Counted(times), sql).timed()
}

const GROUP_BY: &str = "SELECT COUNT(*) AS n, name, SUM(amount) AS total, AVG(amount) AS mean, MIN(amount) AS low, \
                        MAX(amount) AS high FROM source GROUP BY name";

impl Scenario {
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Select => "SELECT",
            Scenario::RowsWindow => "ROWS WINDOW",
            Scenario::GroupBy => "GROUP BY",
            Scenario::Tumbling => "TUMBLING",
            Scenario::EmitChanges => "EMIT CHANGES",
        }
    }
    pub fn case(self) -> Case {
        let second = "TUMBLE(source, ts, INTERVAL '1' SECOND)";
        let (case, aim) = match self {
            Scenario::Select => {
                let sql = "SELECT id, amount * 2 AS twice, name FROM source WHERE amount >= 125";
                (Case::new(self.name(), Check::Half, sql), 8e6)
            }
            Scenario::RowsWindow => (moving(self.name(), "ROWS BETWEEN 99 PRECEDING AND CURRENT ROW"), 3e6),
            Scenario::GroupBy => (Case::new(self.name(), Check::Counted(1), GROUP_BY), 8e6),
            Scenario::Tumbling => (windowed(self.name(), second, 1, ""), 5e6),
            Scenario::EmitChanges => (windowed(self.name(), second, 1, " EMIT CHANGES"), 2e6),
        };
        Case { aim: Some(aim), least: Some(aim / 2.0), ..case }
    }
}

fn moving(name: &str, frame: &str) -> Case {
    let sql =
        format!("SELECT id, AVG(amount) OVER (PARTITION BY name ORDER BY ts {frame}) AS moving FROM source");
    Case::new(name, Check::Each, sql).timed()
}

/// Groupings whose shards may be worth a second thread.
pub fn costly() -> Vec<Case> {
    let many = Case {
        keys: 100_000,
        share: 2.0,
        ..Case::new("five aggregates, 100,000 keys", Check::Counted(1), GROUP_BY)
    };
    let sql = "SELECT COUNT(*) AS n, name, COUNT(DISTINCT id % 100) AS different, STDDEV(amount) AS spread, MEDIAN(amount) AS middle, \
               APPROX_COUNT_DISTINCT(id) AS about, MAX(amount) AS high FROM source GROUP BY name";
    vec![many, Case { keys: 1000, ..Case::new("costly aggregates, 1,000 keys", Check::Counted(1), sql) }]
}

impl Series {
    pub fn name(self) -> &'static str {
        match self {
            Series::Keys => "GROUP BY, keys",
            Series::Windows => "TUMBLING, window",
            Series::Hop => "HOP",
            Series::Range => "OVER",
            Series::Changes => "EMIT CHANGES, groups per window",
        }
    }
    /// How much more a record may cost at the end of the series than at its beginning.
    pub fn most(self) -> Option<f64> {
        match self {
            Series::Keys | Series::Windows => Some(2.0),
            Series::Hop | Series::Range => Some(4.0),
            Series::Changes => None,
        }
    }
    /// Its points, the first of which the others are compared with.
    pub fn cases(self) -> Vec<Case> {
        match self {
            Series::Keys => [(1, "1"), (1000, "1,000"), (100_000, "100,000"), (1_000_000, "1,000,000")]
                .map(|(keys, name)| {
                    let case = Case::new(name, Check::Counted(1), GROUP_BY);
                    // Each key 32 times: what making and telling a group costs once is a small part.
                    Case { keys, share: 4.0, rounds: 8, ..case }
                })
                .into(),
            Series::Windows => ["1 SECOND", "1 MINUTE", "1 HOUR"]
                .map(|size| {
                    let (n, unit) = size.split_once(' ').unwrap_or((size, ""));
                    let window = format!("TUMBLE(source, ts, INTERVAL '{n}' {unit})");
                    // 500 records a second: 2,000 s and more.
                    Case { step: 2000, share: 4.0, ..windowed(size.to_lowercase(), &window, 1, "") }
                })
                .into(),
            Series::Hop => [("1 h by 1 h", "HOUR", 1), ("1 h by 1 s", "SECOND", 3600)]
                .map(|(name, slide, times)| {
                    let window = format!("HOP(source, ts, INTERVAL '1' {slide}, INTERVAL '1' HOUR)");
                    // 25 records a second, for hours.
                    Case { step: 40_000, share: 0.25, ..windowed(name, &window, times, "") }
                })
                .into(),
            Series::Range => {
                let range = "RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW";
                [("100 rows", "ROWS BETWEEN 99 PRECEDING AND CURRENT ROW"), ("1 h", range)]
                    .map(|(name, frame)| Case { step: 10_000, ..moving(name, frame) })
                    .into()
            }
            Series::Changes => [8, 5000]
                .map(|keys| {
                    let window = "TUMBLE(source, ts, INTERVAL '1' MINUTE)";
                    let name = if keys == 8 { "8" } else { "5,000" };
                    let case = windowed(name, window, 1, " EMIT CHANGES");
                    // 60,000 records a window; each batch touches a fifth of its groups at most.
                    Case { keys, least: Some(1e6), ..case }
                })
                .into(),
        }
    }
}

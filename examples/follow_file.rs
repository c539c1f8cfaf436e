//! Following a file that somebody else appends to, as `tail -F` does, until the job is told to stop.

use std::io::Write;
use std::time::Duration;

use millstream::{Engine, Stop};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("millstream-follow-{}.jsonl", std::process::id()));
    let mut log = std::fs::File::create(&path)?;
    writeln!(log, r#"{{"level":"info","message":"started"}}"#)?;

    let engine = Engine::new();
    let mut job = engine
        .sql(&format!(
            "CREATE STREAM log (level VARCHAR, message VARCHAR)
               WITH (connector = 'file', path = '{}', format = 'json', follow = 'true');
             SELECT message FROM log WHERE level <> 'debug';",
            path.display()
        ))?
        .start()?;
    let mut rows = job.take_rows().ok_or("a bare SELECT has rows")?;
    let mut next = || rows.next_timeout(Duration::from_secs(10)).ok_or("no row came");

    println!("{:?}", next()?.get("message"));
    writeln!(log, r#"{{"level":"debug","message":"not this one"}}"#)?;
    write!(log, r#"{{"level":"warn","message":"in two"#)?; // a partial line is never emitted
    log.flush()?;
    writeln!(log, r#" pieces"}}"#)?;
    let row = next()?;
    println!("{:?}", row.get("message"));
    assert_eq!(row.get("message").and_then(|m| m.as_str()), Some("in two pieces"));

    job.stop(Stop::Drain);
    let stats = job.wait()?;
    println!("{} lines read, {} given", stats.records_in, stats.records_out);
    std::fs::remove_file(path)?;
    Ok(())
}

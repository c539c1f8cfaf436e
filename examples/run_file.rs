//! Runs a pipeline file.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = millstream::Engine::new();
    let path = std::env::args().nth(1).ok_or("usage: run_file PIPELINE.sql")?;
    for kv in std::env::args().skip(2) {
        if let Some((k, v)) = kv.split_once('=') {
            engine.set(k, v)?;
        }
    }
    let text = std::fs::read_to_string(&path)?;
    let prepared = match engine.pipeline(&path, &text) {
        Ok(p) => p,
        Err(e) => {
            eprintln!("{e}");
            std::process::exit(2);
        }
    };
    for mut job in prepared.start_all()? {
        for row in job.rows() {
            println!("{}", serde_json::to_string(&*row)?);
        }
        match job.wait() {
            Ok(stats) => eprintln!("{}", serde_json::to_string_pretty(&stats)?),
            Err(e) => eprintln!("error: {e}"),
        }
    }
    Ok(())
}

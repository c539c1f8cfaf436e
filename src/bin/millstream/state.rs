//! `state list|verify|inspect DIR`: what is in state directories, without touching it.

use std::io::Write;
use std::path::{Path, PathBuf};

use millstream::record::text::write_timestamp;
use millstream::state::{
    Checkpoint, Committed, Disk, Medium, checkpoint_files, inspect_store, read_checkpoint, scan,
};

use super::Failed;
use super::args::StateCommand;

/// Longer than any MANIFEST.
const MAX_MANIFEST: u64 = 1 << 32;

/// `millstream state …`.
pub(crate) fn state(command: &StateCommand) -> Result<u8, Failed> {
    match command {
        StateCommand::List { dir } => list(dir),
        StateCommand::Verify { dir } => verify(dir),
        StateCommand::Inspect { dir } => inspect(dir),
    }
}

/// The directories of jobs: `dir` itself, or those in it.
fn jobs(dir: &Path) -> Result<Vec<PathBuf>, Failed> {
    let failed = |e: std::io::Error| Failed::usage(format!("can't read {}: {e}", dir.display()));
    let is_job = |dir: &Path| {
        dir.join("LOCK").exists() || checkpoint_files(&Disk, dir).is_ok_and(|files| !files.is_empty())
    };
    let mut found = Vec::new();
    if is_job(dir) {
        found.push(dir.to_owned());
    } else {
        found.extend(Disk.list(dir).map_err(failed)?.into_iter().filter(|p| p.is_dir() && is_job(p)));
    }
    found.sort();
    match found.is_empty() {
        true => Err(Failed::usage(format!("{} holds no state of a job", dir.display()))),
        false => Ok(found),
    }
}

/// What the MANIFEST of a job says, if there is one.
fn manifest(job: &Path) -> Result<Option<(Committed, u64)>, String> {
    let path = job.join("MANIFEST");
    if !path.exists() {
        return Ok(None);
    }
    let bytes = Disk.read(&path, MAX_MANIFEST).map_err(|e| format!("can't read {}: {e}", path.display()))?;
    let state = scan(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(Some((state, bytes.len() as u64)))
}

/// The checkpoint that the job would go on from.
fn current(job: &Path) -> Result<Option<Checkpoint>, String> {
    let files = checkpoint_files(&Disk, job).map_err(|e| e.to_string())?;
    let committed = manifest(job)?.map(|(state, _)| state.last.map_or(0, |c| c.epoch));
    let mut error = None;
    for (epoch, file) in files.into_iter().rev() {
        if committed.is_some_and(|c| c != epoch) {
            continue;
        }
        match read_checkpoint(&Disk, &file) {
            Ok(checkpoint) => return Ok(Some(checkpoint)),
            Err(e) => error = Some(error.unwrap_or(e.to_string())),
        }
    }
    error.map_or(Ok(None), Err)
}

fn is_running(job: &Path) -> bool {
    let lock = job.join("LOCK");
    lock.exists() && matches!(Disk.lock(&lock), Ok(None))
}

fn list(dir: &Path) -> Result<u8, Failed> {
    let jobs = jobs(dir)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<24} {:<13} {:>8} {:>12}  state", "job", "mode", "epoch", "bytes")?;
    for job in jobs {
        let mode = if job.join("MANIFEST").exists() { "transactional" } else { "simple" };
        let files = checkpoint_files(&Disk, &job).unwrap_or_default();
        let bytes: u64 = files.iter().filter_map(|(_, f)| Disk.len(f).ok()).sum();
        let (name, epoch, state) = match current(&job) {
            Ok(Some(c)) if c.finished => (c.job, c.epoch.to_string(), "finished".to_owned()),
            Ok(Some(c)) if is_running(&job) => (c.job, c.epoch.to_string(), "running".to_owned()),
            Ok(Some(c)) => (c.job, c.epoch.to_string(), "stopped".to_owned()),
            Ok(None) => (directory_name(&job), "-".to_owned(), "nothing committed".to_owned()),
            Err(_) => (directory_name(&job), "-".to_owned(), "damaged".to_owned()),
        };
        writeln!(out, "{name:<24} {mode:<13} {epoch:>8} {bytes:>12}  {state}")?;
    }
    Ok(0)
}

fn directory_name(job: &Path) -> String {
    job.file_name().map_or_else(|| job.display().to_string(), |n| n.to_string_lossy().into_owned())
}

fn verify(dir: &Path) -> Result<u8, Failed> {
    let mut out = std::io::stdout().lock();
    let mut damaged = 0;
    for job in jobs(dir)? {
        match manifest(&job) {
            Ok(None) => {}
            Ok(Some((state, len))) => {
                let torn = len.saturating_sub(state.good);
                let tail =
                    if torn > 0 { format!(", and {torn} bytes of a torn record") } else { String::new() };
                writeln!(out, "{}: sound, {} records{tail}", job.join("MANIFEST").display(), state.records)?;
            }
            Err(e) => {
                damaged += 1;
                writeln!(out, "{e}")?;
            }
        }
        for (epoch, file) in checkpoint_files(&Disk, &job).map_err(|e| Failed::usage(e.to_string()))? {
            match read_checkpoint(&Disk, &file) {
                Ok(c) if c.epoch == epoch => {
                    let before = c.before.map(|b| format!("changes since epoch {}, ", b.epoch));
                    writeln!(out, "{}: {}sound", file.display(), before.unwrap_or_default())?;
                }
                Ok(c) => {
                    damaged += 1;
                    writeln!(out, "{}: it is that of epoch {}", file.display(), c.epoch)?;
                }
                Err(e) => {
                    damaged += 1;
                    writeln!(out, "{e}")?;
                }
            }
        }
    }
    Ok(u8::from(damaged > 0))
}

fn inspect(dir: &Path) -> Result<u8, Failed> {
    let mut out = std::io::stdout().lock();
    let mut code = 0;
    for (i, job) in jobs(dir)?.iter().enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        match current(job) {
            Ok(Some(checkpoint)) => show(&mut out, job, &checkpoint)?,
            Ok(None) => writeln!(out, "{}: nothing committed", job.display())?,
            Err(e) => {
                code = 1;
                writeln!(out, "{e}")?;
            }
        }
    }
    Ok(code)
}

fn show(out: &mut impl Write, job: &Path, c: &Checkpoint) -> std::io::Result<()> {
    writeln!(out, "job {} in {}", c.job, job.display())?;
    let end = if c.finished { ", finished" } else { "" };
    writeln!(out, "  epoch {}{end}, written by version {}, plan {:08x}", c.epoch, c.engine, c.plan)?;
    if let Some(before) = c.before {
        writeln!(
            out,
            "  its file has what changed since epoch {}; the rest is in that epoch's",
            before.epoch
        )?;
    }
    if let Ok(Some((state, _))) = manifest(job) {
        let shown =
            if state.published { "all files have their names" } else { "files may still have to be renamed" };
        writeln!(out, "  transactional: {shown}")?;
    }
    for source in &c.sources {
        let end = if source.ended { " (ended)" } else { "" };
        writeln!(out, "  source {}: {}{end}", source.name, source.position)?;
    }
    for (name, position) in &c.sinks {
        writeln!(out, "  sink {name}: {position}")?;
    }
    match inspect_store(job) {
        Ok(None) => {}
        Ok(Some(spaces)) => {
            let bytes = Disk.len(&job.join("groups.redb")).unwrap_or(0);
            writeln!(out, "  groups on disk: groups.redb, {bytes} bytes")?;
            for (operator, groups) in spaces {
                writeln!(out, "    of operator {operator}: {groups}")?;
            }
        }
        Err(e) => writeln!(out, "  groups on disk: {e}")?,
    }
    for o in &c.operators {
        let tables: usize = o.tables.iter().flat_map(|t| &t.pieces).map(Vec::len).sum();
        let bytes = o.state.len() + tables;
        let kept = if o.stateful { format!("{bytes} bytes of state") } else { "no state".to_owned() };
        let watermark = if o.watermark == i64::MIN {
            String::new()
        } else {
            format!(", watermark {}", time(o.watermark))
        };
        writeln!(out, "  operator {}: {kept}{watermark}", o.id)?;
    }
    Ok(())
}

fn time(micros: i64) -> String {
    let mut text = Vec::new();
    write_timestamp(micros, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

//! `generate`: sample data through the engine's own generator.

use millstream::Engine;
use millstream::codec::Format;
use millstream::connector::generator::PRESETS;

use super::args::GenerateArgs;
use super::{Failed, output, progress};

/// `millstream generate PRESET`.
pub(crate) fn generate(args: &GenerateArgs) -> Result<u8, Failed> {
    let quote = |s: &str| s.replace('\'', "''");
    let own = PRESETS.iter().find(|p| p.name == args.preset).map_or("", |p| p.file);
    let format = match &args.format {
        Some(f) => format!(", format = '{}'", quote(f)),
        None if own.is_empty() => String::new(),
        None => format!(", {own}"),
    };
    if let (Some(path), None, true) = (&args.out, &args.format, own.is_empty())
        && Format::for_path(&path.to_string_lossy()).is_none()
    {
        let known = "add --format, one of json, csv, tsv";
        return Err(Failed::usage(format!("can't tell the format of '{}': {known}", path.display())));
    }
    let target = match &args.out {
        Some(path) => format!("connector = 'file', path = '{}'", quote(&path.display().to_string())),
        None => "connector = 'stdout'".to_owned(),
    };
    let sql = format!(
        "CREATE STREAM rows WITH (connector = 'generator', preset = '{}', rows = '{}', seed = '{}');
         CREATE STREAM target WITH ({target}{format});
         INSERT INTO target SELECT * FROM rows;",
        quote(&args.preset),
        args.rows,
        args.seed
    );
    let prepared = Engine::new().pipeline("generate", &sql).map_err(|e| match e {
        // The statements are none of the user's.
        millstream::Error::Sql(e) => {
            Failed::usage(e.diagnostics.first().map(|d| d.to_string()).unwrap_or_default())
        }
        other => other.into(),
    })?;
    let stats = match prepared.start()?.wait() {
        Err(millstream::Error::Job(millstream::job::JobError::BrokenPipe { .. })) => return Ok(0),
        other => other?,
    };
    if args.out.is_some() {
        output::say(&progress::summary(&stats));
    }
    Ok(0)
}

//! Two jobs of one text with state and one dead letter file: refused, as each would cut back the other's letters.

use millstream::Engine;

const TEXT: &str = "
    CREATE STREAM a (n BIGINT) WITH (connector = 'generator', rows = '1', on_error = 'dlq', dlq = 'bad.jsonl');
    CREATE STREAM b (n BIGINT) WITH (connector = 'generator', rows = '1', on_error = 'dlq', dlq = '{b}');
    CREATE STREAM x WITH (connector = 'blackhole');
    CREATE STREAM y WITH (connector = 'blackhole');
    INSERT INTO x SELECT n FROM a;
    INSERT INTO y SELECT n FROM b;";

fn prepare(letters_of_b: &str, state: Option<&str>) -> Result<usize, String> {
    let engine = Engine::new();
    if let Some(state) = state {
        engine.set("state", state).unwrap();
    }
    engine.sql(&TEXT.replace("{b}", letters_of_b)).map(|p| p.jobs().len()).map_err(|e| e.to_string())
}

#[test]
fn jobs_that_keep_state_need_dead_letter_files_of_their_own() {
    let refused = prepare("bad.jsonl", Some("state")).unwrap_err();
    assert!(refused.contains("share a dead letter file"), "{refused}");
    assert_eq!(prepare("worse.jsonl", Some("state")), Ok(2));
    assert_eq!(prepare("bad.jsonl", None), Ok(2));
}

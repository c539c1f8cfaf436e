//! `--state`: a job goes on where it was, and nobody else may.

use super::tool::{Place, wait_until};

fn rows(range: std::ops::Range<u32>) -> String {
    range.map(|a| format!("{{\"a\":{a}}}\n")).collect()
}

/// A job over `in.jsonl`, followed or not.
fn job(place: &Place, options: &str) {
    place.put(
        "job.sql",
        format!(
            "CREATE STREAM i WITH (connector = 'file', path = 'in.jsonl'{options});
             CREATE STREAM o WITH (connector = 'file', path = 'out.jsonl');
             INSERT INTO o SELECT a FROM i;"
        ),
    );
}

const RUN: &[&str] = &["run", "job.sql", "--state", "state"];

#[test]
fn a_second_run_of_a_finished_job_has_nothing_to_do() {
    let place = Place::new();
    job(&place, "");
    place.put("in.jsonl", rows(0..100));
    place.run(RUN).gives(0).says(&["100 rows read"]);
    place.run(RUN).gives(0).says(&["job: finished in an earlier run, nothing to do"]);
    assert_eq!(place.get("out.jsonl"), rows(0..100));
    // Finished is finished: what comes later is for a job that follows its file.
    place.append("in.jsonl", &rows(100..110));
    place.run(RUN).gives(0).says(&["finished in an earlier run"]);
    assert_eq!(place.get("out.jsonl"), rows(0..100));
}

#[test]
fn a_stopped_job_goes_on_where_it_was() {
    let place = Place::new();
    job(&place, ", follow = 'true'");
    place.put("in.jsonl", rows(0..100));
    for end in [100, 150] {
        let running = place.start(RUN);
        wait_until("the rows", || place.get("out.jsonl").lines().count() == end);
        running.signal("TERM");
        running.finish().gives(0);
        place.append("in.jsonl", &rows(100..150).repeat(usize::from(end == 100)));
    }
    assert_eq!(place.get("out.jsonl"), rows(0..150));
}

#[test]
fn without_state_a_run_starts_over() {
    let place = Place::new();
    job(&place, "");
    place.put("in.jsonl", rows(0..100));
    place.run(&["run", "job.sql"]).gives(0);
    place.run(&["run", "job.sql"]).gives(0).says(&["100 rows read"]);
    assert_eq!(place.get("out.jsonl"), rows(0..100));
}

#[test]
fn a_state_directory_that_does_not_fit_is_a_mistake_in_the_call() {
    let place = Place::new();
    job(&place, "");
    place.put("in.jsonl", rows(0..10));
    place.run(RUN).gives(0);
    let text = place.get("job.sql").replace("SELECT a", "SELECT a + 1 AS a");
    place.put("job.sql", text);
    place.run(RUN).fails_as_usage(&["was written by another query", "--state"]);
    place
        .run(&["run", "job.sql", "--state", "in.jsonl"])
        .fails_as_usage(&["can't create the state directory in.jsonl"]);
    assert_eq!(place.get("out.jsonl"), rows(0..10));
}

#[test]
fn a_second_instance_is_kept_out() {
    let place = Place::new();
    job(&place, ", follow = 'true'");
    place.put("in.jsonl", rows(0..10));
    let first = place.start(RUN);
    wait_until("ten rows", || place.get("out.jsonl").lines().count() == 10);
    let second = place.run(RUN).gives(3).says(&["another instance", "state"]);
    assert_eq!(second.out, "");
    // The first one is none the worse for it.
    place.append("in.jsonl", &rows(10..20));
    wait_until("ten more", || place.get("out.jsonl").lines().count() == 20);
    first.signal("TERM");
    first.finish().gives(0);
    assert_eq!(place.get("out.jsonl"), rows(0..20));
}

#[test]
fn a_killed_job_goes_on_without_loss_and_cuts_its_file_back() {
    let place = Place::new();
    job(&place, ", follow = 'true'");
    place.put("in.jsonl", rows(0..10));
    let mut end = 10;
    for round in 0..4 {
        let args = [RUN, &["--set", "commit_interval=20ms"]].concat();
        let running = place.start(&args);
        wait_until("what is there", || place.get("out.jsonl").lines().count() >= end as usize);
        place.append("in.jsonl", &rows(end..end + 50));
        end += 50;
        if round % 2 == 0 {
            // Somewhere between the first of the new rows and the commit of the last.
            wait_until("new rows", || place.get("out.jsonl").lines().count() > end as usize - 50);
        }
        running.signal("KILL");
        running.finish().gives(137);
        // What a torn write leaves.
        place.append("out.jsonl", "{\"a\":");
    }
    job(&place, "");
    place.run(RUN).gives(0);
    let text = place.get("out.jsonl");
    let mut got: Vec<u64> = super::tool::objects(&text).iter().map(|r| r["a"].as_u64().unwrap()).collect();
    // The file was cut back to the last commit each time: nothing is there twice either.
    got.sort_unstable();
    assert_eq!(got, (0..u64::from(end)).collect::<Vec<_>>());
}

#[test]
fn state_directories_can_be_looked_into() {
    let place = Place::new();
    job(&place, "");
    place.put("in.jsonl", rows(0..100));
    place.run(&["state", "list", "state"]).fails_as_usage(&["can't read state"]);
    place.run(RUN).gives(0);
    place.run(&["run", "job.sql", "--state", "state", "--set", "job_name=other"]).gives(0);
    let list = place.run(&["state", "list", "state"]).gives(0).out;
    assert!(list.lines().count() == 3 && list.contains("finished") && list.contains("simple"), "{list}");
    let shown = place.run(&["state", "inspect", "state/job"]).gives(0).out;
    for part in
        ["job job in state/job", "finished", "source i: in.jsonl byte 890", "(ended)", "sink o: 890 bytes"]
    {
        assert!(shown.contains(part), "'{part}' is not in\n{shown}");
    }
    let sound = place.run(&["state", "verify", "state"]).gives(0).out;
    assert!(sound.lines().all(|l| l.ends_with(": sound")) && sound.lines().count() >= 4, "{sound}");
    let newest = sound.lines().rfind(|l| l.contains("state/job/")).unwrap();
    let newest = newest.trim_end_matches(": sound");
    let mut bytes = std::fs::read(place.path(newest)).unwrap();
    bytes[40] ^= 1;
    place.put(newest, bytes);
    let damaged = place.run(&["state", "verify", "state"]).gives(1).out;
    assert!(damaged.contains("damaged"), "{damaged}");
    place.run(&["state", "verify", "in.jsonl"]).fails_as_usage(&["can't read in.jsonl"]);
}

#[test]
fn a_transactional_job_that_is_killed_shows_whole_parts_and_each_row_once() {
    let place = Place::new();
    place.put(
        "job.sql",
        "SET mode = 'transactional'; SET commit_interval = '20ms';
         CREATE STREAM i WITH (connector = 'file', path = 'in.jsonl', follow = 'true');
         CREATE STREAM o WITH (connector = 'file', path = 'out', format = 'json');
         INSERT INTO o SELECT a FROM i;",
    );
    place.put("in.jsonl", rows(0..10));
    place.run(&["check", "job.sql"]).fails_as_usage(&["needs a state directory"]);
    let shown = || {
        let mut parts: Vec<_> = std::fs::read_dir(place.path("out"))
            .into_iter()
            .flatten()
            .map(|e| e.unwrap().path())
            .filter(|p| p.is_file())
            .collect();
        parts.sort();
        parts.iter().map(|p| std::fs::read_to_string(p).unwrap()).collect::<String>()
    };
    let mut end = 10;
    for round in 0..4 {
        let running = place.start(RUN);
        if round % 2 == 0 {
            wait_until("what is there", || shown() == rows(0..end));
        }
        place.append("in.jsonl", &rows(end..end + 50));
        end += 50;
        running.signal("KILL");
        running.finish().gives(137);
        assert!(rows(0..end).starts_with(&shown()), "{}", shown());
    }
    let running = place.start(RUN);
    wait_until("all", || shown() == rows(0..end));
    running.signal("TERM");
    running.finish().gives(0);
    assert_eq!(shown(), rows(0..end));
}

#[test]
fn groups_go_on_from_the_state_and_without_one_that_is_said() {
    let place = Place::new();
    place.put(
        "job.sql",
        "CREATE STREAM i WITH (connector = 'file', path = 'in.jsonl', follow = 'true');
         CREATE STREAM o WITH (connector = 'file', path = 'out.jsonl', format = 'debezium-json');
         INSERT INTO o SELECT a % 2 AS k, count(*) AS c FROM i GROUP BY a % 2;",
    );
    place.put("in.jsonl", rows(0..10));
    let counts = |args: &[&str], wanted: &str| {
        let running = place.start(args);
        wait_until("the counts", || place.get("out.jsonl").contains(wanted));
        running.signal("TERM");
        running.finish().gives(0)
    };
    counts(&["run", "job.sql"], "\"c\":5").says(&["commits no position of source i", "--state"]);
    std::fs::remove_file(place.path("out.jsonl")).unwrap();
    let first = counts(RUN, "\"c\":5");
    assert!(!first.err.contains("commits no position"), "{}", first.err);
    place.append("in.jsonl", &rows(10..20));
    counts(RUN, "\"c\":10");
}

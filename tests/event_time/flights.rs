//! The examples over flights against plain loops.

use millstream::Engine;

/// A line of the sample flights.
struct Flight {
    hour: String,
    origin: String,
    tailnum: String,
    carrier: String,
    number: String,
    delay: Option<i64>,
    cancelled: bool,
    miles: i64,
}

fn flights() -> Vec<Flight> {
    let text = std::fs::read_to_string("examples/data/flights.csv").unwrap();
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let known = |i: usize| Some(fields[i]).filter(|f| *f != "NA");
        Flight {
            hour: fields[18].to_owned(),
            origin: fields[12].to_owned(),
            tailnum: fields[11].to_owned(),
            carrier: fields[9].to_owned(),
            number: fields[10].to_owned(),
            delay: known(5).map(|d| d.parse().unwrap()),
            cancelled: known(3).is_none(),
            miles: fields[15].parse().unwrap(),
        }
    };
    text.lines().skip(1).map(line).collect()
}

/// Hours since the year began: the file ends with 1 February.
fn hour(f: &Flight) -> i64 {
    let part = |range: std::ops::Range<usize>| f.hour[range].parse::<i64>().unwrap();
    ((part(5..7) - 1) * 31 + part(8..10) - 1) * 24 + part(11..13)
}

/// Runs a pipeline of the examples; gives the file that it writes.
fn example(name: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out.csv");
    let text = std::fs::read_to_string(format!("examples/{name}.sql")).unwrap();
    let default = format!("${{OUT:-target/{name}.csv}}");
    assert!(text.contains(&default));
    let text = text.replace(&default, out.to_str().unwrap());
    let mut job = Engine::new().pipeline(name, &text).unwrap_or_else(|e| panic!("{e}")).start().unwrap();
    assert_eq!(job.rows().count(), 6, "a bare SELECT that shows a few");
    job.wait().unwrap();
    std::fs::read_to_string(&out).unwrap()
}

#[test]
fn the_example_of_flights_per_hour_counts_what_a_loop_counts() {
    let mut groups: Vec<(String, String, Vec<&Flight>)> = Vec::new();
    let flights = flights();
    for flight in &flights {
        let same = |g: &&mut (String, String, Vec<&Flight>)| g.0 == flight.hour && g.1 == flight.origin;
        match groups.iter_mut().rev().take(3).find(same) {
            Some(group) => group.2.push(flight),
            None => groups.push((flight.hour.clone(), flight.origin.clone(), vec![flight])),
        }
    }
    let lines = groups.iter().map(|(hour, origin, all)| {
        let delays: Vec<i64> = all.iter().filter_map(|f| f.delay).collect();
        let or_empty = |n: Option<i64>| n.map_or_else(String::new, |n| n.to_string());
        let minutes = or_empty((!delays.is_empty()).then(|| delays.iter().sum()));
        let late = delays.iter().filter(|d| **d >= 15).count();
        let cancelled = all.iter().filter(|f| f.cancelled).count();
        let worst = or_empty(delays.iter().max().copied());
        format!("{hour},{origin},{},{late},{cancelled},{minutes},{worst}\n", all.len())
    });
    let expected =
        "hour,origin,flights,late,cancelled,minutes,worst\n".to_owned() + &lines.collect::<String>();
    assert_eq!(example("flights_per_hour"), expected);
}

#[test]
fn the_example_of_aircraft_sessions_gives_what_a_loop_gives() {
    let flights = flights();
    let mut sessions: Vec<Vec<&Flight>> = Vec::new();
    let mut last: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
    for flight in &flights {
        let open = last.get(flight.tailnum.as_str()).copied();
        match open.filter(|at| hour(flight) - hour(sessions[*at].last().unwrap()) < 10) {
            Some(at) => sessions[at].push(flight),
            None => {
                last.insert(&flight.tailnum, sessions.len());
                sessions.push(vec![flight]);
            }
        }
    }
    sessions.sort_by_key(|s| (hour(s.last().unwrap()), hour(s[0])));
    let lines = sessions.iter().map(|s| {
        let miles: i64 = s.iter().map(|f| f.miles).sum();
        let (first, end) = (&s[0].hour, &s.last().unwrap().hour);
        format!("{},{first},{end},{},{miles}\n", s[0].tailnum, s.len())
    });
    let expected = "tailnum,first,last,flights,miles\n".to_owned() + &lines.collect::<String>();
    assert_eq!(example("aircraft_sessions"), expected);
}

#[test]
fn the_example_of_top_carriers_ranks_as_a_loop_ranks() {
    let mut days: std::collections::BTreeMap<String, std::collections::BTreeMap<String, i64>> =
        Default::default();
    for flight in &flights() {
        let day = days.entry(flight.hour[..10].to_owned()).or_default();
        *day.entry(flight.carrier.clone()).or_default() += 1;
    }
    let mut expected = "day,place,carrier,flights\n".to_owned();
    for (day, carriers) in &days {
        let mut ranked: Vec<_> = carriers.iter().collect();
        ranked.sort_by_key(|(carrier, n)| (-**n, (*carrier).clone()));
        for (i, (carrier, n)) in ranked.into_iter().take(3).enumerate() {
            expected += &format!("{day}T00:00:00Z,{},{carrier},{n}\n", i + 1);
        }
    }
    assert_eq!(example("top_carriers"), expected);
}

#[test]
fn the_example_of_moving_delays_gives_what_a_loop_gives() {
    let flights = flights();
    let hours: Vec<i64> = flights.iter().map(hour).collect();
    let mut expected = "time_hour,origin,carrier,flight,dep_delay,minutes,flown,mean\n".to_owned();
    for (i, flight) in flights.iter().enumerate() {
        let before = (0..i).rev().take_while(|j| hours[i] - hours[*j] <= 6);
        let behind = (i..flights.len()).take_while(|j| hours[*j] == hours[i]);
        let frame = before.chain(behind).filter(|j| flights[*j].origin == flight.origin);
        let delays: Vec<i64> = frame.filter_map(|j| flights[j].delay).collect();
        let or_empty = |n: Option<i64>| n.map_or_else(String::new, |n| n.to_string());
        let some = !delays.is_empty();
        let sum: i64 = delays.iter().sum();
        // To the nearest minute: a DOUBLE rounds halves to even, as in PostgreSQL.
        let n = delays.len() as i64;
        let nearest = |sum: i64| match (sum / n, 2 * (sum % n) - n) {
            (down, rest) if rest < 0 || (rest == 0 && down % 2 == 0) => down,
            (down, _) => down + 1,
        };
        let mean = some.then(|| nearest(sum.abs()) * sum.signum());
        expected += &format!(
            "{},{},{},{},{},{},{n},{}\n",
            flight.hour,
            flight.origin,
            flight.carrier,
            flight.number,
            or_empty(flight.delay),
            or_empty(some.then_some(sum)),
            or_empty(mean),
        );
    }
    assert_eq!(example("moving_delay"), expected);
}

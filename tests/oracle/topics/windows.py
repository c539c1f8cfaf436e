"""Event time and windows: every spelling, lateness, nesting. Expected rows come from the reference below, which keeps all rows of all
windows and looks at every window before each row; of the flights, from SQLite."""

import csv
import json
import pathlib
import random
import sqlite3
from datetime import datetime, timedelta, timezone

import oracles

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
DELAY = 5


def clicks():
    """Rows up to 12 s out of order, some far too late, ties, NULLs, a gap of several windows."""
    rng = random.Random(20260101)
    now, rows = 0, []
    for i in range(60):
        now += rng.choice([0, 1, 2, 4, 7, 11])
        if i == 30:
            now += 260
        t = now - rng.choice([0, 0, 0, 3, 6, 12])
        if i in (17, 44):
            t = now - 90
        rows.append({"k": rng.choice(["a", "a", "b", "c", None]), "x": rng.choice([1, 2, 3, 5, 8, None]), "ts": max(t, 0)})
    return rows


def stamp(seconds):
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def tumble(size):
    return hop(size, size)


def hop(slide, size):
    def windows(t):
        last = t // slide * slide
        starts = [last - i * slide for i in range(size // slide + 2)]
        return sorted((s + size, s) for s in starts if s <= t < s + size)
    return windows


def cumulate(step, size):
    def windows(t):
        start = t // size * size
        return [(start + e, start) for e in range(step, size + 1, step) if t < start + e]
    return windows


def reference(rows, windows, by, lateness=0, delay=DELAY):
    """Windows in the order in which they fire: [(end, start, key, rows)], and the number of late rows."""
    open_, out, late, mark = {}, [], 0, None

    def fire(upto):
        for span in sorted(w for w in open_ if upto is None or w[0] + lateness <= upto):
            for key, members in open_.pop(span).items():
                out.append((span[0], span[1], key, members))

    for row in rows:
        if mark is not None:
            fire(mark)
        spans = [w for w in windows(row["ts"]) if mark is None or mark < w[0] + lateness]
        late += bool(windows(row["ts"])) and not spans
        for span in spans:
            open_.setdefault(span, {}).setdefault(by(row), []).append(row)
        mark = row["ts"] - delay if mark is None else max(mark, row["ts"] - delay)
    fire(None)
    return out, late


def sessions(rows, gap, by, lateness=0, delay=DELAY):
    """The same for sessions: lists of rows that are merged where they meet."""
    open_, out, late, mark = [], [], 0, None
    span = lambda s: (max(r["ts"] for _, r in s[1]) + gap, min(r["ts"] for _, r in s[1]))

    def fire(upto):
        due = [s for s in open_ if upto is None or span(s)[0] + lateness <= upto]
        for s in sorted(due, key=lambda s: (span(s), min(i for i, _ in s[1]))):
            open_.remove(s)
            out.append((*span(s), s[0], [r for _, r in sorted(s[1], key=lambda m: m[0])]))

    for i, row in enumerate(rows):
        if mark is not None:
            fire(mark)
        t, key = row["ts"], by(row)
        meets = [s for s in open_ if s[0] == key and span(s)[1] < t + gap and t < span(s)[0]]
        if not meets and mark is not None and t + gap + lateness <= mark:
            late += 1
        else:
            for s in meets:
                open_.remove(s)
            open_.append((key, [m for s in meets for m in s[1]] + [(i, row)]))
        mark = t - delay if mark is None else max(mark, t - delay)
    fire(None)
    return out, late


def total(rows):
    xs = [r["x"] for r in rows if r["x"] is not None]
    return sum(xs) if xs else None


def lines(rows):
    return "\n".join(json.dumps(r, separators=(",", ":")) for r in rows)


def per_key(fired):
    return lines({"k": k, "window_start": stamp(s), "window_end": stamp(e), "n": len(m), "s": total(m)} for e, s, k, m in fired)


def whole(fired):
    return lines({"window_start": stamp(s), "n": len(m)} for e, s, _, m in fired)


def topic(Topic):
    t = Topic("windows", "Event time: TUMBLE, HOP, CUMULATE and SESSION in every spelling, lateness, windows over windows")
    rows = clicks()
    t.input("c", "k VARCHAR, x BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND",
            lines({**r, "ts": stamp(r["ts"])} for r in rows))
    t.input("plain", "k VARCHAR, x BIGINT, ts TIMESTAMP", lines({**r, "ts": stamp(r["ts"])} for r in rows))
    key, none = (lambda r: r["k"]), (lambda r: None)
    columns = "k, window_start, window_end, count(*) AS n, sum(x) AS s"

    minute, late = reference(rows, tumble(60), key)
    assert late >= 2
    expected = per_key(minute)
    spellings = {
        "a table function": f"SELECT {columns} FROM TUMBLE(c, ts, INTERVAL '1' MINUTE) GROUP BY window_start, window_end, k",
        "a table function by its end": f"SELECT {columns} FROM TUMBLE(c, ts, INTERVAL '60' SECOND) GROUP BY k, window_end",
        "a table function by its start": f"SELECT {columns} FROM TUMBLE(c, ts, INTERVAL '1 minute') GROUP BY window_start, k",
        "a table function under an alias": "SELECT t.k, t.window_start, t.window_end, count(*) AS n, sum(t.x) AS s FROM TUMBLE(c, ts, INTERVAL '1' MINUTE) AS t GROUP BY t.window_start, t.window_end, t.k",
        "a table function without the time": f"SELECT {columns} FROM TUMBLE(c, INTERVAL '1' MINUTE) GROUP BY window_start, window_end, k",
        "Flink's table function": f"SELECT {columns} FROM TABLE(TUMBLE(TABLE c, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, k",
        "Flink's named arguments": f"SELECT {columns} FROM TABLE(TUMBLE(DATA => TABLE c, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, k",
        "a table function over a subquery": f"SELECT {columns} FROM TUMBLE((SELECT ts, x, k FROM c), ts, INTERVAL '1' MINUTE) GROUP BY window_start, window_end, k",
        "a value in GROUP BY": f"SELECT {columns} FROM c GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE), k",
        "a value without the time": f"SELECT {columns} FROM c GROUP BY TUMBLE(INTERVAL '1' MINUTE), k",
        "a value under its alias": "SELECT k, w.start AS window_start, w.end AS window_end, n, s FROM (SELECT TUMBLE(ts, INTERVAL '1' MINUTE) AS w, k, count(*) AS n, sum(x) AS s FROM c GROUP BY w, k)",
        "a value by its ordinal": "SELECT k, w.start AS window_start, w.end AS window_end, n, s FROM (SELECT TUMBLE(INTERVAL '1' MINUTE) AS w, k, count(*) AS n, sum(x) AS s FROM c GROUP BY 1, 2)",
        "fields of a value": "SELECT k, TUMBLE(ts, INTERVAL '1' MINUTE) AS w, w.start AS window_start, w.end AS window_end, count(*) AS n, sum(x) AS s FROM c GROUP BY w, k",
        "the event time by name": f"SELECT {columns} FROM c GROUP BY TUMBLE(_event_time, INTERVAL '1' MINUTE), k",
        "a clause": f"SELECT {columns} FROM c GROUP BY k WINDOW TUMBLING (ts, INTERVAL '1' MINUTE)",
        "a clause with a short duration": f"SELECT {columns} FROM c GROUP BY k WINDOW TUMBLING (ts, 1m)",
        "a clause without the time": f"SELECT {columns} FROM c GROUP BY k WINDOW TUMBLING (60s)",
        "ksqlDB's clause": f"SELECT {columns} FROM c WINDOW TUMBLING (SIZE 1 MINUTE) GROUP BY k",
        "ksqlDB's clause before WHERE": f"SELECT {columns} FROM c WINDOW TUMBLING (SIZE 60 SECONDS) WHERE TRUE GROUP BY k EMIT FINAL",
        "Flink's bounds": "SELECT k, TUMBLE_START(ts, INTERVAL '1' MINUTE) AS window_start, TUMBLE_END(ts, INTERVAL '1' MINUTE) AS window_end, count(*) AS n, sum(x) AS s FROM c GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE), k",
        "a hop of its own size": f"SELECT {columns} FROM c GROUP BY k WINDOW SLIDING (ts, 1m, 1m)",
        "a view with a watermark below": f"CREATE VIEW v AS SELECT ts AS at, k, x FROM c;\nSELECT {columns} FROM TUMBLE(v, at, INTERVAL '1' MINUTE) GROUP BY window_start, window_end, k",
    }
    for title, sql in spellings.items():
        want = expected
        if title == "fields of a value":
            want = lines({"k": k, "w": {"start": stamp(s), "end": stamp(e)}, "window_start": stamp(s), "window_end": stamp(e), "n": len(m), "s": total(m)} for e, s, k, m in minute)
        t.query(f"one minute by {title}", sql, rows=want)

    for title, windows, sql in [
        ("hop", hop(20, 60), "HOP(ts, INTERVAL '20' SECOND, INTERVAL '1' MINUTE)"),
        ("hop whose slide does not divide the size", hop(25, 60), "HOP(ts, INTERVAL '25' SECOND, INTERVAL '1' MINUTE)"),
        ("hop with gaps between its windows", hop(60, 25), "HOP(ts, INTERVAL '1' MINUTE, INTERVAL '25' SECOND)"),
        ("cumulate", cumulate(20, 60), "CUMULATE(ts, INTERVAL '20' SECOND, INTERVAL '1' MINUTE)"),
    ]:
        want = per_key(reference(rows, windows, key)[0])
        t.query(f"{title} as a value", f"SELECT {columns} FROM c GROUP BY k, {sql}", rows=want)
        t.query(f"{title} as a table function", f"SELECT {columns} FROM {sql.replace('(', '(c, ', 1)} GROUP BY k, window_start, window_end", rows=want)
    hops = per_key(reference(rows, hop(20, 60), key)[0])
    t.query("hop as a clause", f"SELECT {columns} FROM c GROUP BY k WINDOW SLIDING (ts, 1m, 20s)", rows=hops)
    t.query("hop with Flink's bounds", "SELECT k, HOP_START(ts, INTERVAL '20' SECOND, INTERVAL '1' MINUTE) AS window_start, HOP_END(ts, INTERVAL '20' SECOND, INTERVAL '1' MINUTE) AS window_end, count(*) AS n, sum(x) AS s FROM c GROUP BY HOP(ts, INTERVAL '20' SECOND, INTERVAL '1' MINUTE), k", rows=hops)
    t.query("hop as ksqlDB's clause", f"SELECT {columns} FROM c WINDOW HOPPING (SIZE 1 MINUTE, ADVANCE BY 20 SECONDS) GROUP BY k", rows=hops)

    gap = per_key(sessions(rows, 10, key)[0])
    for title, sql in {
        "a table function": f"SELECT {columns} FROM SESSION(c, ts, INTERVAL '10' SECOND PARTITION BY k) GROUP BY window_start, window_end, k",
        "a table function with a comma": f"SELECT {columns} FROM SESSION(c, ts, INTERVAL '10' SECOND, PARTITION BY k) GROUP BY window_start, window_end, k",
        "Flink's table function": f"SELECT {columns} FROM TABLE(SESSION(TABLE c PARTITION BY k, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, k",
        "a value": f"SELECT {columns} FROM c GROUP BY SESSION(ts, INTERVAL '10' SECOND), k",
        "a value with Flink's bounds": "SELECT k, SESSION_START(ts, INTERVAL '10' SECOND) AS window_start, SESSION_END(ts, INTERVAL '10' SECOND) AS window_end, count(*) AS n, sum(x) AS s FROM c GROUP BY SESSION(ts, INTERVAL '10' SECOND), k",
        "a clause": f"SELECT {columns} FROM c GROUP BY k WINDOW SESSION (ts, 10s)",
        "ksqlDB's clause": f"SELECT {columns} FROM c WINDOW SESSION (10 SECONDS) GROUP BY k",
    }.items():
        t.query(f"sessions by {title}", sql, rows=gap)
    t.query("sessions of all rows together", "SELECT window_start, count(*) AS n FROM c WINDOW SESSION (10s)", rows=whole(sessions(rows, 10, none)[0]))
    t.query("rows of sessions", "SELECT k, x, ts, window_start, window_end FROM SESSION(c, ts, INTERVAL '10' SECOND PARTITION BY k)",
            rows=lines({"k": k, "x": r["x"], "ts": stamp(r["ts"]), "window_start": stamp(s), "window_end": stamp(e)}
                       for e, s, k, m in sessions(rows, 10, key)[0] for r in m))
    # Sessions end where they end with all rows, whatever is filtered behind them.
    t.query("a condition on rows of sessions", f"SELECT {columns} FROM SESSION(c, ts, INTERVAL '10' SECOND PARTITION BY k) WHERE x > 2 GROUP BY window_start, window_end, k",
            rows=per_key([(e, s, k, [r for r in m if (r["x"] or 0) > 2]) for e, s, k, m in sessions(rows, 10, key)[0] if any((r["x"] or 0) > 2 for r in m)]))

    for grace in (30, 120):
        t.query(f"lateness of {grace} s", f"SELECT {columns} FROM c WINDOW TUMBLING (SIZE 1 MINUTE, GRACE PERIOD {grace} SECONDS) GROUP BY k",
                rows=per_key(reference(rows, tumble(60), key, grace)[0]))
        t.query(f"sessions with lateness of {grace} s", f"SELECT {columns} FROM c WINDOW SESSION (10 SECONDS, GRACE PERIOD {grace} SECONDS) GROUP BY k",
                rows=per_key(sessions(rows, 10, key, grace)[0]))
    # Without a watermark nothing is late, and all windows fire at the end.
    at_end = lambda spans: sorted(spans, key=lambda w: (w[0], w[1]))
    t.query("without a watermark", f"SELECT {columns} FROM plain GROUP BY k, TUMBLE(ts, INTERVAL '1' MINUTE)", rows=per_key(reference(rows, tumble(60), key, 10 ** 6)[0]))
    t.query("sessions without a watermark", f"SELECT {columns} FROM plain GROUP BY k, SESSION(ts, INTERVAL '10' SECOND)", rows=per_key(sessions(rows, 10, key, 10 ** 6)[0]))
    t.query("a time that is not the event time", "SELECT window_start, count(*) AS n FROM c GROUP BY TUMBLE(ts + INTERVAL '1' SECOND, INTERVAL '1' MINUTE)",
            rows=whole(reference([{**r, "ts": r["ts"] + 1} for r in rows], tumble(60), none, 10 ** 6)[0]))

    big = [w for w in minute if (total(w[3]) or 0) > 9]
    t.query("HAVING before WINDOW", f"SELECT {columns} FROM c GROUP BY k HAVING sum(x) > 9 WINDOW TUMBLING (ts, 1m)", rows=per_key(big))
    t.query("HAVING behind WINDOW", f"SELECT {columns} FROM c GROUP BY k WINDOW TUMBLING (ts, 1m) HAVING sum(x) > 9", rows=per_key(big))
    later = [w for w in minute if w[1] >= 60]
    t.query("HAVING over the window", f"SELECT {columns} FROM c GROUP BY k WINDOW TUMBLING (ts, 1m) HAVING window_start >= TIMESTAMP '2026-01-01 00:01:00'", rows=per_key(later))
    t.query("WHERE over the window", f"SELECT {columns} FROM TUMBLE(c, ts, INTERVAL '1' MINUTE) WHERE window_start >= TIMESTAMP '2026-01-01 00:01:00' GROUP BY window_start, window_end, k", rows=per_key(later))
    some = [{**r} for r in rows if r["x"] is not None]
    # The watermark is that of all rows, filtered or not.
    seen = reference(rows, tumble(60), key)[0]
    kept = [(e, s, k, [r for r in m if r["x"] is not None]) for e, s, k, m in seen]
    assert some
    t.query("WHERE over the rows", f"SELECT {columns} FROM TUMBLE(c, ts, INTERVAL '1' MINUTE) WHERE x IS NOT NULL GROUP BY window_start, window_end, k",
            rows=per_key(first_seen([w for w in kept if w[3]], rows)))

    inner = reference(rows, tumble(20), none)[0]
    outer = {}
    for e, s, _, m in inner:
        outer.setdefault(s // 60 * 60, []).append(len(m))
    by_start = lines({"window_start": stamp(s), "most": max(ns), "n": sum(ns)} for s, ns in sorted(outer.items()))
    below = "(SELECT window_start, window_end, count(*) AS n FROM c WINDOW TUMBLING (20s))"
    t.query("a window over the start of windows", f"SELECT window_start, max(n) AS most, sum(n) AS n FROM TUMBLE({below}, window_start, INTERVAL '1' MINUTE) GROUP BY window_start", rows=by_start)
    ends = {}
    for e, s, _, m in inner:
        ends.setdefault(e // 60 * 60, []).append(len(m))
    t.query("a window over the end of windows", f"SELECT window_start, max(n) AS most, sum(n) AS n FROM TUMBLE({below}, window_end, INTERVAL '1' MINUTE) GROUP BY window_start",
            rows=lines({"window_start": stamp(s), "most": max(ns), "n": sum(ns)} for s, ns in sorted(ends.items())))
    groups = {}
    for e, s, k, m in minute:
        groups.setdefault((e, s), []).append(len(m))
    t.query("groups of the groups of a window", "SELECT window_start, count(*) AS keys, max(n) AS most FROM (SELECT window_start, window_end, k, count(*) AS n FROM c GROUP BY k WINDOW TUMBLING (1m)) GROUP BY window_start, window_end",
            rows=lines({"window_start": stamp(s), "keys": len(ns), "most": max(ns)} for (e, s), ns in sorted(groups.items())))
    t.query("each row with its window", "SELECT k, x, window_start FROM TUMBLE(c, ts, INTERVAL '1' MINUTE) LIMIT 5",
            rows=lines({"k": r["k"], "x": r["x"], "window_start": stamp(r["ts"] // 60 * 60)} for r in rows[:5]))
    t.query("each row with its windows", "SELECT x, w.start AS s FROM (SELECT x, HOP(ts, INTERVAL '30' SECOND, INTERVAL '1' MINUTE) AS w FROM c) LIMIT 4",
            rows=lines([{"x": r["x"], "s": stamp(s)} for r in rows for e, s in hop(30, 60)(r["ts"])][:4]))
    flights(t)
    return t


def first_seen(windows, rows):
    """Within a window, groups in the order of their first row."""
    place = {id(r): i for i, r in enumerate(rows)}
    return sorted(windows, key=lambda w: (w[0], w[1], min(place[id(r)] for r in w[3])))


def flights_of_january():
    """The sample flights in SQLite, which knows no windows over streams."""
    with open(pathlib.Path(__file__).resolve().parents[3] / "examples" / "data" / "flights.csv") as file:
        head, *rows = csv.reader(file)
    texts = {"carrier", "tailnum", "origin", "dest", "time_hour"}
    db = sqlite3.connect(":memory:")
    db.execute(f"CREATE TABLE flights ({', '.join(c + (' TEXT' if c in texts else ' INTEGER') for c in head)})")
    # NA is NULL in numbers, and text like any other in text.
    values = [[None if v == "NA" and c not in texts else v for c, v in zip(head, r)] for r in rows]
    db.executemany(f"INSERT INTO flights VALUES ({','.join('?' * len(head))})", values)
    return db


def checked(db, sql, head=3):
    """The first rows as lines, then the number and the checksum of all."""
    cursor = db.execute(sql)
    names = [d[0] for d in cursor.description]
    all_rows = [json.dumps(dict(zip(names, r)), separators=(",", ":"), ensure_ascii=False) for r in cursor]
    digest = oracles.fnv1a(("\n".join(all_rows) + "\n").encode())
    return "\n".join(all_rows[:head] + [f"... {len(all_rows)} rows, fnv1a {digest:016x}"])


def flights(t):
    db = flights_of_january()
    t.setup("CREATE STREAM flights (WATERMARK FOR time_hour AS time_hour) WITH (path = 'examples/data/flights.csv');")
    # Windows in the order of their end, groups in the order of their first row.
    hourly = checked(db, """
        SELECT time_hour AS hour, origin, count(*) AS flights, sum(coalesce(dep_delay >= 15, 0)) AS late,
               sum(dep_time IS NULL) AS cancelled, sum(dep_delay) AS minutes, max(dep_delay) AS worst
        FROM flights GROUP BY time_hour, origin ORDER BY time_hour, min(rowid)""")
    items = """window_start AS hour, origin, count(*) AS flights, count(*) FILTER (WHERE dep_delay >= 15) AS late,
       count(*) FILTER (WHERE dep_time IS NULL) AS cancelled, sum(dep_delay) AS minutes, max(dep_delay) AS worst"""
    t.query("flights per hour and airport", f"SELECT {items}\nFROM TUMBLE(flights, time_hour, INTERVAL '1' HOUR) GROUP BY window_start, window_end, origin", rows=hourly)
    t.query("flights per hour and airport as a clause", f"SELECT {items}\nFROM flights GROUP BY origin WINDOW TUMBLING (1h)", rows=hourly)
    islands = """
        WITH a AS (SELECT *, rowid AS n, unixepoch(time_hour) AS t FROM flights),
             b AS (SELECT *, CASE WHEN t - lag(t) OVER w < 36000 THEN 0 ELSE 1 END AS begins FROM a WINDOW w AS (PARTITION BY tailnum ORDER BY t, n)),
             c AS (SELECT *, sum(begins) OVER (PARTITION BY tailnum ORDER BY t, n) AS number FROM b)
        SELECT tailnum, min(time_hour) AS first, strftime('%Y-%m-%dT%H:%M:%SZ', max(t) + 36000, 'unixepoch') AS over, count(*) AS flights, sum(distance) AS miles
        FROM c GROUP BY tailnum, number ORDER BY max(t), min(t), min(n)"""
    t.query("working days of each aircraft", """SELECT tailnum, window_start AS first, window_end AS over, count(*) AS flights, sum(distance) AS miles
FROM SESSION(flights, time_hour, INTERVAL '10' HOUR PARTITION BY tailnum) GROUP BY window_start, window_end, tailnum""", rows=checked(db, islands))

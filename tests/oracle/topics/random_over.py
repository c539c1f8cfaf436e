"""Random windows over a table with ties and NULLs; each row is told apart by its id."""

import random


def topic(Topic):
    t = Topic("random_over", "Random calls OVER: partitions, orders, ROWS and RANGE frames, FILTER, over ties and NULLs")
    rng = random.Random(20260111)
    rows = []
    for i in range(60):
        value = lambda values: "null" if rng.random() < 0.15 else rng.choice(values)
        rows.append('{"id":%d,"g":%s,"h":%s,"n":%s,"d":%s,"at":%s}' % (
            i, value(['"p"', '"q"', '"r"']), value(["1", "2"]), value([str(n) for n in range(-4, 7)]),
            value(["0.5", "1.25", "1.5", "-3.75", "10"]), value(['"2026-03-01T00:00:%02dZ"' % s for s in range(0, 40, 3)])))
    t.input("r", "id BIGINT, g VARCHAR, h BIGINT, n BIGINT, d DECIMAL(8,2), at TIMESTAMP", "\n".join(rows))
    calls = ["(sum(n) {f} OVER {w})::bigint", "count(*) {f} OVER {w}", "count(d) {f} OVER {w}", "min(n) {f} OVER {w}", "max(at) {f} OVER {w}",
             "max(d) {f} OVER {w}", "min(g) {f} OVER {w}", "first_value(id) OVER {w}", "last_value(id) OVER {w}", "nth_value(n, 2) OVER {w}",
             "bool_or(n > 2) {f} OVER {w}", "string_agg(g, '-') {f} OVER {w}", "array_agg(n) {f} OVER {w}"]
    unframed = ["row_number() OVER {w}", "lag(n, 2) OVER {w}", "lead(g, 1, 'z') OVER {w}", "ntile(3) OVER {w}",
                "rank() OVER {w}", "dense_rank() OVER {w}", "cume_dist() OVER {w}", "percent_rank() OVER {w}"]

    def order(key):
        return key + rng.choice(["", " DESC NULLS LAST", " NULLS FIRST", " DESC NULLS FIRST"])

    def window(framed):
        partition = rng.choice(["", "", "g", "h", "g, h", "n % 2"])
        text = f"PARTITION BY {partition} " if partition else ""
        unit = rng.choice(["ROWS", "RANGE", ""]) if framed else ""
        if unit == "RANGE":
            key, step = rng.choice([("n", lambda: str(rng.randint(0, 4))), ("d", lambda: str(rng.randint(0, 3))),
                                    ("at", lambda: f"INTERVAL '{rng.randint(0, 9)}' SECOND")])
            text += "ORDER BY " + order(key)
        else:
            step = lambda: str(rng.randint(0, 4))
            text += "ORDER BY " + order(rng.choice(["n", "d", "at", "g"])) + ", id" + rng.choice(["", " DESC"])
        if not unit:
            return f"({text})"
        ends = ["UNBOUNDED PRECEDING", "PRECEDING", "CURRENT ROW", "FOLLOWING", "UNBOUNDED FOLLOWING"]
        a = rng.randint(0, 3)
        b = rng.randint(max(a, 1), 4)
        bound = lambda i: f"{step()} {ends[i]}" if i in (1, 3) else ends[i]
        return f"({text} {unit} BETWEEN {bound(a)} AND {bound(b)})"

    for i in range(70):
        items = []
        for j in range(rng.randint(1, 3)):
            framed = rng.random() < 0.75
            call = rng.choice(calls if framed else unframed)
            f = rng.choice(["", "", "", "FILTER (WHERE id % 3 <> 0)"])
            w = window(framed)
            if "array_agg" in call or "string_agg" in call or "_value" in call:
                # Among peers their result depends on an order that nobody states.
                while ", id" not in w:
                    w = window(True)
            items.append(call.format(w=w, f=f) + f" AS c{j}")
        where = rng.choice(["", "", " WHERE n IS NOT NULL", " WHERE id % 4 > 0"])
        t.query(f"random {i}", f"SELECT id, {', '.join(items)} FROM r{where} ORDER BY id", pg=True)
    return t

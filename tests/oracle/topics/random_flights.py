"""Random GROUP BY queries over the month of flights; PostgreSQL and DuckDB must agree about each before it is written."""

import random

FILE = "'examples/data/flights.csv'"
KEYS = ["carrier", "origin", "dest", "day", "hour", "origin, dest", "carrier, origin", "day, hour", "tailnum", "date_trunc('day', time_hour)", "extract(dow FROM time_hour)",
        "dep_delay > 15", "dep_time IS NULL, carrier", "distance", "CASE WHEN arr_delay IS NULL THEN 'lost' WHEN arr_delay > 0 THEN 'late' ELSE 'early' END",
        "carrier, dest, day", "length(tailnum)", "flight % 10"]
WHERE = ["", "", "", "dep_delay > 0", "origin <> 'JFK'", "carrier IN ('AA', 'UA', 'HA', 'YV')", "arr_delay IS NULL", "distance BETWEEN 300 AND 900", "dest LIKE 'S%'",
         "time_hour >= TIMESTAMP '2013-01-10 00:00:00'", "tailnum = 'NA'"]
HAVING = ["", "", "count(*) > 20", "max(dep_delay) > 300", "avg(arr_delay) < 0", "count(dep_time) < count(*)", "min(distance) > 1000"]
NUMBERS = ["dep_delay", "arr_delay", "air_time", "distance", "flight", "dep_delay - arr_delay"]
FILTERS = ["", "", "", " FILTER (WHERE dep_delay > 60)", " FILTER (WHERE origin = 'JFK')", " FILTER (WHERE air_time IS NOT NULL)"]


def aggregate(r):
    """One aggregate: ours, PostgreSQL's, DuckDB's."""
    n, f = r.choice(NUMBERS), r.choice(FILTERS)
    kind = r.choice("count distinct sum avg extreme spread percentile disc mode text corr sum avg count".split())
    if kind == "count":
        text = f"count({r.choice(['*', 'dep_time', 'arr_delay'])}){f}"
        return text, text, text
    if kind == "distinct":
        text = f"count(DISTINCT {r.choice(['tailnum', 'dest', 'flight', 'dep_delay', 'time_hour'])}){f}"
        return text, text, text
    if kind == "sum":
        text = f"sum({n}){f}"
        return text, text + "::bigint", text + "::bigint"
    if kind == "avg":
        text = f"avg({n}){f}"
        return text, f"near(({text})::float8)", text
    if kind == "extreme":
        text = f"{r.choice(['min', 'max'])}({r.choice(NUMBERS + ['carrier', 'tailnum', 'time_hour'])}){f}"
        return text, text, text
    if kind == "spread":
        name = r.choice(["stddev_pop", "stddev_samp", "var_pop", "var_samp"])
        return f"{name}({n}){f}", f"near({name}(({n})::float8){f})", f"{name}({n}){f}"
    if kind == "percentile":
        p = r.choice(["0.5", "0.9", "0.99", "0.25"])
        text = f"percentile_cont({p}) WITHIN GROUP (ORDER BY {n}){f}"
        return text, f"near({text})", f"quantile_cont({n}, {p}){f}"
    if kind == "disc":
        p = r.choice(["0.5", "0.9", "0.1"])
        text = f"percentile_disc({p}) WITHIN GROUP (ORDER BY {r.choice(['dep_delay', 'tailnum', 'distance'])}){f}"
        return text, text, text
    if kind == "mode":
        # Ties: PostgreSQL takes the least, DuckDB the first.
        text = f"mode() WITHIN GROUP (ORDER BY {r.choice(['dest', 'hour'])}){f}"
        return text, text, None
    if kind == "text":
        text = f"string_agg(DISTINCT {r.choice(['carrier', 'origin'])}, ' '){f}"
        ordered = text.replace(", ' ')", ", ' ' ORDER BY X)").replace("X", text.split("DISTINCT ")[1].split(",")[0])
        return ordered, ordered, ordered
    name = r.choice(["corr", "covar_pop", "regr_slope", "regr_r2"])
    return f"{name}(arr_delay, dep_delay){f}", f"near({name}(arr_delay::float8, dep_delay::float8){f})", f"{name}(arr_delay, dep_delay){f}"


def topic(Topic):
    t = Topic("random_flights", "Random aggregates and groups over the month of flights; PostgreSQL and DuckDB agree about each")
    r = random.Random(20130101)
    for i in range(14):
        keys = r.choice(KEYS)
        names = [f"k{j}" for j in range(keys.count(", ") + 1)] if not keys.startswith(("date", "CASE")) else ["k0"]
        parts = keys.split(", ") if len(names) > 1 else [keys]
        picked = [aggregate(r) for _ in range(r.choice([4, 5, 6, 7]))]
        where, having = r.choice(WHERE), r.choice(HAVING)
        texts = []
        for way in range(3):
            if any(p[way] is None for p in picked):
                texts.append(None)
                continue
            items = [f"{p} AS {n}" for p, n in zip(parts, names)] + [f"{p[way]} AS v{j}" for j, p in enumerate(picked)]
            text = f"SELECT {', '.join(items)} FROM {FILE if way == 0 else 'flights'}"
            text += f" WHERE {where}" if where else ""
            text += f" GROUP BY {', '.join(str(j + 1) for j in range(len(parts)))}"
            text += f" HAVING {having}" if having else ""
            texts.append(text + ("", " ORDER BY min(_row)", " ORDER BY min(rowid)")[way])
        how = {"also": texts[2]} if texts[2] else {}
        t.query(f"flights {i}", texts[0], pg=texts[1], **how)
    t.query("all of it, no group", f"SELECT count(*) AS n, count(dep_time) AS d, sum(distance) AS s, min(time_hour) AS f, max(time_hour) AS l, count(DISTINCT tailnum) AS t FROM {FILE}",
            pg="SELECT count(*) AS n, count(dep_time) AS d, sum(distance)::bigint AS s, min(time_hour) AS f, max(time_hour) AS l, count(DISTINCT tailnum) AS t FROM flights")
    t.query("as many groups as rows, nearly", f"SELECT day, carrier, flight, origin, dest, count(*) AS n FROM {FILE} GROUP BY 1, 2, 3, 4, 5", digest=3,
            pg="SELECT day, carrier, flight, origin, dest, count(*) AS n FROM flights GROUP BY 1, 2, 3, 4, 5 ORDER BY min(_row)")
    t.query("DISTINCT over the file", f"SELECT DISTINCT carrier, origin FROM {FILE}", pg="SELECT carrier, origin FROM flights GROUP BY 1, 2 ORDER BY min(_row)",
            also="SELECT carrier, origin FROM flights GROUP BY 1, 2 ORDER BY min(rowid)")
    t.query("groups of groups", f"SELECT n, count(*) AS planes FROM (SELECT tailnum, count(*) AS n FROM {FILE} GROUP BY tailnum) q GROUP BY n", sorted=True,
            pg="SELECT n, count(*) AS planes FROM (SELECT tailnum, count(*) AS n FROM flights GROUP BY tailnum) q GROUP BY n")
    return t

"""Random window functions, QUALIFY and top-N over the nasty table, asked of PostgreSQL."""

from topics.random_groups import COLUMNS, CONDITIONS, NASTY, Maker, near

PARTITIONS = ["", "", "PARTITION BY g", "PARTITION BY k", "PARTITION BY b, k", "PARTITION BY a > 5", "PARTITION BY upper(g)"]
ORDERS = ["a", "k", "d", "y", "s", "ts", "dt", "g", "x", "id"]
FRAMES = ["", "", "", "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW", "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW", "ROWS 3 PRECEDING", "ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
          "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING", "ROWS BETWEEN 4 PRECEDING AND 2 PRECEDING", "ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING",
          "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING", "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW", "RANGE UNBOUNDED PRECEDING",
          "RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING", "RANGE BETWEEN CURRENT ROW AND CURRENT ROW"]


def ordering(r, total):
    """Text for us and for PostgreSQL; `id` at the end where every row needs its own place."""
    column, direction = r.choice(ORDERS), r.choice(["", " DESC"])
    nulls = r.choice(["", "", " NULLS FIRST"])
    ours, pg = column + direction + nulls, column + direction + (nulls or " NULLS LAST")
    more = ", id" if total and column != "id" else ""
    return column, f"ORDER BY {ours}{more}", f"ORDER BY {pg}{more}"


def value_range(r):
    """RANGE with a distance: one numeric or temporal order."""
    column, distance = r.choice([("k", "1"), ("k", "2"), ("a", "5"), ("ts", "INTERVAL '1' HOUR"), ("dt", "INTERVAL '2' DAY")])
    direction = r.choice(["", " DESC"])
    frame = r.choice([f"BETWEEN {distance} PRECEDING AND CURRENT ROW", f"BETWEEN {distance} PRECEDING AND {distance} FOLLOWING",
                      f"BETWEEN CURRENT ROW AND {distance} FOLLOWING", f"BETWEEN UNBOUNDED PRECEDING AND {distance} PRECEDING"])
    return tuple(f"ORDER BY {column}{direction}{n} RANGE {frame}" for n in ("", " NULLS LAST"))


def call(m):
    """A call with its window: ours, PostgreSQL's."""
    r = m.r
    partition = r.choice(PARTITIONS)
    kind = r.choice(["rank", "rank", "value", "shift", "aggregate", "aggregate", "aggregate", "range"])
    if kind == "rank":
        name = r.choice(["row_number()", "rank()", "dense_rank()", "percent_rank()", "cume_dist()", f"ntile({r.choice([1, 3, 5])})"])
        _, ours, pg = ordering(r, name.startswith(("row_number", "ntile")))
        wrapped = near if name.startswith(("percent", "cume")) else str
        return f"{name} OVER ({partition} {ours})", wrapped(f"{name} OVER ({partition} {pg})")
    if kind == "shift":
        column = r.choice(["a", "s", "d", "ts"])
        name = r.choice([f"lag({column})", f"lead({column})", f"lag({column}, 2)", f"lead({column}, 3)", "lag(a, 1, -1)", "lead(s, 2, 'none')", "lag(a, 0)"])
        _, ours, pg = ordering(r, True)
        return f"{name} OVER ({partition} {ours})", f"{name} OVER ({partition} {pg})"
    if kind == "value":
        column = r.choice(["a", "s", "g", "d"])
        name = r.choice([f"first_value({column})", f"last_value({column})", f"nth_value({column}, 2)"])
        frame = r.choice(FRAMES)
        _, ours, pg = ordering(r, True)
        return f"{name} OVER ({partition} {ours} {frame})", f"{name} OVER ({partition} {pg} {frame})"
    name, ours_name, wrap = r.choice([
        ("sum(a)", "sum(a)", lambda t: f"({t})::bigint"), ("count(*)", "count(*)", str), ("count(a)", "count(a)", str), ("min(a)", "min(a)", str), ("max(s)", "max(s)", str),
        ("sum(d)", "sum(d)", str), ("avg(a)", "avg(a)", lambda t: f"({t})::float8"), ("sum(y)", "sum(y)", near), ("max(d)", "max(d)", str), ("bool_or(b)", "bool_or(b)", str),
        ("min(ts)", "min(ts)", str)])
    if kind == "range":
        ours, pg = value_range(r)
        return f"{ours_name} OVER ({partition} {ours})", approximate(wrap, f"{name} OVER ({partition} {pg})")
    condition = f" FILTER (WHERE {r.choice(CONDITIONS)})" if r.random() < 0.2 else ""
    if r.random() < 0.2:
        return f"{ours_name}{condition} OVER ({partition})", approximate(wrap, f"{name}{condition} OVER ({partition})")
    frame = r.choice(FRAMES)
    _, ours, pg = ordering(r, "ROWS" in frame)
    return f"{ours_name}{condition} OVER ({partition} {ours} {frame})", approximate(wrap, f"{name}{condition} OVER ({partition} {pg} {frame})")


def approximate(wrap, text):
    """AVG of integers is a DOUBLE here."""
    wrapped = wrap(text)
    return f"near({wrapped})" if wrapped.endswith("::float8") else wrapped


def topic(Topic):
    t = Topic("random_frames", "Random window functions, QUALIFY and top-N over nasty values")
    t.input("n", COLUMNS, NASTY)
    m = Maker(20260303)
    for i in range(150):
        calls = [call(m) for _ in range(m.r.choice([1, 1, 2, 3]))]
        where = m.r.choice(["", "", f" WHERE {m.r.choice(CONDITIONS)}"])
        ours, pg = (f"SELECT id, {', '.join(f'{c[w]} AS v{j}' for j, c in enumerate(calls))} FROM n{where}" for w in (0, 1))
        t.query(f"over {i}", ours, pg=pg, sorted=True)
    for i in range(20):
        partition = m.r.choice(PARTITIONS[2:])
        _, ours, pg = ordering(m.r, True)
        n = m.r.choice([1, 2, 3])
        inner = "SELECT id, g, a, row_number() OVER ({} {}) AS rn FROM n"
        text = f"SELECT id, g, a, rn FROM ({inner}) q WHERE rn <= {n}"
        t.query(f"top {i}", text.format(partition, ours), pg=text.format(partition, pg), sorted=True)
        t.query(f"QUALIFY {i}", f"SELECT id, s FROM n QUALIFY row_number() OVER ({partition} {ours}) = {n}",
                pg=f"SELECT id, s FROM (SELECT *, row_number() OVER ({partition} {pg}) AS rn FROM n) q WHERE rn = {n}", sorted=True)
    for i in range(12):
        _, ours, pg = ordering(m.r, True)
        text = "SELECT g, {} AS n, rank() OVER (ORDER BY {} DESC, g{}) AS r FROM n GROUP BY g"
        name = m.r.choice(["count(*)", "max(id)", "count(a)"])
        t.query(f"over groups {i}", text.format(name, name, ""), pg=text.format(name, name, " NULLS LAST"), sorted=True)
    t.query("a named window", "SELECT id, sum(id) OVER w AS s, count(*) OVER w AS n FROM n WINDOW w AS (PARTITION BY g ORDER BY id)",
            pg="SELECT id, (sum(id) OVER w)::bigint AS s, count(*) OVER w AS n FROM n WINDOW w AS (PARTITION BY g ORDER BY id)", sorted=True)
    for column in ("d", "y"):
        t.query(f"RANGE with a fraction, {column}", f"SELECT id, sum(id) OVER (ORDER BY {column} RANGE BETWEEN 1.5 PRECEDING AND CURRENT ROW) AS s FROM n WHERE y > 0.0",
                pg=f"SELECT id, (sum(id) OVER (ORDER BY {column} RANGE BETWEEN 1.5 PRECEDING AND CURRENT ROW))::bigint AS s FROM n WHERE y > 0.0", sorted=True)
    return t

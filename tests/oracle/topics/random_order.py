"""Random ORDER BY, LIMIT and OFFSET over rows and groups of the nasty table; every order is total."""

from topics.random_groups import COLUMNS, CONDITIONS, NASTY, Maker

SORTED = ["a", "k", "d", "x", "y", "s", "g", "b", "ts", "dt", "a % 3", "length(s)", "upper(s)", "-a", "k IS NULL", "coalesce(k, 1)", "abs(a)", "g = 'a'"]
SHOWN = ["g", "k", "a", "d", "x", "s", "b", "ts", "dt", "a + k", "s || g"]


def order(r, items):
    """`ORDER BY` as we and as PostgreSQL spell it; ours has NULLs last whatever the direction."""
    ours, pg = [], []
    for item in items:
        direction, nulls = r.choice(["", " ASC", " DESC", " DESC"]), r.choice(["", "", " NULLS FIRST", " NULLS LAST"])
        ours.append(item + direction + nulls)
        pg.append(item + direction + (nulls or " NULLS LAST"))
    return ", ".join(ours), ", ".join(pg)


def limit(r):
    return r.choice(["", "", f" LIMIT {r.choice([0, 1, 3, 5, 100])}", f" LIMIT {r.choice([2, 4])} OFFSET {r.choice([0, 1, 7, 20])}", f" OFFSET {r.choice([3, 12])}",
                     f" FETCH FIRST {r.choice([1, 6])} ROWS ONLY"])


def plain(m):
    r = m.r
    shown = r.sample(SHOWN, r.choice([1, 2, 3]))
    items = r.sample(SORTED, r.choice([1, 1, 2, 3]))
    style = r.choice(["expression", "ordinal", "alias"])
    if style == "ordinal":
        items = [str(i + 2) for i in range(len(shown))][: len(items)]
    elif style == "alias":
        items = [f"c{i}" for i in range(len(shown))][: len(items)]
    ours, pg = order(r, items)
    columns = ", ".join(["id"] + [f"{s} AS c{i}" for i, s in enumerate(shown)])
    where = r.choice(["", f" WHERE {r.choice(CONDITIONS)}"])
    tail = limit(r)
    return tuple(f"SELECT {columns} FROM n{where} ORDER BY {o}, id{tail}" for o in (ours, pg))


def groups(m):
    r = m.r
    keys = r.sample(["g", "k", "b", "s", "k % 2", "upper(g)", "dt"], r.choice([1, 2]))
    aggregates = [m.aggregate() for _ in range(r.choice([1, 2]))]
    texts = []
    by = r.choice(["aggregate", "alias", "key", "hidden"])
    direction, nulls = r.choice(["", " DESC"]), r.choice(["", " NULLS FIRST"])
    tail = limit(r)
    for w in (0, 1):
        items = [f"{k} AS c{i}" for i, k in enumerate(keys)] + [f"{a[w]} AS v{i}" for i, a in enumerate(aggregates)]
        first = {"aggregate": "count(*)", "alias": "c0", "key": keys[0], "hidden": "max(id)"}[by]
        # By position: `k` as an alias or a column of the same name would be another thing.
        rest = ", ".join(f"{i + 1}" + ("" if w == 0 else " NULLS LAST") for i in range(len(keys)))
        shown = nulls or ("" if w == 0 else " NULLS LAST")
        texts.append(f"SELECT {', '.join(items)} FROM n GROUP BY {', '.join(str(i + 1) for i in range(len(keys)))} ORDER BY {first}{direction}{shown}, {rest}{tail}")
    return tuple(texts)


def topic(Topic):
    t = Topic("random_order", "Random ORDER BY, LIMIT and OFFSET over nasty values and groups")
    t.input("n", COLUMNS, NASTY)
    m = Maker(20260202)
    for i in range(70):
        ours, pg = plain(m)
        t.query(f"rows {i}", ours, pg=pg)
    for i in range(50):
        ours, pg = groups(m)
        t.query(f"groups {i}", ours, pg=pg)
    for i in range(15):
        ours, pg = order(m.r, m.r.sample(["a", "k", "d", "s"], 2))
        t.query(f"DISTINCT {i}", f"SELECT DISTINCT a, k, d, s FROM n ORDER BY {ours}, a, k, d, s{(tail := limit(m.r))}",
                pg=f"SELECT DISTINCT a, k, d, s FROM n ORDER BY {pg}, a NULLS LAST, k NULLS LAST, d NULLS LAST, s NULLS LAST{tail}")
    return t

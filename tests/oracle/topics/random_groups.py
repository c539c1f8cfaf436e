"""Random GROUP BY queries over small nasty tables; the same queries every time.

A query is built twice at once, in our wording and in PostgreSQL's: where the types differ on purpose (SUM of BIGINT,
AVG of DECIMAL, statistics of integers) PostgreSQL is told to give ours.
"""

import random

# Keys with NULLs and few values; x with NaN, infinities and both zeros; texts that sort differently by case and accent.
NASTY = """
    {"id":1,"g":"a","k":1,"a":10,"d":1.5000,"x":0.5,"y":1.0,"s":"pear","b":true,"ts":"2026-01-01T00:00:00Z","dt":"2026-01-01"}
    {"id":2,"g":"b","k":2,"a":-7,"d":-0.0001,"x":"NaN","y":2.5,"s":"Apple","b":false,"ts":"2026-01-01T00:59:59.999999Z","dt":"2026-01-02"}
    {"id":3,"g":"a","k":null,"a":0,"d":99999999999999.9999,"x":-0.0,"y":-3.25,"s":"","b":null,"ts":"1969-12-31T23:59:59.999Z","dt":"1969-12-31"}
    {"id":4,"g":null,"k":1,"a":null,"d":null,"x":null,"y":null,"s":null,"b":null,"ts":null,"dt":null}
    {"id":5,"g":"a","k":2,"a":10,"d":1.5000,"x":0.0,"y":1.0,"s":"pear","b":true,"ts":"2026-01-01T01:00:00Z","dt":"2026-02-28"}
    {"id":6,"g":"","k":0,"a":3,"d":0.0000,"x":"Infinity","y":0.125,"s":"Äpfel","b":false,"ts":"2026-02-28T23:30:00Z","dt":"2024-02-29"}
    {"id":7,"g":"b","k":-1,"a":1000000007,"d":-12345.6789,"x":"-Infinity","y":7.0,"s":"zoë","b":true,"ts":"2024-02-29T12:00:00Z","dt":"2024-02-29"}
    {"id":8,"g":"c","k":1,"a":-1000000007,"d":0.3333,"x":1e300,"y":-2.0,"s":"apple","b":false,"ts":"2026-01-01T00:30:00Z","dt":"2026-01-01"}
    {"id":9,"g":null,"k":2,"a":5,"d":0.6667,"x":1.25,"y":4.5,"s":"pear ","b":true,"ts":"2026-01-01T00:30:00Z","dt":null}
    {"id":10,"g":"a","k":3,"a":-7,"d":null,"x":2.5,"y":null,"s":"花","b":null,"ts":"1900-03-01T00:00:00Z","dt":"1900-03-01"}
    {"id":11,"g":"c","k":null,"a":8,"d":-1.5000,"x":"NaN","y":2.0,"s":null,"b":false,"ts":"2026-01-01T00:00:00Z","dt":"2026-01-01"}
    {"id":12,"g":"b","k":3,"a":8,"d":2.2500,"x":-1.25,"y":-1.0,"s":"a,b","b":null,"ts":null,"dt":"2262-01-01"}
    {"id":13,"g":"A","k":0,"a":null,"d":10.0000,"x":0.1,"y":0.0,"s":"10","b":true,"ts":"2026-01-01T02:15:00Z","dt":"2026-01-03"}
    {"id":14,"g":"a","k":1,"a":1,"d":0.0001,"x":0.2,"y":3.0,"s":"9","b":false,"ts":"2026-01-01T02:15:00Z","dt":"2026-01-03"}
    {"id":15,"g":"c","k":-1,"a":2,"d":1.2500,"x":null,"y":6.25,"s":"\\"q\\"","b":true,"ts":"2026-01-02T00:00:00Z","dt":"2026-01-02"}
    {"id":16,"g":"","k":2,"a":10,"d":-99999999999999.9999,"x":0.3,"y":1.5,"s":"apple","b":null,"ts":"2026-01-01T00:00:00.000001Z","dt":"2026-01-01"}
"""
# What fits just about, and what does not once it is added up.
EXTREME = """
    {"id":1,"g":"max","n":9223372036854775807,"d":9999999999999999999999999999,"f":1e308,"e":0.0000000000000000000000000001}
    {"id":2,"g":"max","n":-9223372036854775807,"d":-9999999999999999999999999999,"f":-1e308,"e":-0.0000000000000000000000000001}
    {"id":3,"g":"min","n":-9223372036854775808,"d":-9999999999999999999999999998,"f":5e-324,"e":0.1234567890123456789012345678}
    {"id":4,"g":"min","n":1,"d":1,"f":2.2250738585072014e-308,"e":0.5000000000000000000000000000}
    {"id":5,"g":"none","n":null,"d":null,"f":null,"e":null}
    {"id":6,"g":"odd","n":9007199254740993,"d":9007199254740993,"f":9007199254740993,"e":0.3333333333333333333333333333}
    {"id":7,"g":"odd","n":-9007199254740991,"d":12345678901234567890,"f":0.1,"e":-0.3333333333333333333333333333}
"""
COLUMNS = "id BIGINT, g VARCHAR, k BIGINT, a BIGINT, d DECIMAL(20,4), x DOUBLE, y DOUBLE, s VARCHAR, b BOOLEAN, ts TIMESTAMP, dt DATE"
EXTREMES = "id BIGINT, g VARCHAR, n BIGINT, d DECIMAL(28,0), f DOUBLE, e DECIMAL(28,28)"

KEYS = ["g", "k", "b", "s", "x", "d", "dt", "ts", "k % 2", "a > 5", "x IS NULL", "upper(g)", "coalesce(g, '-')", "date_trunc('hour', ts)",
        "CASE WHEN k > 1 THEN 'high' WHEN k < 1 THEN 'low' END", "extract(year FROM dt)", "length(s)", "k + length(g)", "g || s"]
CONDITIONS = ["a > 3", "k <> 1", "g IS NOT NULL", "b", "NOT b", "x < 1.0", "x = x", "d <= 1.5", "s LIKE '%p%'", "s > 'a'", "ts >= TIMESTAMP '2026-01-01 00:30:00'",
              "k IN (1, 3)", "a BETWEEN -7 AND 8", "g = 'a' OR k IS NULL", "dt < DATE '2026-01-02'", "id > 100", "b IS NOT TRUE", "y > 0.0"]
NUMBERS = {"a": "int", "k": "int", "id": "int", "k * 2": "int", "d": "dec", "d * 2": "dec", "y": "dbl", "x": "nasty"}
SORTABLE = ["a", "k", "d", "y", "x", "s", "ts", "dt", "g", "b"]


class Maker:
    """Random pieces, each as (ours, PostgreSQL's)."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def filter(self):
        return f" FILTER (WHERE {self.r.choice(CONDITIONS)})" if self.r.random() < 0.3 else ""

    def aggregate(self):
        return self.r.choice([self.count, self.sum, self.avg, self.extreme, self.truth, self.bits, self.statistics, self.percentile, self.regression,
                              self.text, self.array, self.arg, self.count, self.sum, self.avg, self.extreme, self.combined])()

    def count(self):
        inner = self.r.choice(["*", "a", "k", "x", "s", "b", "DISTINCT k", "DISTINCT g", "DISTINCT x", "DISTINCT d", "DISTINCT ts", "DISTINCT b", "a + k"])
        if self.r.random() < 0.1:
            c = self.r.choice(CONDITIONS)
            return f"count_if({c})", f"count(*) FILTER (WHERE {c})"
        text = f"count({inner}){self.filter()}"
        return text, text

    def number(self, kinds):
        return self.r.choice([(n, k) for n, k in NUMBERS.items() if k in kinds])

    def sum(self):
        column, kind = self.number(["int", "dec", "nasty", "dbl"])
        distinct = "DISTINCT " if self.r.random() < 0.2 else ""
        text = f"sum({distinct}{column}){self.filter()}"
        # PostgreSQL's sum of doubles with both infinities and NaN is the same; otherwise only rounding may differ.
        return text, f"({text})::bigint" if kind == "int" else near(text) if kind != "dec" else text

    def avg(self):
        column, kind = self.number(["int", "dec", "nasty", "dbl"])
        distinct, cond = "DISTINCT " if self.r.random() < 0.2 else "", self.filter()
        exact = f"(sum({distinct}{column}){cond} * 1.{'0' * 24} / nullif(count({distinct}{column}){cond}, 0))"
        ours = f"avg({distinct}{column}){cond}"
        # PostgreSQL's own AVG of doubles squares them on the way and overflows at 1e300.
        mean = near(f"sum({distinct}{column}){cond} / nullif(count({distinct}{column}){cond}, 0)")
        return ours, f"{exact}::float8" if kind == "int" else f"round({exact}, 10)" if kind == "dec" else mean

    def extreme(self):
        column = self.r.choice(["a", "k", "d", "y", "x", "s", "ts", "dt", "g"])
        text = f"{self.r.choice(['min', 'max'])}({column}){self.filter()}"
        return text, text

    def truth(self):
        text = f"{self.r.choice(['bool_and', 'bool_or', 'every'])}({self.r.choice(['b', 'a > 0', 'x < 1.0', 's IS NULL'])}){self.filter()}"
        return text, text

    def bits(self):
        text = f"{self.r.choice(['bit_and', 'bit_or', 'bit_xor'])}({self.r.choice(['a', 'k', 'id'])}){self.filter()}"
        return text, text

    def statistics(self):
        f = self.r.choice(["stddev", "stddev_pop", "stddev_samp", "variance", "var_pop", "var_samp"])
        column = self.r.choice(["y", "k", "id", "y * 3"])
        cond = self.filter()
        return f"{f}({column}){cond}", near(f"{f}(({column})::float8){cond}")

    def percentile(self):
        f, p = self.r.choice(["cont", "disc"]), self.r.choice(["0", "0.1", "0.25", "0.5", "0.9", "1"])
        column = self.r.choice(["y", "a", "k", "id"]) if f == "cont" else self.r.choice(["y", "a", "k", "s", "d", "ts", "x"])
        order = self.r.choice(["", " DESC"])
        cond = self.filter()
        if f == "cont" and p == "0.5" and not order and self.r.random() < 0.5:
            return f"median({column}){cond}", f"percentile_cont(0.5) WITHIN GROUP (ORDER BY {column}){cond}"
        if self.r.random() < 0.2:
            text = f"mode() WITHIN GROUP (ORDER BY {column}){cond}"
        else:
            text = f"percentile_{f}({p}) WITHIN GROUP (ORDER BY {column}{order}){cond}"
        return text, text

    def regression(self):
        f = self.r.choice("corr covar_pop covar_samp regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy".split())
        one, two = self.r.choice([("y", "k"), ("y", "id"), ("k", "y"), ("a", "y")])
        cond = self.filter()
        pg = f"{f}(({one})::float8, ({two})::float8){cond}"
        return f"{f}({one}, {two}){cond}", pg if f == "regr_count" else near(pg)

    def text(self):
        order = self.r.choice(["id", "id DESC", "s, id", "k DESC NULLS LAST, id", "g NULLS FIRST, s NULLS LAST, id", "length(s) NULLS LAST, id"])
        delimiter = self.r.choice(["','", "''", "' | '"])
        if self.r.random() < 0.2:
            text = f"string_agg(DISTINCT s, {delimiter} ORDER BY s{self.r.choice(['', ' DESC'])}){self.filter()}"
        else:
            text = f"string_agg({self.r.choice(['s', 'g', 'upper(s)'])}, {delimiter} ORDER BY {order}){self.filter()}"
        return nulls_last(text)

    def array(self):
        if self.r.random() < 0.3:
            column = self.r.choice(["k", "a", "g"])
            text = f"array_agg(DISTINCT {column} ORDER BY {column}{self.r.choice(['', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST'])}){self.filter()}"
        else:
            column = self.r.choice(["k", "s", "id", "b"])
            order = self.r.choice(["id", "id DESC", "a NULLS FIRST, id", "y DESC NULLS LAST, id", "x, id", "ts NULLS FIRST, id"])
            text = f"array_agg({column} ORDER BY {order}){self.filter()}"
        return nulls_last(text)

    def arg(self):
        """The first row with the least or greatest key; the value is never NULL, which is left open."""
        f, key = self.r.choice(["min", "max"]), self.r.choice(["a", "y", "ts", "s", "d"])
        order = "" if f == "min" else " DESC"
        name = self.r.choice([f"arg_{f}", f"{f}_by"])
        return f"{name}(id, {key})", f"(array_agg(id ORDER BY {key}{order}, id) FILTER (WHERE {key} IS NOT NULL))[1]"

    def combined(self):
        one = self.r.choice([self.count, self.extreme_number, self.sum_int])()
        return self.r.choice([
            lambda: (f"coalesce({one[0]}, 0) + 1", f"coalesce({one[1]}, 0) + 1"),
            lambda: (f"{one[0]} - count(*)", f"{one[1]} - count(*)"),
            lambda: (f"CASE WHEN {one[0]} > 2 THEN 'many' ELSE 'few' END", f"CASE WHEN {one[1]} > 2 THEN 'many' ELSE 'few' END"),
            lambda: (f"{one[0]} IS NULL", f"{one[1]} IS NULL"),
            lambda: (f"abs({one[0]}) % 7", f"abs({one[1]}) % 7"),
        ])()

    def extreme_number(self):
        text = f"{self.r.choice(['min', 'max'])}({self.r.choice(['a', 'k', 'id'])})"
        return text, text

    def sum_int(self):
        return "sum(id)", "sum(id)::bigint"

    def having(self):
        one = self.r.choice([self.count, self.extreme_number, self.sum_int])()
        return tuple(f"{t}" for t in self.r.choice([
            lambda: [f"{t} > 1" for t in one],
            lambda: [f"{t} IS NOT NULL" for t in one],
            lambda: [f"{t} <= 3 OR count(*) = 1" for t in one],
            lambda: [f"NOT {t} = 2" for t in one],
        ])())


def near(text):
    """Marks a value of which the last digits depend on how it is computed."""
    return f"near({text})"


def nulls_last(text):
    """Ours puts NULLs last by default, PostgreSQL so only ascending."""
    if " DESC" not in text or "NULLS" in text:
        return text, text
    return text, text.replace(" DESC", " DESC NULLS LAST")


def grouped(m, aggregates):
    keys = m.r.sample(KEYS, m.r.choice([0, 1, 1, 1, 2, 2, 3]))
    items = [(f"{k} AS c{i}", f"{k} AS c{i}") for i, k in enumerate(keys)]
    for i in range(aggregates):
        ours, pg = m.aggregate()
        items.append((f"{ours} AS v{i}", f"{pg} AS v{i}"))
    style = m.r.choice(["expression", "ordinal", "alias"])
    names = {"expression": keys, "ordinal": [str(i + 1) for i in range(len(keys))], "alias": [f"c{i}" for i in range(len(keys))]}[style]
    tail = f" FROM n{m.r.choice(['', '', ' WHERE ' + m.r.choice(CONDITIONS)])}"
    group = f" GROUP BY {', '.join(names)}" if keys else ""
    having = m.having() if m.r.random() < 0.3 else ("", "")
    ours, pg = (f"SELECT {', '.join(i[w] for i in items)}{tail}{group}{' HAVING ' + having[w] if having[w] else ''}" for w in (0, 1))
    # Groups come in the order of their first rows.
    return ours, pg + (" ORDER BY min(_row)" if keys else "")


def distinct(m):
    columns = ", ".join(f"{c} AS c{i}" for i, c in enumerate(m.r.sample(KEYS, m.r.choice([1, 2, 2, 3]))))
    tail = f" FROM n{m.r.choice(['', ' WHERE ' + m.r.choice(CONDITIONS)])}"
    text = f"SELECT DISTINCT {columns}{tail}"
    names = ", ".join(f"c{i}" for i in range(columns.count(" AS c")))
    return text, f"SELECT {names} FROM (SELECT {columns}, _row{tail}) q GROUP BY {names} ORDER BY min(_row)"


def topic(Topic):
    t = Topic("random_groups", "Random aggregates, groups, HAVING, DISTINCT and FILTER over nasty values")
    t.input("n", COLUMNS, NASTY)
    t.input("e", EXTREMES, EXTREME)
    m = Maker(20260101)
    for i in range(260):
        ours, pg = grouped(m, m.r.choice([1, 2, 3, 4]))
        t.query(f"groups {i}", ours, pg=pg)
    for i in range(30):
        ours, pg = distinct(m)
        t.query(f"distinct {i}", ours, pg=pg)
    extremes(t)
    return t


def extremes(t):
    for name, column in [("BIGINT", "n"), ("DECIMAL(28,0)", "d"), ("DECIMAL(28,28)", "e"), ("DOUBLE", "f")]:
        cast = "::bigint" if column == "n" else ""
        t.query(f"extremes of {name}", f"SELECT g, min({column}) AS l, max({column}) AS h, count(DISTINCT {column}) AS n FROM e GROUP BY g",
                pg=f"SELECT g, min({column}) AS l, max({column}) AS h, count(DISTINCT {column}) AS n FROM e GROUP BY g ORDER BY min(_row)")
        for g in ["max", "min", "none", "odd"]:
            ours = f"SELECT sum({column}) AS s FROM e WHERE g = '{g}'"
            t.query(f"sum of {name}, {g}", ours, pg=ours.replace(f"sum({column})", f"sum({column}){cast}"))
    t.query("a sum beyond BIGINT on the way only", "SELECT sum(n) AS s FROM e WHERE id IN (1, 4, 2)",
            pg="SELECT sum(n)::bigint AS s FROM e WHERE id IN (1, 4, 2)")
    t.query("a sum beyond BIGINT at the end", "SELECT sum(n) AS s FROM e WHERE id IN (1, 4)", pg="SELECT sum(n)::bigint AS s FROM e WHERE id IN (1, 4)")
    t.query("a sum below BIGINT at the end", "SELECT sum(n) AS s FROM e WHERE id IN (2, 3)", pg="SELECT sum(n)::bigint AS s FROM e WHERE id IN (2, 3)")
    t.query("a sum of decimals beyond 28 digits on the way only", "SELECT sum(d) AS s FROM e WHERE id IN (1, 2, 4)", pg=True)
    t.query("a sum of decimals beyond 28 digits at the end", "SELECT sum(d) AS s FROM e WHERE id IN (1, 4)", record_error="overflow")
    t.query("a mean of numbers beyond 2^53", "SELECT avg(n) AS m FROM e WHERE g = 'odd'", pg="SELECT (sum(n) * 1.0 / 2)::float8 AS m FROM e WHERE g = 'odd'")
    t.query("a mean of extremes is exact", "SELECT avg(n) AS m FROM e", pg="SELECT (sum(n) * 1.00000000000000000000 / 6)::float8 AS m FROM e")
    t.query("a decimal equals a decimal of another scale as key", "SELECT d * 1.00 AS k, count(*) AS n FROM e WHERE id = 4 GROUP BY d * 1.00",
            pg=True)

"""Literals, operators' precedence, comments, names without quotes."""


def topic(Topic):
    t = Topic("literals", "Literals, precedence, comments, leniency in names")
    t.eval("""
        1
        -1
        0
        007                               @want 7
        1.50
        .5                                @want 0.5
        -0.5
        0.000
        'text'
        ''
        'it''s'
        'a "quoted" word'
        'back\\slash'
        'tab	here'
        'Zürich 東京 🚀'
        'semi;colon -- no comment /* here */'
        NULL
        TRUE
        FALSE
        true AND NOT false
        DATE '2026-01-31'
        DATE '2024-02-29'
        TIME '12:34:56'
        TIME '00:00:00'
        TIME '23:59:59.999999'
        TIMESTAMP '2026-01-01 00:00:00'
        TIMESTAMP '2026-01-01 00:00:00.1'
        TIMESTAMP '2026-01-01 12:34:56.123'
        TIMESTAMP '2026-01-01 12:34:56.123456'
        TIMESTAMP '2026-01-01T12:34:56'
        TIMESTAMP '1969-12-31 23:59:59.5'
        TIMESTAMP '0001-01-01 00:00:00'
        TIMESTAMP '9999-12-31 23:59:59.999999'
        INTERVAL '1' DAY
        INTERVAL '5' SECOND
        INTERVAL '5' MINUTE
        INTERVAL '2' HOUR
        INTERVAL '3' MONTH
        INTERVAL '1' YEAR
        INTERVAL '14' MONTH
        INTERVAL '90' MINUTE
        INTERVAL '1 day 2 hours'
        INTERVAL '1 year 2 months 3 days 04:05:06'
        INTERVAL '1.5' SECOND
        INTERVAL '0' SECOND
        INTERVAL '-1' DAY
        INTERVAL '2 weeks'
    """)
    t.eval("""
        1 + 2 * 3
        1 - 2 - 3
        2 * 3 % 4
        NOT 1 = 2
        NOT true OR true
        true OR false AND false
        1 + 1 = 2 AND 2 + 2 = 4
        'a' || 'b' = 'ab'
        (1 < 2) = true
        1 = 1 AND NOT 2 = 2 OR 3 = 3
        - 2 * 3
        5 - -3
        1 BETWEEN 0 AND 2 AND true
        NOT 5 BETWEEN 1 AND 3
        'a' || 1 + 2
        1 || 'a'
        'x' || 1.50
        'x' || NULL
        'd ' || DATE '2026-01-02'
        't ' || true
    """)
    t.input("w", 'timestamp TIMESTAMP, start BIGINT, "end" BIGINT, "window" VARCHAR, count BIGINT, hour BIGINT, rows BIGINT, "offset" BIGINT, interval BIGINT', """
        {"timestamp":"2026-01-01T00:00:00Z","start":1,"end":2,"window":"w","count":3,"hour":4,"rows":5,"offset":6,"interval":7}
        {"timestamp":"2026-01-01T00:00:01Z","start":10,"end":20,"window":"v","count":30,"hour":40,"rows":50,"offset":60,"interval":70}
    """)
    # The input above is declared with quotes only where PostgreSQL wants them; ours needs none.
    for word in ["timestamp", "start", "end", "window", "count", "hour", "rows", "offset", "interval"]:
        plain = {"timestamp": '"2026-01-01T00:00:00Z"', "window": '"w"'}
        value = plain.get(word, {"start": "1", "end": "2", "count": "3", "hour": "4", "rows": "5", "offset": "6", "interval": "7"}.get(word))
        t.query(f"{word} as a column name", f"SELECT {word} FROM w LIMIT 1", rows=f'{{"{word}":{value}}}')
    t.query("lenient names in expressions", 'SELECT start + end AS total, offset * 2 AS twice, w.window FROM w WHERE count > 3 AND hour = 40',
            rows='{"total":30,"twice":120,"window":"v"}')
    t.query("lenient names in an order", "SELECT interval, rows, offset, timestamp FROM w WHERE interval = 7 AND rows = 5",
            rows='{"interval":7,"rows":5,"offset":6,"timestamp":"2026-01-01T00:00:00Z"}')
    t.query("lenient names after AS", "SELECT start AS end, end AS start, 1 AS window, 2 AS count, 3 AS offset FROM w LIMIT 1",
            rows='{"end":1,"start":2,"window":1,"count":2,"offset":3}')
    t.query("LIMIT and OFFSET beside a column offset", "SELECT offset FROM w LIMIT 1 OFFSET 1", rows='{"offset":60}')
    t.query("== is =", "SELECT start FROM w WHERE start == 10", rows='{"start":10}')
    t.query("<> and != are the same", "SELECT start <> 1 AS a, start != 1 AS b FROM w", pg=True)
    t.query("a final semicolon", "SELECT 1 AS a;", rows='{"a":1}')
    t.query("keywords in any case", "sElEcT start aS s FrOm w wHeRe start = 1 aNd TRUE", rows='{"s":1}')
    t.query("both comment forms", "SELECT /* a /* nested */ comment */ 1 AS a, -- to the end\n 2 AS b", rows='{"a":1,"b":2}')
    t.query("quoted names keep their case", 'SELECT 1 AS "Total Sum", 2 AS "a""b"', rows='{"Total Sum":1,"a\\"b":2}')
    t.query("unquoted columns are found in any case", "SELECT START AS a FROM W LIMIT 1", rows='{"a":1}')
    t.query("alias without AS", "SELECT start s, start + 1 t FROM w", pg=True)
    t.query("an alias is reusable in a later item", "SELECT start + 1 AS a, a * 2 AS b FROM w", rows="""
        {"a":2,"b":4}
        {"a":11,"b":22}
    """)
    t.query("an input column wins over an alias in WHERE", "SELECT start + 100 AS start FROM w WHERE start = 1", rows='{"start":101}')
    t.query("the table's alias", "SELECT x.start FROM w AS x WHERE x.count = 3", rows='{"start":1}')
    t.query("the table's alias without AS", "SELECT x.start FROM w x WHERE x.count = 3", rows='{"start":1}')
    t.query("a misspelt column names the nearest", "SELECT strat FROM w", error="start")
    t.query("a misspelt column is named", "SELECT no_such_thing_here FROM w", error="no_such_thing_here")
    t.query("a misspelt function names the nearest", "SELECT uper('a')", error="upper")
    t.query("an unknown table is named", "SELECT 1 FROM nowhere_at_all", error="nowhere_at_all")
    t.query("a hidden table name is not usable", "SELECT w.start FROM w AS x", error="w")
    t.query("something after the end", "SELECT 1 AS a FROM w EMIT", error="")
    t.query("a number with a unit is no alias", "SELECT 10s FROM w", error="")
    t.query("unfinished string", "SELECT 'abc FROM w", error="")
    t.query("unbalanced parenthesis", "SELECT (1 + 2 FROM w", error="")
    t.query("two expressions without a comma", "SELECT 1 2 FROM w", error="")
    t.query("one character too many", "SELECT 1 AS a FROM w WHERE start = 1 )", error="")
    t.query("text plus number", "SELECT window + 1 FROM w", error="")
    t.query("text is no condition", "SELECT 1 AS a FROM w WHERE window", error="")
    t.query("a number is no condition", "SELECT 1 AS a FROM w WHERE start", error="")
    t.query("wrong number of arguments", "SELECT upper('a', 'b') FROM w", error="upper")
    t.query("duplicate table alias", "SELECT 1 AS a FROM w LIMIT 1 LIMIT 2", error="")
    return t

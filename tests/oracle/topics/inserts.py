"""INSERT, declared sinks, what a sink writes, and what is refused before anything runs."""


def topic(Topic):
    t = Topic("inserts", "INSERT INTO and CREATE … AS: implicit casts, JSON and CSV output, declarations that are refused")
    t.input("t", "id BIGINT, s VARCHAR, d DECIMAL(8,2), f DOUBLE, b BOOLEAN, ts TIMESTAMP, n INT, xs ARRAY<BIGINT>", """
        {"id":1,"s":"a,b","d":1.50,"f":2.5,"b":true,"ts":"2026-01-01T00:00:00.5Z","n":7,"xs":[1,2]}
        {"id":2,"s":"say \\"hi\\"","d":-0.10,"f":-0.125,"b":false,"ts":"2026-01-31T12:34:56.123456Z","n":-7,"xs":[]}
        {"id":3,"s":null,"d":null,"f":null,"b":null,"ts":null,"n":null,"xs":null}
        {"id":4,"s":"Zürich\\n東京","d":100.50,"f":0.1,"b":true,"ts":"1969-12-31T23:59:59Z","n":0,"xs":[null,3]}
    """)
    sink = "CREATE STREAM r (%s) WITH (connector = 'file', path = '{out}', format = '%s');\nINSERT INTO r "
    t.query("by position, not by name", sink % ("x BIGINT, y VARCHAR", "json") + "SELECT n, s AS x FROM t WHERE id < 3", rows="""
        {"x":7,"y":"a,b"}
        {"x":-7,"y":"say \\"hi\\""}
    """)
    t.query("widening is implicit", sink % ("a DOUBLE, b DECIMAL(12,4), c BIGINT, d DECIMAL(20,2)", "json") + "SELECT id, d, n, n FROM t", rows="""
        {"a":~1,"b":1.5000,"c":7,"d":7.00}
        {"a":~2,"b":-0.1000,"c":-7,"d":-7.00}
        {"a":~3,"b":null,"c":null,"d":null}
        {"a":~4,"b":100.5000,"c":0,"d":0.00}
    """)
    t.query("anything to VARCHAR is implicit", sink % ("a VARCHAR, b VARCHAR, c VARCHAR, d VARCHAR", "json") + "SELECT id, d, b, ts FROM t", rows="""
        {"a":"1","b":"1.50","c":"true","d":"2026-01-01T00:00:00.500Z"}
        {"a":"2","b":"-0.10","c":"false","d":"2026-01-31T12:34:56.123456Z"}
        {"a":"3","b":null,"c":null,"d":null}
        {"a":"4","b":"100.50","c":"true","d":"1969-12-31T23:59:59Z"}
    """)
    t.query("CSV out", sink % ("id BIGINT, s VARCHAR, d DECIMAL(8,2), b BOOLEAN, ts TIMESTAMP", "csv") + "SELECT id, s, d, b, ts FROM t WHERE id < 4", rows='''
        id,s,d,b,ts
        1,"a,b",1.50,true,2026-01-01T00:00:00.500Z
        2,"say ""hi""",-0.10,false,2026-01-31T12:34:56.123456Z
        3,,,,
    ''')
    t.query("arrays in CSV are JSON text", sink % ("id BIGINT, xs ARRAY<BIGINT>", "csv") + "SELECT id, xs FROM t", rows="""
        id,xs
        1,"[1,2]"
        2,[]
        3,
        4,"[null,3]"
    """)
    t.query("CREATE STREAM AS takes its columns from the query",
            "CREATE STREAM r WITH (connector = 'file', path = '{out}', format = 'json') AS SELECT id + 1 AS next, upper(s) AS u FROM t WHERE id = 1",
            rows='{"next":2,"u":"A,B"}')
    t.query("two INSERTs into one sink", sink % ("x BIGINT", "json") + "SELECT id FROM t WHERE id < 3;\nINSERT INTO r SELECT id * 10 FROM t WHERE id > 2",
            rows='{"x":1}\n{"x":2}\n{"x":30}\n{"x":40}', sorted=True)
    t.query("two sinks from one source",
            "CREATE STREAM other WITH (connector = 'blackhole') AS SELECT id FROM t;\n" + sink % ("x BIGINT", "json") + "SELECT id FROM t",
            rows='{"x":1}\n{"x":2}\n{"x":3}\n{"x":4}')
    hole = "CREATE STREAM r (%s) WITH (connector = 'blackhole');\nINSERT INTO r %s;\nSELECT 1 AS a"
    t.query("too few columns", hole % ("a BIGINT, b BIGINT", "SELECT id FROM t"), error="column")
    t.query("too many columns", hole % ("a BIGINT", "SELECT id, n FROM t"), error="column")
    t.query("text into a number", hole % ("a BIGINT", "SELECT s FROM t"), error="VARCHAR")
    t.query("a double into a decimal", hole % ("a DECIMAL(8,2)", "SELECT f FROM t"), error="DOUBLE")
    t.query("a timestamp into a number", hole % ("a BIGINT", "SELECT ts FROM t"), error="TIMESTAMP")
    t.query("into something unknown", "INSERT INTO nowhere SELECT id FROM t;\nSELECT 1 AS a", error="nowhere")
    bad = "CREATE STREAM x (a BIGINT) WITH (%s);\nSELECT a FROM x"
    t.query("an unknown connector names the nearest", bad % "connector = 'fiel', path = 'x.jsonl', format = 'json'", error="file")
    t.query("an unknown format names the nearest", bad % "connector = 'file', path = 'x.jsonl', format = 'jsno'", error="json")
    t.query("an unknown option names the nearest", bad % "connector = 'file', pth = 'x.jsonl', format = 'json'", error="path")
    t.query("an option with a wrong value", bad % "connector = 'file', path = 'x.jsonl', format = 'json', on_error = 'ignore'", error="on_error")
    t.query("a missing path", bad % "connector = 'file', format = 'json'", error="path")
    t.query("dlq without a target", "SET on_error = 'dlq';\nSELECT id FROM t", error="dlq")
    t.query("an unknown column type", "CREATE STREAM x (a NOSUCH) WITH (connector = 'blackhole');\nSELECT 1 AS a", error="NOSUCH")
    t.query("a column twice", "CREATE STREAM x (a BIGINT, a BIGINT) WITH (connector = 'blackhole');\nSELECT 1 AS a", error="a")
    t.query("a stream twice", "CREATE STREAM t (a BIGINT) WITH (connector = 'blackhole');\nSELECT 1 AS a", error="t")
    t.query("dropping what is not there", "DROP STREAM nothing_here;\nSELECT 1 AS a", error="nothing_here")
    t.query("a setting with a wrong value", "SET threads = 'many';\nSELECT 1 AS a", error="threads")
    t.query("a decimal wider than 28 digits", "CREATE STREAM x (a DECIMAL(30,2)) WITH (connector = 'blackhole');\nSELECT 1 AS a", error="28")
    return t

"""ORDER BY, LIMIT, FETCH FIRST, DISTINCT with ORDER BY, over bounded input."""


def topic(Topic):
    t = Topic("order", "ORDER BY: expressions, ordinals, aliases, NULLs, ties; LIMIT, OFFSET, FETCH FIRST; over groups and UNION")
    t.input("t", "id BIGINT, k VARCHAR, a BIGINT, d DECIMAL(8,2), x DOUBLE, at TIMESTAMP", """
        {"id":1,"k":"b","a":3,"d":1.50,"x":0.5,"at":"2026-01-01T00:00:03Z"}
        {"id":2,"k":"a","a":null,"d":2.50,"x":-1.5,"at":"2026-01-01T00:00:01Z"}
        {"id":3,"k":"b","a":1,"d":null,"x":2.25,"at":null}
        {"id":4,"k":null,"a":3,"d":-4.00,"x":null,"at":"2026-01-01T00:00:01Z"}
        {"id":5,"k":"c","a":2,"d":100.50,"x":0.5,"at":"2025-12-31T23:59:59Z"}
        {"id":6,"k":"a","a":null,"d":1.5,"x":1e10,"at":"2026-01-02T00:00:00Z"}
        {"id":7,"k":"A","a":-7,"d":0.00,"x":-0.0,"at":"2026-01-01T00:00:02Z"}
        {"id":8,"k":"","a":1,"d":2.50,"x":0.0,"at":"2026-01-01T00:00:02Z"}
    """)
    t.input("u", "k VARCHAR, n BIGINT", """
        {"k":"a","n":1}
        {"k":"b","n":2}
        {"k":"z","n":3}
        {"k":"a","n":1}
        {"k":null,"n":4}
    """)
    same = [
        ("a column", "SELECT id FROM t ORDER BY id DESC"),
        ("a column that is not selected", "SELECT id FROM t ORDER BY a, id"),
        ("NULLs come last, also descending", "SELECT id, a FROM t ORDER BY a DESC NULLS LAST, id"),
        ("NULLS FIRST", "SELECT id, a FROM t ORDER BY a NULLS FIRST, id DESC"),
        ("NULLS FIRST descending", "SELECT id, a FROM t ORDER BY a DESC NULLS FIRST, id"),
        ("several keys in several directions", "SELECT k, a, id FROM t ORDER BY k ASC, a DESC NULLS LAST, id"),
        ("an ordinal", "SELECT a, id FROM t ORDER BY 2 DESC"),
        ("two ordinals", "SELECT k, id FROM t ORDER BY 1, 2 DESC"),
        ("an alias", "SELECT id, d * 2 AS twice FROM t ORDER BY twice, id"),
        ("an alias hides the column of that name", "SELECT id, -id AS a FROM t ORDER BY a"),
        ("in an expression a column hides the alias", "SELECT id, -id AS a FROM t ORDER BY a + 0, id"),
        ("an expression", "SELECT id FROM t ORDER BY a * -1, id"),
        ("the expression of an item", "SELECT id % 3 AS m, id FROM t ORDER BY id % 3, id DESC"),
        ("a function", "SELECT k FROM t ORDER BY upper(k), k, id"),
        ("CASE", "SELECT id FROM t ORDER BY CASE WHEN k = 'c' THEN 0 WHEN k IS NULL THEN 1 ELSE 2 END, id"),
        ("a condition", "SELECT id FROM t ORDER BY a > 1, id"),
        ("decimals of one value are ties", "SELECT id, d FROM t ORDER BY d, id"),
        ("doubles", "SELECT id FROM t ORDER BY x, id"),
        ("times", "SELECT id, at FROM t ORDER BY at DESC NULLS LAST, id"),
        ("text goes by its bytes", "SELECT k FROM t ORDER BY k"),
        ("a qualified column", "SELECT t.id FROM t ORDER BY t.a, t.id"),
        ("a constant beside", "SELECT id, 'c' AS c FROM t ORDER BY c, id"),
        ("behind WHERE", "SELECT id FROM t WHERE a IS NOT NULL ORDER BY a, id"),
        ("LIMIT", "SELECT id FROM t ORDER BY a, id LIMIT 3"),
        ("LIMIT and OFFSET", "SELECT id FROM t ORDER BY a DESC NULLS LAST, id LIMIT 3 OFFSET 2"),
        ("OFFSET alone", "SELECT id FROM t ORDER BY a, id OFFSET 5"),
        ("OFFSET beyond the end", "SELECT id FROM t ORDER BY id LIMIT 3 OFFSET 100"),
        ("LIMIT 0", "SELECT id FROM t ORDER BY id LIMIT 0"),
        ("LIMIT beyond the end", "SELECT id FROM t ORDER BY id DESC LIMIT 100"),
        ("LIMIT ALL", "SELECT id FROM t ORDER BY id DESC LIMIT ALL"),
        ("FETCH FIRST", "SELECT id FROM t ORDER BY id DESC FETCH FIRST 2 ROWS ONLY"),
        ("FETCH NEXT ROW", "SELECT id FROM t ORDER BY a, id FETCH NEXT ROW ONLY"),
        ("OFFSET and FETCH", "SELECT id FROM t ORDER BY id OFFSET 2 ROWS FETCH FIRST 3 ROWS ONLY"),
        ("FETCH without ORDER BY", "SELECT id FROM t FETCH FIRST 2 ROWS ONLY"),
        ("an order within and an order without", "SELECT id FROM (SELECT id, a FROM t ORDER BY id DESC LIMIT 5) AS q ORDER BY a, id"),
        ("the first rows of the last rows", "SELECT id FROM (SELECT id FROM t ORDER BY id DESC LIMIT 4) AS q ORDER BY id LIMIT 2"),
        ("a CTE in order", "WITH q AS (SELECT id, a FROM t ORDER BY a, id LIMIT 4) SELECT id FROM q ORDER BY id"),
        ("groups by their count", "SELECT k, count(*) AS n FROM t GROUP BY k ORDER BY n DESC, k"),
        ("groups by an aggregate that is not selected", "SELECT k FROM t GROUP BY k ORDER BY max(id) DESC"),
        ("groups by an expression of aggregates", "SELECT k, sum(a)::bigint AS s FROM t GROUP BY k ORDER BY coalesce(sum(a), 0) + min(id), k"),
        ("groups by the key", "SELECT count(*) AS n FROM t GROUP BY k ORDER BY k"),
        ("the largest groups", "SELECT k, count(*) AS n FROM t GROUP BY k HAVING count(*) > 1 ORDER BY n DESC, k LIMIT 1"),
        ("one row of a global aggregate", "SELECT count(*) AS n FROM t ORDER BY n LIMIT 5"),
        ("DISTINCT", "SELECT DISTINCT k FROM t ORDER BY k"),
        ("DISTINCT by an expression that is selected", "SELECT DISTINCT a % 2 AS odd FROM t ORDER BY a % 2"),
        ("DISTINCT by an ordinal, cut off", "SELECT DISTINCT k, n FROM u ORDER BY 2 DESC LIMIT 3"),
        ("DISTINCT groups", "SELECT DISTINCT count(*) AS n FROM t GROUP BY k ORDER BY n"),
        ("DISTINCT with LIMIT and no order has so many rows", "SELECT count(*) AS n FROM (SELECT DISTINCT k FROM t LIMIT 3) AS q"),
        ("UNION ALL", "SELECT id AS v FROM t UNION ALL SELECT n FROM u ORDER BY v DESC LIMIT 6"),
        ("UNION ALL by an ordinal", "SELECT k, id FROM t WHERE id < 3 UNION ALL SELECT k, n FROM u ORDER BY 2, 1"),
        ("UNION ALL of queries in order", "(SELECT id FROM t ORDER BY id DESC LIMIT 2) UNION ALL (SELECT n FROM u ORDER BY n LIMIT 1) ORDER BY 1"),
        ("VALUES", "VALUES (2, 'x'), (1, 'y'), (3, NULL) ORDER BY column2 DESC NULLS LAST"),
        ("without FROM", "SELECT 1 AS one ORDER BY one"),
    ]
    for title, sql in same:
        t.query(title, sql, pg=True)
    for title, sql in [
        ("DISTINCT ON", "SELECT DISTINCT ON (k) k, id, a FROM t ORDER BY k, a DESC NULLS LAST, id"),
        ("DISTINCT ON two keys", "SELECT DISTINCT ON (k, a) k, a, id FROM t ORDER BY k, a, id DESC"),
        ("DISTINCT ON an expression", "SELECT DISTINCT ON (a % 2) a, id FROM t ORDER BY a % 2, id DESC"),
        ("DISTINCT ON an alias, cut off", "SELECT DISTINCT ON (kk) upper(k) AS kk, id FROM t ORDER BY kk, id LIMIT 2"),
        ("DISTINCT ON an ordinal", "SELECT DISTINCT ON (1) k, id FROM t ORDER BY 1 DESC NULLS LAST, 2 DESC"),
        ("DISTINCT ON groups", "SELECT DISTINCT ON (count(*)) k, count(*) AS n FROM t GROUP BY k ORDER BY count(*), k"),
    ]:
        t.query(title, sql, pg=True)
    t.query("DISTINCT ON without an order takes the rows that come first", "SELECT DISTINCT ON (k) k, id FROM t", rows="""
        {"k":"b","id":1}
        {"k":"a","id":2}
        {"k":null,"id":4}
        {"k":"c","id":5}
        {"k":"A","id":7}
        {"k":"","id":8}
    """)
    t.query("DISTINCT ON in another order", "SELECT DISTINCT ON (k) k, id FROM t ORDER BY id", error="must begin with what stands in DISTINCT ON")
    t.query("a query in parentheses", "(SELECT id FROM t ORDER BY id DESC LIMIT 3) ORDER BY id", rows="\n".join('{"id":%d}' % i for i in [6, 7, 8]))
    t.query("NULLs come last by default, in both directions", "SELECT a FROM t WHERE id > 4 ORDER BY a DESC, id", pg="SELECT a FROM t WHERE id > 4 ORDER BY a DESC NULLS LAST, id")
    t.query("ties keep their order", "SELECT id FROM t ORDER BY k IS NULL", rows="\n".join('{"id":%d}' % i for i in [1, 2, 3, 5, 6, 7, 8, 4]))
    t.query("an alias in an expression, where no column has that name", "SELECT id, a * 2 AS b FROM t ORDER BY b + 1, id LIMIT 3", pg="SELECT id, a * 2 AS b FROM t ORDER BY a * 2 + 1, id LIMIT 3")
    t.query("a star", "SELECT * FROM u ORDER BY n DESC, k LIMIT 2", pg="SELECT k, n FROM u ORDER BY n DESC, k LIMIT 2")
    t.query("what is cut off is not computed", "SELECT 6 / (id - 1) AS q FROM t ORDER BY id DESC LIMIT 2", pg="SELECT 6 / (id - 1) AS q FROM t WHERE id > 6 ORDER BY id DESC")
    t.query("a key that fails is a record error", "SELECT id FROM t ORDER BY 1 / (id - 1)", record_error="division_by_zero")
    t.query("the order of equal keys does not depend on the batch", "SELECT id, k FROM t ORDER BY length(k) LIMIT 5", rows="""
        {"id":8,"k":""}
        {"id":1,"k":"b"}
        {"id":2,"k":"a"}
        {"id":3,"k":"b"}
        {"id":5,"k":"c"}
    """)
    t.query("into a stream", "CREATE STREAM o (n SMALLINT, s VARCHAR) WITH (connector = 'file', path = '{out}', format = 'json');\n"
            "INSERT INTO o SELECT 7, k FROM t ORDER BY id DESC LIMIT 2", rows='{"n":7,"s":""}\n{"n":7,"s":"A"}')
    f = "FROM 'examples/data/flights.csv'"
    for title, sql, head in [
        ("the latest departures of the month", f"SELECT carrier, flight, day, dep_delay {f} ORDER BY dep_delay DESC NULLS LAST, flight LIMIT 10", 0),
        ("every flight in order", f"SELECT day, sched_dep_time, carrier, flight, origin {f} ORDER BY day DESC, sched_dep_time, carrier, flight, origin", 3),
        ("destinations by the number of flights", f"SELECT dest, count(*) AS n {f} GROUP BY dest ORDER BY n DESC, dest LIMIT 12", 0),
        ("the second page of carriers", f"SELECT carrier, max(distance) AS far {f} GROUP BY carrier ORDER BY far DESC, carrier LIMIT 5 OFFSET 5", 0),
        ("pairs of airports", f"SELECT DISTINCT origin, dest {f} ORDER BY origin, dest DESC", 3),
    ]:
        t.query(title, sql, duck=True, **({"digest": head} if head else {}))
    for title, sql, error in [
        ("an ordinal that is not there", "SELECT id FROM t ORDER BY 2", "there is 1 item in the SELECT list"),
        ("an unknown column", "SELECT id FROM t ORDER BY nme", "there is no column 'nme'"),
        ("an ambiguous name", "SELECT id AS v, a AS v FROM t ORDER BY v", "several items have that name"),
        ("not grouped by", "SELECT k FROM t GROUP BY k ORDER BY a", "must be in GROUP BY"),
        ("DISTINCT by something else", "SELECT DISTINCT k FROM t ORDER BY id", "must be one of its items"),
        ("UNION by a column of one side", "SELECT id AS v FROM t UNION ALL SELECT n FROM u ORDER BY a", "there is no column 'a'"),
        ("LIMIT and FETCH", "SELECT id FROM t ORDER BY id LIMIT 1 FETCH FIRST ROW ONLY", "not both"),
        ("WITH TIES", "SELECT id FROM t ORDER BY a FETCH FIRST 1 ROW WITH TIES", "WITH TIES is not supported"),
        ("an aggregate beside rows", "SELECT id FROM t ORDER BY count(*)", "must be in GROUP BY"),
    ]:
        t.query(title, sql, error=error)
    return t

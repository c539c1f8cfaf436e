"""GROUPING SETS, ROLLUP, CUBE, GROUPING, GROUP BY ALL; UNION, INTERSECT, EXCEPT."""

import random


def topic(Topic):
    t = Topic("sets", "GROUPING SETS, ROLLUP, CUBE, GROUPING; UNION, INTERSECT, EXCEPT with and without ALL")
    rng = random.Random(20260128)
    value = lambda values: "null" if rng.random() < 0.15 else rng.choice(values)
    rows = ['{"id":%d,"a":%s,"b":%s,"n":%s}' % (
        i, value(['"x"', '"y"']), value(["1", "2", "3"]), value([str(n) for n in range(-3, 9)])) for i in range(24)]
    t.input("t", "id BIGINT, a VARCHAR, b BIGINT, n BIGINT", "\n".join(rows))
    t.input("u", "a VARCHAR, b BIGINT", "\n".join(
        '{"a":%s,"b":%s}' % (value(['"x"', '"z"']), value(["1", "2", "4"])) for _ in range(14)))
    t.input("e", "a VARCHAR, b BIGINT", '{"a":"never","b":0}')
    same = [
        ("ROLLUP", "SELECT a, b, count(*) AS c FROM t GROUP BY ROLLUP (a, b)"),
        ("ROLLUP of pairs", "SELECT a, b, count(*) AS c FROM t GROUP BY ROLLUP ((a, b), n > 2)"),
        ("ROLLUP beside an expression", "SELECT a, b, sum(n)::bigint AS s FROM t GROUP BY a, ROLLUP (b)"),
        ("CUBE", "SELECT a, b, count(*) AS c, max(n) AS m FROM t GROUP BY CUBE (a, b)"),
        ("GROUPING SETS", "SELECT a, b, count(n) AS c FROM t GROUP BY GROUPING SETS ((a), (b), (a, b), ())"),
        ("GROUPING SETS without brackets", "SELECT a, b, count(*) AS c FROM t GROUP BY GROUPING SETS (a, b)"),
        ("a set twice", "SELECT a, count(*) AS c FROM t GROUP BY GROUPING SETS ((a), (a), ())"),
        ("GROUPING SETS combined", "SELECT a, b, n > 2 AS m, count(*) AS c FROM t GROUP BY GROUPING SETS (a, b), ROLLUP (n > 2)"),
        ("GROUPING", "SELECT a, b, GROUPING(a) AS ga, GROUPING(b) AS gb, GROUPING(a, b) AS g, count(*) AS c FROM t GROUP BY CUBE (a, b)"),
        ("GROUPING tells a NULL from a key left out", "SELECT a, GROUPING(a) AS g, count(*) AS c FROM t GROUP BY ROLLUP (a)"),
        ("GROUPING of a plain key", "SELECT a, GROUPING(a) AS g, count(*) AS c FROM t GROUP BY a"),
        ("GROUPING in HAVING", "SELECT a, b, count(*) AS c FROM t GROUP BY ROLLUP (a, b) HAVING GROUPING(b) = 1"),
        ("GROUPING in an expression", "SELECT CASE WHEN GROUPING(a) = 1 THEN 'all' ELSE coalesce(a, 'none') END AS w, count(*) AS c FROM t GROUP BY ROLLUP (a)"),
        ("ORDER BY GROUPING", "SELECT a, count(*) AS c FROM t GROUP BY ROLLUP (a) ORDER BY GROUPING(a), a"),
        ("HAVING over sets", "SELECT a, b, count(*) AS c FROM t GROUP BY CUBE (a, b) HAVING count(*) > 3"),
        ("an expression as a key", "SELECT b % 2 AS odd, a, count(*) AS c FROM t GROUP BY ROLLUP (b % 2, a)"),
        ("an ordinal and an alias", "SELECT a AS k, b, count(*) AS c FROM t GROUP BY ROLLUP (k, 2)"),
        ("an aggregate of a key", "SELECT a, b, sum(b)::bigint AS s FROM t GROUP BY ROLLUP (a, b)"),
        ("the empty set alone", "SELECT count(*) AS c FROM t GROUP BY ()"),
        ("the empty set has a row without rows", "SELECT a, count(*) AS c FROM t WHERE id > 1000 GROUP BY ROLLUP (a)"),
        ("a subtotal over ranks", "SELECT a, count(*) AS c, rank() OVER (ORDER BY count(*) DESC) AS r FROM t GROUP BY ROLLUP (a)"),
        ("UNION", "SELECT a, b FROM t UNION SELECT a, b FROM u"),
        ("UNION of three", "SELECT a FROM t UNION SELECT a FROM u UNION SELECT a FROM e"),
        ("UNION ALL behind UNION", "SELECT b FROM u UNION SELECT b FROM e UNION ALL SELECT b FROM u"),
        ("UNION behind UNION ALL", "SELECT b FROM u UNION ALL SELECT b FROM e UNION SELECT b FROM u"),
        ("UNION in order, cut off", "SELECT b FROM t UNION SELECT b FROM u ORDER BY b DESC NULLS LAST LIMIT 3"),
        ("UNION takes NULLs for equal", "SELECT NULL::bigint AS x UNION SELECT NULL"),
        ("INTERSECT", "SELECT a, b FROM t INTERSECT SELECT a, b FROM u"),
        ("INTERSECT ALL", "SELECT a, b FROM t INTERSECT ALL SELECT a, b FROM u"),
        ("EXCEPT", "SELECT a, b FROM t EXCEPT SELECT a, b FROM u"),
        ("EXCEPT the other way", "SELECT a, b FROM u EXCEPT SELECT a, b FROM t"),
        ("EXCEPT ALL", "SELECT a, b FROM t EXCEPT ALL SELECT a, b FROM u"),
        ("EXCEPT ALL of one column", "SELECT a FROM t EXCEPT ALL SELECT a FROM u"),
        ("EXCEPT of nothing", "SELECT a, b FROM u EXCEPT SELECT a, b FROM e WHERE b > 0"),
        ("INTERSECT with nothing", "SELECT a, b FROM u INTERSECT SELECT a, b FROM e"),
        ("INTERSECT binds closer", "SELECT a FROM e UNION SELECT a FROM t INTERSECT SELECT a FROM u"),
        ("brackets bind closest", "(SELECT a FROM e UNION SELECT a FROM t) INTERSECT SELECT a FROM u"),
        ("EXCEPT of three", "SELECT b FROM t EXCEPT SELECT b FROM u EXCEPT SELECT b FROM e"),
        ("EXCEPT ALL of three", "SELECT b FROM t EXCEPT ALL SELECT b FROM u EXCEPT ALL SELECT b FROM u"),
        ("EXCEPT in a subquery", "SELECT count(*) AS c FROM (SELECT a, b FROM t EXCEPT SELECT a, b FROM u) AS q"),
        ("EXCEPT in order", "SELECT a, b FROM t EXCEPT SELECT a, b FROM u ORDER BY b, a"),
        ("INTERSECT of groups", "SELECT a, count(*) AS c FROM t GROUP BY a INTERSECT SELECT a, count(*) FROM t WHERE id >= 0 GROUP BY a"),
    ]
    for title, sql in same:
        t.query(title, sql, pg=True, sorted=not (sql.endswith("b, a") or "LIMIT" in sql or sql.endswith("(a), a")))
    t.query("WITH ROLLUP", "SELECT a, b, count(*) AS c FROM t GROUP BY a, b WITH ROLLUP", pg="SELECT a, b, count(*) AS c FROM t GROUP BY ROLLUP (a, b)", sorted=True)
    t.query("GROUP BY ALL", "SELECT a, b % 2 AS odd, count(*) AS c FROM t GROUP BY ALL", pg="SELECT a, b % 2 AS odd, count(*) AS c FROM t GROUP BY a, b % 2", sorted=True)
    t.query("GROUP BY ALL with aggregates only", "SELECT count(*) AS c FROM t GROUP BY ALL", pg="SELECT count(*) AS c FROM t")
    f = "FROM 'examples/data/flights.csv'"
    for title, sql in [
        ("flights by airport and carrier, with totals", f"SELECT origin, carrier, count(*) AS n {f} GROUP BY ROLLUP (origin, carrier) ORDER BY origin NULLS LAST, carrier NULLS LAST"),
        ("places that JFK serves and Newark does not", f"SELECT dest {f} WHERE origin = 'JFK' EXCEPT SELECT dest {f} WHERE origin = 'EWR' ORDER BY dest"),
        ("places that all three serve", f"SELECT dest {f} WHERE origin = 'JFK' INTERSECT SELECT dest {f} WHERE origin = 'EWR' INTERSECT SELECT dest {f} WHERE origin = 'LGA' ORDER BY dest"),
    ]:
        t.query(title, sql, duck=True)
    for title, sql, error in [
        ("a column outside of the sets", "SELECT n FROM t GROUP BY ROLLUP (a)", "must be in GROUP BY"),
        ("GROUPING of what is no key", "SELECT GROUPING(n) FROM t GROUP BY ROLLUP (a)", "GROUPING are grouping expressions"),
        ("GROUPING in WHERE", "SELECT a FROM t WHERE GROUPING(a) = 1 GROUP BY a", "can't stand in WHERE"),
        ("too many sets", "SELECT count(*) FROM t GROUP BY CUBE (a, b, n, id, a, b, n, id, a, b, n, id, a)", "4096"),
        ("columns that differ in number", "SELECT a, b FROM t EXCEPT SELECT a FROM u", "inputs of EXCEPT differ in columns"),
        ("types that differ", "SELECT a FROM t INTERSECT SELECT b FROM u", "INTERSECT, column 'a'"),
        ("UNION BY NAME", "SELECT a FROM t UNION BY NAME SELECT a FROM u", "BY NAME is not supported"),
    ]:
        t.query(f"refused: {title}", sql, error=error)
    return t

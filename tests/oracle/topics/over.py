"""Calls OVER: ranks, row values, aggregates over frames; QUALIFY; top-N by row number; over bounded input."""

T = """
    {"id":1,"k":"b","a":3,"d":1.50,"x":0.5,"at":"2026-01-01T00:00:03Z"}
    {"id":2,"k":"a","a":null,"d":2.50,"x":-1.5,"at":"2026-01-01T00:00:01Z"}
    {"id":3,"k":"b","a":1,"d":null,"x":2.25,"at":null}
    {"id":4,"k":null,"a":3,"d":-4.00,"x":null,"at":"2026-01-01T00:00:01Z"}
    {"id":5,"k":"c","a":2,"d":100.50,"x":0.5,"at":"2025-12-31T23:59:59Z"}
    {"id":6,"k":"a","a":null,"d":1.5,"x":1e3,"at":"2026-01-02T00:00:00Z"}
    {"id":7,"k":"a","a":-7,"d":0.00,"x":-0.25,"at":"2026-01-01T00:00:02Z"}
    {"id":8,"k":"b","a":1,"d":2.50,"x":0.0,"at":"2026-01-01T00:00:02Z"}
    {"id":9,"k":"b","a":9,"d":2.50,"x":0.0,"at":"2026-01-01T00:00:06Z"}
    {"id":10,"k":"b","a":null,"d":7.25,"x":4.0,"at":"2026-01-01T00:00:03.500Z"}
"""


def topic(Topic):
    t = Topic("over", "Calls OVER: ranks, row values, aggregates, frames, named windows, QUALIFY, top-N by row number")
    t.input("t", "id BIGINT, k VARCHAR, a BIGINT, d DECIMAL(8,2), x DOUBLE, at TIMESTAMP", T)
    same = [
        ("row_number", "SELECT id, row_number() OVER (ORDER BY id DESC) AS n FROM t"),
        ("row_number in partitions", "SELECT id, row_number() OVER (PARTITION BY k ORDER BY a DESC NULLS LAST, id) AS n FROM t"),
        ("ranks with ties", "SELECT id, rank() OVER (ORDER BY a) AS r, dense_rank() OVER (ORDER BY a) AS d FROM t"),
        ("ranks in partitions", "SELECT id, rank() OVER (PARTITION BY k ORDER BY a NULLS FIRST) AS r, dense_rank() OVER (PARTITION BY k ORDER BY a NULLS FIRST) AS d FROM t"),
        ("percent_rank and cume_dist", "SELECT id, percent_rank() OVER (ORDER BY a) AS p, cume_dist() OVER (ORDER BY a) AS c FROM t"),
        ("percent_rank and cume_dist in partitions", "SELECT id, percent_rank() OVER (PARTITION BY k ORDER BY d) AS p, cume_dist() OVER (PARTITION BY k ORDER BY d) AS c FROM t"),
        ("ranks without an order: all are peers", "SELECT id, rank() OVER () AS r, dense_rank() OVER (PARTITION BY k) AS d, cume_dist() OVER () AS c FROM t"),
        ("ntile", "SELECT id, ntile(3) OVER (ORDER BY id) AS a, ntile(4) OVER (ORDER BY id DESC) AS b, ntile(100) OVER (ORDER BY id) AS c FROM t"),
        ("ntile in partitions", "SELECT id, ntile(2) OVER (PARTITION BY k ORDER BY id) AS n FROM t"),
        ("lag and lead", "SELECT id, lag(a) OVER (ORDER BY id) AS p, lead(a) OVER (ORDER BY id) AS n FROM t"),
        ("lag and lead further away", "SELECT id, lag(id, 3) OVER (ORDER BY id) AS p, lead(id, 2) OVER (PARTITION BY k ORDER BY id) AS n FROM t"),
        ("lag and lead with a default", "SELECT id, lag(id, 2, -1::bigint) OVER (ORDER BY id) AS p, lead(k, 1, 'none') OVER (PARTITION BY k ORDER BY id) AS n FROM t"),
        ("lag by an offset of the row", "SELECT id, lag(id, (id % 4)::int) OVER (ORDER BY id) AS p FROM t"),
        ("lag by 0 and backwards", "SELECT id, lag(id, 0) OVER (ORDER BY id) AS z, lag(id, -1) OVER (ORDER BY id) AS b FROM t"),
        ("lag of an expression", "SELECT id, id - lag(id * 2, 1, 0::bigint) OVER (ORDER BY id) AS p FROM t"),
        ("first_value and last_value", "SELECT id, first_value(id) OVER (PARTITION BY k ORDER BY a, id) AS f, last_value(id) OVER (PARTITION BY k ORDER BY a, id) AS l FROM t"),
        ("last_value over the whole partition", "SELECT id, last_value(id) OVER (PARTITION BY k ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS l FROM t"),
        ("last_value among peers", "SELECT id, last_value(id) OVER (ORDER BY id % 3, id) AS l, first_value(id) OVER (ORDER BY id % 2, id) AS f FROM t"),
        ("nth_value", "SELECT id, nth_value(id, 2) OVER (ORDER BY id) AS n, nth_value(id, 3) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS m FROM t"),
        ("a sum so far", "SELECT id, sum(a)::bigint, sum(a) OVER (ORDER BY id)::bigint AS s FROM t GROUP BY id, a"),
        ("sums over a partition", "SELECT id, (sum(a) OVER (PARTITION BY k))::bigint AS s, count(*) OVER (PARTITION BY k) AS n, count(a) OVER () AS c FROM t"),
        ("a sum up to the peers", "SELECT id, (sum(id) OVER (ORDER BY a))::bigint AS s FROM t"),
        ("minimum and maximum so far", "SELECT id, min(a) OVER (ORDER BY id) AS lo, max(d) OVER (PARTITION BY k ORDER BY id) AS hi FROM t"),
        ("a moving sum", "SELECT id, (sum(id) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW))::bigint AS s FROM t"),
        ("a moving minimum", "SELECT id, min(a) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS s, max(k) OVER (ORDER BY id ROWS 2 PRECEDING) AS m FROM t"),
        ("frames behind and before", "SELECT id, (sum(id) OVER (ORDER BY id ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING))::bigint AS b, (sum(id) OVER (ORDER BY id ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING))::bigint AS f FROM t"),
        ("an empty frame", "SELECT id, count(*) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND 3 PRECEDING) AS n, max(id) OVER (ORDER BY id ROWS BETWEEN 20 FOLLOWING AND 30 FOLLOWING) AS m FROM t"),
        ("to the end of the partition", "SELECT id, (sum(id) OVER (PARTITION BY k ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING))::bigint AS s FROM t"),
        ("RANGE over integers", "SELECT id, count(*) OVER (ORDER BY a RANGE BETWEEN 2 PRECEDING AND 1 FOLLOWING) AS n, (sum(id) OVER (ORDER BY a DESC NULLS LAST RANGE BETWEEN 2 PRECEDING AND CURRENT ROW))::bigint AS s FROM t"),
        ("RANGE over decimals", "SELECT id, count(*) OVER (ORDER BY d RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS n FROM t"),
        ("RANGE over doubles", "SELECT id, count(*) OVER (ORDER BY x RANGE BETWEEN 2 PRECEDING AND CURRENT ROW) AS n FROM t"),
        ("RANGE over times", "SELECT id, count(*) OVER (ORDER BY at RANGE BETWEEN INTERVAL '2' SECOND PRECEDING AND CURRENT ROW) AS n, (sum(id) OVER (PARTITION BY k ORDER BY at RANGE BETWEEN INTERVAL '1500 ms' PRECEDING AND INTERVAL '1' SECOND FOLLOWING))::bigint AS s FROM t"),
        ("RANGE over dates", "SELECT id, count(*) OVER (ORDER BY CAST(at AS DATE) RANGE BETWEEN INTERVAL '1' DAY PRECEDING AND CURRENT ROW) AS n FROM t"),
        ("RANGE between peers", "SELECT id, count(*) OVER (ORDER BY a RANGE BETWEEN CURRENT ROW AND CURRENT ROW) AS n, count(*) OVER (ORDER BY a RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS f FROM t"),
        ("FILTER", "SELECT id, count(*) FILTER (WHERE a > 1) OVER (PARTITION BY k) AS n, (sum(id) FILTER (WHERE k = 'b') OVER (ORDER BY id ROWS 2 PRECEDING))::bigint AS s FROM t"),
        ("a named window", "SELECT id, row_number() OVER w AS n, count(*) OVER w AS c FROM t WINDOW w AS (PARTITION BY k ORDER BY id DESC)"),
        ("a window made of a named one", "SELECT id, count(*) OVER (w ORDER BY id) AS c, count(*) OVER (w) AS d, max(id) OVER (v ROWS 1 PRECEDING) AS m FROM t WINDOW w AS (PARTITION BY k), v AS (w ORDER BY id)"),
        ("several definitions", "SELECT id, row_number() OVER (ORDER BY d, id) AS p, rank() OVER (PARTITION BY k ORDER BY a) AS q, count(*) OVER (PARTITION BY a) AS r, (sum(id) OVER (ORDER BY id ROWS 1 PRECEDING))::bigint AS s FROM t"),
        ("in an expression", "SELECT id, id * 10 + row_number() OVER (PARTITION BY k ORDER BY id) AS n FROM t"),
        ("part of a whole", "SELECT id, 100 * id / (sum(id) OVER (PARTITION BY k))::bigint AS percent FROM t"),
        ("behind WHERE", "SELECT id, count(*) OVER () AS n FROM t WHERE a IS NOT NULL"),
        ("over groups", "SELECT k, count(*) AS n, rank() OVER (ORDER BY count(*) DESC) AS r FROM t GROUP BY k ORDER BY r, k"),
        ("an aggregate over an aggregate", "SELECT k, (sum(count(*)) OVER ())::bigint AS total, (sum(sum(id)) OVER (ORDER BY min(id)))::bigint AS so_far FROM t GROUP BY k ORDER BY min(id)"),
        ("over groups with HAVING", "SELECT k, row_number() OVER (ORDER BY k) AS n FROM t GROUP BY k HAVING count(*) > 1 ORDER BY n"),
        ("ORDER BY a call", "SELECT id FROM t ORDER BY row_number() OVER (PARTITION BY k ORDER BY id), id"),
        ("ORDER BY an alias of a call", "SELECT id, rank() OVER (ORDER BY a) AS r FROM t ORDER BY r DESC, id LIMIT 4"),
        ("DISTINCT", "SELECT DISTINCT k, count(*) OVER (PARTITION BY k) AS n FROM t ORDER BY k"),
        ("a filter outside", "SELECT id, c FROM (SELECT id, count(*) OVER (PARTITION BY k) AS c FROM t) AS q WHERE c > 3 ORDER BY id"),
        ("top 2 of each", "SELECT id, k, n FROM (SELECT id, k, row_number() OVER (PARTITION BY k ORDER BY a DESC NULLS LAST, id) AS n FROM t) AS q WHERE n <= 2 ORDER BY k, n"),
        ("top 1 of each", "SELECT id, k FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id DESC) AS n FROM t) AS q WHERE n = 1 ORDER BY k"),
        ("below 3", "SELECT id, n FROM (SELECT *, row_number() OVER (ORDER BY d, id) AS n FROM t) AS q WHERE n < 3 ORDER BY n"),
        ("ranks 2 to 3", "SELECT id, k, n FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS n FROM t) AS q WHERE n BETWEEN 2 AND 3 ORDER BY k, n"),
        ("from rank 3", "SELECT id, k, n FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS n FROM t) AS q WHERE 3 <= n ORDER BY k, n"),
        ("a rank that there is not", "SELECT id FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM t) AS q WHERE n <= 0"),
        ("top 2 and a condition", "SELECT id, n FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS n FROM t) AS q WHERE n <= 2 AND a > 1 ORDER BY id"),
        ("top ranks keep ties", "SELECT id, r FROM (SELECT id, rank() OVER (ORDER BY a) AS r FROM t) AS q WHERE r <= 2 ORDER BY r, id"),
        ("top groups", "SELECT k, c FROM (SELECT k, count(*) AS c, row_number() OVER (ORDER BY count(*) DESC, k) AS n FROM t GROUP BY k) AS q WHERE n <= 2 ORDER BY n"),
        ("string_agg so far", "SELECT id, string_agg(k, ',') OVER (PARTITION BY k ORDER BY id) AS s FROM t"),
        ("array_agg over a moving frame", "SELECT id, array_agg(id) OVER (ORDER BY id ROWS 2 PRECEDING) AS l FROM t"),
        ("bool_and and bit_or", "SELECT id, bool_and(a > 0) OVER (PARTITION BY k ORDER BY id) AS b, bit_or(id) OVER (ORDER BY id ROWS 1 PRECEDING) AS o FROM t"),
    ]
    for title, sql in same:
        t.query(title, sql, pg=True, sorted="ORDER BY" not in sql.split("OVER")[-1].split(")")[-1])
    by_duck = [
        ("an average that moves", "SELECT id, avg(a) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS m FROM t ORDER BY id"),
        ("QUALIFY", "SELECT id, k FROM t QUALIFY row_number() OVER (PARTITION BY k ORDER BY id DESC) = 1 ORDER BY id"),
        ("QUALIFY by an alias", "SELECT id, rank() OVER (ORDER BY a NULLS LAST) AS r FROM t QUALIFY r <= 3 ORDER BY r, id"),
        ("QUALIFY by two calls", "SELECT id FROM t QUALIFY row_number() OVER (PARTITION BY k ORDER BY id) = 1 AND count(*) OVER (PARTITION BY k) > 1 ORDER BY id"),
        ("QUALIFY over groups", "SELECT k, count(*) AS n FROM t GROUP BY k HAVING count(*) < 5 QUALIFY row_number() OVER (ORDER BY count(*) DESC, k) <= 2 ORDER BY k"),
        ("QUALIFY and DISTINCT", "SELECT DISTINCT k FROM t QUALIFY row_number() OVER (ORDER BY id) > 3 ORDER BY k"),
        ("count DISTINCT over a frame", "SELECT id, count(DISTINCT a) OVER (ORDER BY id ROWS 3 PRECEDING) AS n FROM t ORDER BY id"),
        ("median over a frame", "SELECT id, median(id) OVER (ORDER BY id ROWS 2 PRECEDING) AS m FROM t ORDER BY id"),
    ]
    duck_table = ("FROM t", "FROM (VALUES (1,'b',3,1.50,0.5),(2,'a',NULL,2.50,-1.5),(3,'b',1,NULL,2.25),(4,NULL,3,-4.00,NULL),(5,'c',2,100.50,0.5),"
                  "(6,'a',NULL,1.5,1e3),(7,'a',-7,0.00,-0.25),(8,'b',1,2.50,0.0),(9,'b',9,2.50,0.0),(10,'b',NULL,7.25,4.0)) AS t(id,k,a,d,x)")
    for title, sql in by_duck:
        t.query(title, sql, duck=sql.replace(*duck_table))
    t.query("a buffer of rows", "SELECT id, count(*) OVER (ROWS WINDOW BUFFER 3 ROWS PARTITION BY k ORDER BY id) AS n, max(a) OVER (ROWS WINDOW BUFFER 2 ROWS ORDER BY id) AS m FROM t ORDER BY id",
            pg="SELECT id, count(*) OVER (PARTITION BY k ORDER BY id ROWS 2 PRECEDING) AS n, max(a) OVER (ORDER BY id ROWS 1 PRECEDING) AS m FROM t ORDER BY id")
    t.query("rows come as they came", "SELECT id, row_number() OVER (ORDER BY id DESC) AS n FROM t LIMIT 2", rows='{"id":1,"n":10}\n{"id":2,"n":9}')
    t.query("rows of equal rank are numbered as they came", "SELECT id, row_number() OVER (ORDER BY k IS NULL) AS n FROM t WHERE id < 6", rows="\n".join('{"id":%d,"n":%d}' % p for p in [(1, 1), (2, 2), (3, 3), (4, 5), (5, 4)]))
    t.query("an alias without AS keeps what follows", "SELECT id, count(*) OVER (PARTITION BY k) c FROM t WHERE id > 8 ORDER BY id", rows='{"id":9,"c":2}\n{"id":10,"c":2}')
    t.query("a bucket count of 0", "SELECT ntile(id - 1) OVER (ORDER BY id) AS n FROM t", record_error="invalid_argument")
    f = "FROM 'examples/data/flights.csv'"
    for title, sql, head in [
        ("the three latest of each carrier", f"SELECT carrier, flight, day, dep_delay, n FROM (SELECT carrier, flight, day, dep_delay, row_number() OVER (PARTITION BY carrier ORDER BY dep_delay DESC NULLS LAST, day, flight, origin, dest) AS n {f}) AS q WHERE n <= 3 ORDER BY carrier, n", 3),
        ("top three carriers of each day", f"SELECT day, carrier, flights, n FROM (SELECT day, carrier, count(*) AS flights, row_number() OVER (PARTITION BY day ORDER BY count(*) DESC, carrier) AS n {f} GROUP BY day, carrier) AS q WHERE n <= 3 ORDER BY day, n", 6),
        ("delay of the last five flights of a plane", f"SELECT tailnum, day, flight, sum(dep_delay) OVER (PARTITION BY tailnum ORDER BY day, sched_dep_time, flight ROWS BETWEEN 4 PRECEDING AND CURRENT ROW)::bigint AS s {f} ORDER BY tailnum, day, sched_dep_time, flight", 3),
        ("departures within the hour before", f"SELECT origin, time_hour, count(*) OVER (PARTITION BY origin ORDER BY time_hour RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW) AS n {f} WHERE day = 3 ORDER BY origin, time_hour, n", 3),
    ]:
        t.query(title, sql, duck=True, digest=head)
    refused(t)
    return t


def refused(t):
    for title, sql, error in [
        ("in WHERE", "SELECT id FROM t WHERE row_number() OVER (ORDER BY id) = 1", "can't stand in WHERE"),
        ("in WHERE behind an alias", "SELECT id, row_number() OVER (ORDER BY id) AS n FROM t WHERE n = 1", "can't stand in WHERE"),
        ("in HAVING", "SELECT k FROM t GROUP BY k HAVING rank() OVER (ORDER BY k) = 1", "can't stand in HAVING"),
        ("in GROUP BY", "SELECT count(*) FROM t GROUP BY row_number() OVER (ORDER BY id)", "can't stand in GROUP BY"),
        ("inside an aggregate", "SELECT sum(row_number() OVER (ORDER BY id)) FROM t", "can't stand in an aggregate"),
        ("inside another", "SELECT sum(rank() OVER (ORDER BY a)) OVER (ORDER BY id) FROM t", "can't stand in the arguments of a call OVER"),
        ("row_number without OVER", "SELECT row_number() FROM t", "needs OVER"),
        ("a scalar function", "SELECT upper(k) OVER (ORDER BY id) FROM t", "neither an aggregate nor a window function"),
        ("an unknown window", "SELECT rank() OVER w FROM t", "there is no window 'w'"),
        ("a window twice", "SELECT rank() OVER w FROM t WINDOW w AS (ORDER BY a), w AS (ORDER BY d)", "twice"),
        ("a second PARTITION BY", "SELECT rank() OVER (w PARTITION BY a) FROM t WINDOW w AS (PARTITION BY k)", "can't be said again"),
        ("a second ORDER BY", "SELECT rank() OVER (w ORDER BY a) FROM t WINDOW w AS (ORDER BY k)", "has an order already"),
        ("a frame that ends before it begins", "SELECT count(*) OVER (ORDER BY id ROWS BETWEEN CURRENT ROW AND 1 PRECEDING) FROM t", "can't end before it"),
        ("a frame from the end", "SELECT count(*) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED FOLLOWING AND UNBOUNDED FOLLOWING) FROM t", "can't begin with UNBOUNDED FOLLOWING"),
        ("GROUPS", "SELECT count(*) OVER (ORDER BY id GROUPS 1 PRECEDING) FROM t", "GROUPS is not supported"),
        ("EXCLUDE", "SELECT count(*) OVER (ORDER BY id ROWS 1 PRECEDING EXCLUDE CURRENT ROW) FROM t", "EXCLUDE"),
        ("RANGE with two keys", "SELECT count(*) OVER (ORDER BY a, d RANGE 1 PRECEDING) FROM t", "exactly one ORDER BY item"),
        ("RANGE over text", "SELECT count(*) OVER (ORDER BY k RANGE 1 PRECEDING) FROM t", "can't reach such a distance"),
        ("RANGE over times in numbers", "SELECT count(*) OVER (ORDER BY at RANGE 1 PRECEDING) FROM t", "INTERVAL"),
        ("RANGE in months", "SELECT count(*) OVER (ORDER BY at RANGE INTERVAL '1' MONTH PRECEDING) FROM t", "months"),
        ("a negative distance", "SELECT count(*) OVER (ORDER BY id ROWS -1 PRECEDING) FROM t", "whole number of rows"),
        ("a distance of the row", "SELECT count(*) OVER (ORDER BY id ROWS a PRECEDING) FROM t", "constant distance"),
        ("FILTER of a rank", "SELECT rank() FILTER (WHERE a > 1) OVER (ORDER BY id) FROM t", "FILTER belongs to an aggregate"),
        ("IGNORE NULLS", "SELECT lag(a) IGNORE NULLS OVER (ORDER BY id) FROM t", "IGNORE NULLS is not supported"),
        ("an argument too many", "SELECT rank(a) OVER (ORDER BY id) FROM t", "rank takes no arguments"),
        ("not grouped by", "SELECT k, rank() OVER (ORDER BY a) FROM t GROUP BY k", "must be in GROUP BY"),
        ("QUALIFY without a call", "SELECT id FROM t QUALIFY id > 1", "QUALIFY needs a call OVER"),
        ("a buffer of 0 rows", "SELECT sum(a) OVER (ROWS WINDOW BUFFER 0 ROWS ORDER BY id) FROM t", "1 or more"),
    ]:
        t.query(f"refused: {title}", sql, error=error)

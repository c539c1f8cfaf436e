"""The month of flights: a real file, read by its name, schema inferred."""


def topic(Topic):
    t = Topic("flights", "Queries over examples/data: inferred CSV, declared NDJSON")
    f = "FROM 'examples/data/flights.csv'"
    queries = [
        ("every column of every flight", f"SELECT * {f}", 3),
        ("a filter", f"SELECT carrier, flight, origin, dest, dep_delay {f} WHERE dep_delay > 300", 0),
        ("late at both ends", f"SELECT carrier, flight, dep_delay, arr_delay {f} WHERE dep_delay > 60 AND arr_delay > 60", 3),
        ("cancelled flights", f"SELECT day, carrier, flight, tailnum {f} WHERE dep_time IS NULL", 3),
        ("diverted flights: departed, no air time", f"SELECT day, carrier, flight, dep_time, arr_time {f} WHERE dep_time IS NOT NULL AND air_time IS NULL", 3),
        ("tailnum NA is text", f"SELECT day, carrier, flight {f} WHERE tailnum = 'NA'", 3),
        ("made good in the air", f"SELECT carrier, flight, dep_delay - arr_delay AS gained {f} WHERE arr_delay < dep_delay - 40", 3),
        ("a NULL delay is not in time", f"SELECT flight {f} WHERE NOT (arr_delay > 0)", 3),
        ("a label for each flight", f"SELECT flight, CASE WHEN dep_time IS NULL THEN 'cancelled' WHEN dep_delay > 15 THEN 'late' ELSE 'on time' END AS state {f}", 5),
        ("text of several columns", f"SELECT carrier || flight || ': ' || origin || ' - ' || dest AS what {f}", 3),
        ("minutes of the day", f"SELECT flight, hour * 60 + minute AS scheduled, sched_dep_time / 100 * 60 + sched_dep_time % 100 AS again {f}", 3),
        ("carriers in a list", f"SELECT carrier, flight {f} WHERE carrier IN ('HA', 'YV', 'OO')", 3),
        ("destinations by pattern", f"SELECT dest, flight {f} WHERE dest LIKE 'S__' AND dest NOT LIKE '%N'", 3),
        ("between", f"SELECT flight, distance {f} WHERE distance BETWEEN 2000 AND 2500", 3),
        ("a time range", f"SELECT time_hour, flight {f} WHERE time_hour >= TIMESTAMP '2013-01-15 12:00:00' AND time_hour < TIMESTAMP '2013-01-15 14:00:00'", 3),
        ("date_trunc and extract", f"SELECT date_trunc('day', time_hour) AS d, flight {f} WHERE extract(hour FROM time_hour) = 3", 3),
        ("skipping into the file", f"SELECT day, flight {f} LIMIT 5 OFFSET 20000", 5),
        ("a limit on a filter", f"SELECT day, flight {f} WHERE origin = 'JFK' AND dest = 'HNL' LIMIT 10", 10),
        ("a subquery over the file", f"SELECT c, delay FROM (SELECT carrier AS c, coalesce(arr_delay, 0) + coalesce(dep_delay, 0) AS delay {f} WHERE month = 1) AS q WHERE delay > 1000", 0),
        ("a CTE over the file", f"WITH long AS (SELECT carrier, flight, air_time, distance {f} WHERE air_time > 380) SELECT carrier, flight, distance * 60 / air_time AS mph FROM long", 3),
        ("three-valued logic on real NULLs", f"SELECT flight {f} WHERE (dep_delay > 0) = (arr_delay > 0)", 3),
        ("strings of real data", f"SELECT lower(carrier) AS c, lpad(CAST(flight AS VARCHAR), 4, '0') AS f, substring(tailnum, 2, 3) AS t, length(tailnum) AS l {f}", 3),
        ("NULLIF and COALESCE", f"SELECT nullif(tailnum, 'NA') AS tail, coalesce(dep_time, -1) AS dep {f}", 3),
    ]
    for title, sql, head in queries:
        how = {"duck": sql.replace(" / ", " // ").replace("lower(", "lower(")}
        if title == "text of several columns":
            how["duck"] = sql.replace("|| flight", "|| CAST(flight AS VARCHAR)")
        if head:
            how["digest"] = head
        t.query(title, sql, **how)
    t.query("a division of decimals over the file", f"SELECT flight, distance * 1.0 / air_time AS mpm {f} WHERE carrier = 'HA' AND day <= 3", rows="\n".join(
        hawaiian()))
    t.query("airlines, all of it", "SELECT * FROM 'examples/data/airlines.csv'", duck="SELECT * FROM read_csv('examples/data/airlines.csv')")
    t.query("a column that is not in the file", f"SELECT tail_num {f}", error="tailnum")
    t.query("a file that is not there", "SELECT * FROM 'examples/data/nothing.csv'", error="nothing.csv")
    t.query("text compared with a number", f"SELECT flight {f} WHERE carrier = flight", error="")
    t.setup("""CREATE STREAM orders (order_id BIGINT, customer_id BIGINT, customer VARCHAR, amount DECIMAL(18,2), symbol VARCHAR, quantity INT,
  ts TIMESTAMP, paid BOOLEAN, discount DECIMAL(4,2), weight DOUBLE, city STRUCT<name VARCHAR, country VARCHAR>, tags ARRAY<VARCHAR>)
WITH (connector = 'file', path = 'examples/data/orders.jsonl', format = 'json');
""")
    duck = ("FROM orders", "FROM read_json('examples/data/orders.jsonl', format = 'newline_delimited', columns = {order_id: 'BIGINT', customer_id: 'BIGINT', "
            "customer: 'VARCHAR', amount: 'DECIMAL(18,2)', symbol: 'VARCHAR', quantity: 'INT', ts: 'TIMESTAMP', paid: 'BOOLEAN', discount: 'DECIMAL(4,2)', "
            "weight: 'DOUBLE', city: 'STRUCT(name VARCHAR, country VARCHAR)', tags: 'VARCHAR[]'})")
    for title, sql, head in [
            ("orders, every column but the double", "SELECT * EXCLUDE (weight) FROM orders", 3),
            ("orders with a double", "SELECT order_id, weight, weight * 2 AS w2 FROM orders WHERE order_id <= 20", 0),
            ("orders by decimal", "SELECT order_id, amount FROM orders WHERE amount > 900000.00", 2),
            ("orders at one exact price", "SELECT order_id, amount FROM orders WHERE amount = 88.68", 0),
            ("value of an order", "SELECT order_id, amount * quantity AS total FROM orders", 3),
            ("unpaid or unknown", "SELECT order_id, paid FROM orders WHERE paid IS NOT TRUE", 3),
            ("no discount known", "SELECT order_id, discount, coalesce(discount, 0.00) AS d FROM orders WHERE discount IS NULL OR discount < 0.02", 3),
            ("names with accents", "SELECT order_id, customer, length(customer) AS n, upper(customer) AS u FROM orders WHERE customer LIKE '%ö%' OR customer LIKE '%花%'", 3),
            ("by the city", "SELECT order_id, city.name AS city FROM orders WHERE city.country IN ('CH', 'JP')", 3),
            ("first tag", "SELECT order_id, tags[1] AS tag, cardinality(tags) AS n FROM orders", 3),
            ("one row a tag", "SELECT order_id, tag FROM orders CROSS JOIN UNNEST(tags) AS u(tag)", 3),
            ("orders of an hour", "SELECT order_id, ts FROM orders WHERE ts >= TIMESTAMP '2026-01-01 05:00:00' AND ts < TIMESTAMP '2026-01-01 06:00:00'", 3),
            ("whole of a nested column", "SELECT order_id, city, tags FROM orders WHERE symbol IS NULL", 3)]:
        how = {"duck": sql.replace(*duck).replace("cardinality(", "len(")}
        if head:
            how["digest"] = head
        t.query(title, sql, **how)
    t.query("orders read by their name", "SELECT order_id, symbol FROM 'examples/data/orders.jsonl'", duck="SELECT order_id, symbol " + duck[1], digest=3)
    bad = """CREATE STREAM bad (order_id BIGINT, customer VARCHAR, amount DECIMAL(10,2), ts TIMESTAMP)
WITH (connector = 'file', path = 'examples/data/orders_bad.jsonl', format = 'json'%s);
SELECT order_id, customer, amount FROM bad"""
    t.query("bad lines skipped, their neighbours kept", bad % ", on_error = 'skip'", rows="""
        {"order_id":1,"customer":"Ada","amount":10.50}
        {"order_id":5,"customer":"Ada","amount":5.00}
        {"order_id":7,"customer":"Ada","amount":7.00}
        {"order_id":12,"customer":"Zoë","amount":12.00}
    """)
    # ts is not read above, so line 7 (30 February) is good there and bad here.
    t.query("a bad value counts where its column is read", bad.replace("amount FROM", "amount, ts FROM") % ", on_error = 'skip'", rows="""
        {"order_id":1,"customer":"Ada","amount":10.50,"ts":"2026-01-01T00:00:01Z"}
        {"order_id":5,"customer":"Ada","amount":5.00,"ts":"2026-01-01T00:00:05Z"}
        {"order_id":12,"customer":"Zoë","amount":12.00,"ts":"2026-01-01T00:00:12Z"}
    """)
    t.query("a bad line ends the job", bad % "", record_error="malformed")
    t.input("inferred", "", """
        id,name,score,day,ok,mixed
        1,Ada,1.5,2026-01-01,true,7
        2,"",NA,,false,x
        3,,2.25,2026-01-03,,NA
        4,NA,-1,NULL,true,
        5,"a ""b"", c",10,2026-01-05,FALSE,"NA"
    """, form="csv")
    t.query("inferred CSV: empty, quoted empty, NA", "SELECT * FROM inferred", rows="""
        {"id":1,"name":"Ada","score":~1.5,"day":"2026-01-01","ok":true,"mixed":"7"}
        {"id":2,"name":"","score":null,"day":null,"ok":false,"mixed":"x"}
        {"id":3,"name":null,"score":~2.25,"day":"2026-01-03","ok":null,"mixed":"NA"}
        {"id":4,"name":"NA","score":~-1,"day":null,"ok":true,"mixed":null}
        {"id":5,"name":"a \\"b\\", c","score":~10,"day":"2026-01-05","ok":false,"mixed":"NA"}
    """)
    t.query("inferred types compute", "SELECT id + 1 AS i, score * 2 AS s, day + 1 AS d FROM inferred WHERE ok", rows="""
        {"i":2,"s":~3.0,"d":"2026-01-02"}
        {"i":5,"s":~-2.0,"d":null}
    """)
    return t


def hawaiian():
    """distance * 1.0 / air_time: scale 1 and 0, so 1 + 6 places, half away from zero."""
    import csv
    import pathlib
    from decimal import ROUND_HALF_UP, Decimal

    path = pathlib.Path(__file__).resolve().parents[3] / "examples" / "data" / "flights.csv"
    for r in csv.DictReader(path.open()):
        if r["carrier"] == "HA" and int(r["day"]) <= 3:
            mpm = (Decimal(r["distance"]) / Decimal(r["air_time"])).quantize(Decimal("1e-7"), rounding=ROUND_HALF_UP)
            yield f'{{"flight":{r["flight"]},"mpm":{mpm}}}'

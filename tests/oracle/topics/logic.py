"""Three-valued logic, NULL, comparison, conditional expressions."""


def topic(Topic):
    t = Topic("logic", "Three-valued logic, NULL, comparison across types, CASE and its kin, IN, BETWEEN")
    values = ["true", "false", "NULL"]
    lines = [f"{a} {op} {b}" for op in ("AND", "OR") for a in values for b in values]
    lines += [f"NOT {a}" for a in values]
    lines += [f"{a} IS {n}{what}" for a in values for n in ("", "NOT ") for what in ("NULL", "TRUE", "FALSE", "UNKNOWN")]
    lines = [line.replace("NULL IS", "CAST(NULL AS BOOLEAN) IS") for line in lines]
    t.eval("\n".join(lines))
    t.eval("""
        NULL = NULL
        NULL <> NULL
        1 = NULL
        NULL = 1
        1 <> NULL
        1 < NULL
        NULL + 1
        1 - CAST(NULL AS BIGINT)
        NULL IS NULL
        1 IS NULL
        1 IS NOT NULL
        NULL IS NOT NULL
        1 IS DISTINCT FROM 1
        1 IS DISTINCT FROM 2
        1 IS DISTINCT FROM NULL
        NULL IS DISTINCT FROM NULL
        NULL IS DISTINCT FROM 1
        1 IS NOT DISTINCT FROM 1
        1 IS NOT DISTINCT FROM 2
        1 IS NOT DISTINCT FROM NULL
        NULL IS NOT DISTINCT FROM NULL
        'a' IS NOT DISTINCT FROM 'a'
        1.0 IS NOT DISTINCT FROM 1
        1.50 IS DISTINCT FROM 1.5
    """)
    t.eval("""
        1 = 1.0
        1 < 1.5
        2 > 1.99
        1.5 = CAST(1.5 AS DOUBLE)
        1 = CAST(1 AS DOUBLE)
        9007199254740993 = 9007199254740993.0
        9223372036854775807 > 9223372036854775806.5
        -1 < 0
        'a' < 'b'
        'a' < 'B'
        'Z' < 'a'
        'abc' < 'abd'
        'abc' < 'abcd'
        '' < 'a'
        '10' < '9'
        'ä' > 'z'
        'a' = 'a '
        'a' = 'A'
        true > false
        true = true
        false < true
        DATE '2026-01-01' < DATE '2026-01-02'
        DATE '2026-01-01' = TIMESTAMP '2026-01-01 00:00:00'
        DATE '2026-01-01' < TIMESTAMP '2026-01-01 00:00:01'
        TIMESTAMP '2026-01-01 00:00:00.001' > TIMESTAMP '2026-01-01 00:00:00'
        TIME '10:00:00' > TIME '09:59:59.999'
        INTERVAL '1' DAY = INTERVAL '24' HOUR
        INTERVAL '1' DAY < INTERVAL '25' HOUR
        INTERVAL '1' MONTH = INTERVAL '30' DAY
        INTERVAL '1' MONTH > INTERVAL '29' DAY
        DATE '2026-01-01' = '2026-01-01'
        TIMESTAMP '2026-01-01 00:00:00' >= '2026-01-01'
        '2026-01-02' > DATE '2026-01-01'
        7 = '7'
        1.5 = '1.50'
        true = 'true'
        1 <= 1
        1 >= 2
        1 != 2
    """)
    t.eval("""
        CASE WHEN true THEN 1 ELSE 2 END
        CASE WHEN false THEN 1 ELSE 2 END
        CASE WHEN NULL THEN 1 ELSE 2 END
        CASE WHEN false THEN 1 END
        CASE WHEN 1 = 1 THEN 'a' WHEN 1 = 1 THEN 'b' END
        CASE 2 WHEN 1 THEN 'one' WHEN 2 THEN 'two' ELSE 'many' END
        CASE NULL WHEN NULL THEN 'null' ELSE 'else' END
        CASE 3 WHEN 1 THEN 'one' END
        CASE WHEN true THEN 1 ELSE 2.50 END  @loose
        CASE WHEN false THEN 1 ELSE 2.50 END  @loose
        CASE WHEN true THEN 1 ELSE CAST(2 AS DOUBLE) END
        CASE WHEN true THEN NULL ELSE 1 END
        CASE WHEN true THEN 1 ELSE 1 / 0 END      @want 1
        CASE WHEN true THEN DATE '2026-01-01' ELSE TIMESTAMP '2026-01-01 10:00:00' END
        COALESCE(1, 2)
        COALESCE(NULL, 2)
        COALESCE(NULL, NULL, 3)
        COALESCE(NULL, NULL)
        COALESCE(1, 2.50)  @loose
        COALESCE(NULL, 'x')
        COALESCE(1, 1 / 0)                        @want 1
        NULLIF(1, 1)
        NULLIF(1, 2)
        NULLIF(NULL, 1)
        NULLIF(1, NULL)
        NULLIF('a', 'b')
        NULLIF(1.0, 1)
        GREATEST(1, 2, 3)
        GREATEST(1, NULL, 3)
        GREATEST(NULL, NULL)
        GREATEST(1, 2.5)  @loose
        GREATEST('a', 'b')
        LEAST(1, 2, 3)
        LEAST(NULL, 2)
        LEAST(1.5, 1)  @loose
        LEAST(DATE '2026-01-02', DATE '2026-01-01')
        7 / 0 > 1 AND false                       @err division_by_zero
        false AND 7 / 0 > 1                       @want false
        true OR 7 / 0 > 1                         @want true
        7 / 0 > 1 OR true                         @err division_by_zero
    """)
    t.eval("""
        1 IN (1, 2, 3)
        4 IN (1, 2, 3)
        NULL IN (1, 2)
        1 IN (1, NULL)
        4 IN (1, NULL)
        4 NOT IN (1, 2)
        1 NOT IN (1, NULL)
        4 NOT IN (1, NULL)
        NULL NOT IN (1)
        'a' IN ('a', 'b')
        'A' IN ('a', 'b')
        1.0 IN (1, 2)
        1 IN (1.0, 2.5)
        1.50 IN (1.5)
        DATE '2026-01-01' IN ('2026-01-01', '2026-01-02')
        5 IN (1 + 4)
        (1 IN (1)) IN (true)
        1 BETWEEN 1 AND 3
        3 BETWEEN 1 AND 3
        4 BETWEEN 1 AND 3
        2 BETWEEN 3 AND 1
        2 BETWEEN SYMMETRIC 3 AND 1
        NULL BETWEEN 1 AND 3
        2 BETWEEN NULL AND 3
        4 BETWEEN NULL AND 3
        0 BETWEEN 1 AND NULL
        2 NOT BETWEEN 1 AND 3
        4 NOT BETWEEN 1 AND 3
        4 NOT BETWEEN NULL AND 3
        1.5 BETWEEN 1 AND 2
        'b' BETWEEN 'a' AND 'c'
        DATE '2026-01-15' BETWEEN DATE '2026-01-01' AND DATE '2026-01-31'
        TIMESTAMP '2026-01-15 10:00:00' BETWEEN '2026-01-15' AND '2026-01-16'
    """)
    t.input("l", "id BIGINT, p BOOLEAN, q BOOLEAN, i BIGINT, d DECIMAL(8,2), f DOUBLE, s VARCHAR", """
        {"id":1,"p":true,"q":true,"i":1,"d":1.00,"f":1.0,"s":"a"}
        {"id":2,"p":true,"q":false,"i":2,"d":2.50,"f":2.5,"s":"B"}
        {"id":3,"p":true,"q":null,"i":null,"d":100.50,"f":100.5,"s":"abc"}
        {"id":4,"p":false,"q":true,"i":-3,"d":-3.00,"f":-3.0,"s":""}
        {"id":5,"p":false,"q":false,"i":0,"d":0.00,"f":0.1,"s":null}
        {"id":6,"p":false,"q":null,"i":5,"d":null,"f":null,"s":"ä"}
        {"id":7,"p":null,"q":true,"i":7,"d":7.01,"f":7.01,"s":"7"}
        {"id":8,"p":null,"q":false,"i":8,"d":7.99,"f":8.0,"s":"abc"}
        {"id":9,"p":null,"q":null,"i":9,"d":9.99,"f":9.99,"s":"Abc"}
    """)
    t.eval("""
        p AND q
        p OR q
        NOT p
        NOT (p AND q)
        NOT p OR NOT q
        p = q
        p <> q
        p IS DISTINCT FROM q
        p IS NOT DISTINCT FROM q
        p IS TRUE
        p IS NOT TRUE
        q IS FALSE
        q IS UNKNOWN
        p IS NULL
        i = d
        i > d
        d = f
        i <> f
        i IS DISTINCT FROM d
        i IN (1, 5, NULL)
        i NOT IN (1, 5)
        i IN (id, 2)
        d IN (1, 2.5, 100.50)
        d BETWEEN 1 AND 8
        f BETWEEN d AND d
        i BETWEEN d AND 10
        s IN ('a', 'abc')
        s < 'b'
        s = 'abc'
        s <> 'abc'
        s IS NULL
        COALESCE(i, -1)
        COALESCE(i, d)  @loose
        COALESCE(s, 'none')
        NULLIF(s, 'abc')
        NULLIF(i, 5)
        CASE WHEN p THEN 'p' WHEN q THEN 'q' ELSE 'none' END
        CASE WHEN i > 5 THEN 'big' WHEN i > 0 THEN 'small' END
        CASE s WHEN 'a' THEN 1 WHEN 'abc' THEN 2 ELSE 0 END
        CASE WHEN p THEN i ELSE d END  @loose
        CASE WHEN i = 0 THEN NULL ELSE 10 / i END
        GREATEST(i, d)  @loose
        LEAST(i, d, f)
    """, over="l")
    for n, condition in enumerate([
            "p", "NOT p", "p AND q", "p OR q", "NOT (p OR q)", "p = q", "p IS NULL", "i IS NULL", "d = 100.50", "d = 7.01",
            "i > 1 AND d < 8", "i NOT IN (1, 2, NULL)", "s <> 'abc'", "s = NULL", "NULL", "true", "false", "i = i", "NOT i = 1",
            "p IS NOT DISTINCT FROM q", "(p OR q) IS NOT NULL", "COALESCE(p, true)", "d - f = 0", "i * d > 10"]):
        t.query(f"WHERE {condition}", f"SELECT id FROM l WHERE {condition}", pg=True if condition != "NULL" else "SELECT id FROM l WHERE NULL::boolean")
    return t

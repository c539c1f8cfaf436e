"""CAST, TRY_CAST and ::, as a matrix of source and target types."""

TARGETS = ["BOOLEAN", "SMALLINT", "INT", "BIGINT", "DOUBLE", "DECIMAL(10,2)", "VARCHAR", "DATE", "TIME", "TIMESTAMP"]


def topic(Topic):
    t = Topic("casts", "CAST, TRY_CAST and ::")
    text = {
        "BOOLEAN": ["true", "false", "t", "f", "yes", "no", "1", "0", "TRUE", "maybe", "", "2"],
        "SMALLINT": ["1", "-32768", "32768", "x"],
        "INT": ["1", "-2147483648", "2147483648", "1.5"],
        "BIGINT": ["1", "-1", "+7", " 42 ", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "1.0", "1e3", "", "abc",
                   "0x10", "1_000"],
        "DOUBLE": ["1", "1.5", "-1.5e3", "1e-300", "NaN", "Infinity", "-Infinity", "abc", "", " 2.5 ", "1e400", ".5", "5."],
        "REAL": ["1.5", "1e39"],
        "DECIMAL(10,2)": ["1", "1.5", "1.505", "-1.505", "12345678.99", "123456789.99", "1e2", "abc", "", " 3 ", ".5"],
        "DECIMAL(5,0)": ["1.5", "2.5", "-2.5", "99999", "99999.5"],
        "VARCHAR": ["x", ""],
        "DATE": ["2026-01-31", "2026-02-29", "2024-02-29", "2026-13-01", "2026-00-10", "2026-01-32", "", "abc", "2026-01-31 12:00:00"],
        "TIME": ["12:34:56", "12:34", "23:59:59.999999", "25:00:00", "12:60:00", "abc", ""],
        "TIMESTAMP": ["2026-01-01 00:00:00", "2026-01-01T12:34:56Z", "2026-01-01T12:34:56.789", "2026-01-01", "2026-01-01T24:00:01", "2026-02-30 00:00:00",
                      "abc", ""],
        "INTERVAL": ["1 day", "PT1H", "P1Y2M3DT4H5M6S", "1 hour 30 minutes", "-2 days", "01:02:03", "abc", ""],
    }
    for kind, values in text.items():
        t.eval("\n".join(f"CAST('{v}' AS {kind})" for v in values))
    # An offset is applied: our TIMESTAMP is UTC, so PostgreSQL's TIMESTAMPTZ is the one to ask.
    t.eval("""
        CAST('2026-01-01T12:00:00+02:00' AS TIMESTAMP)        @pg '2026-01-01T12:00:00+02:00'::timestamptz
        CAST('2026-01-01 12:00:00-05' AS TIMESTAMP)           @pg '2026-01-01 12:00:00-05'::timestamptz
    """)
    t.eval("""
        CAST(true AS VARCHAR)
        CAST(false AS VARCHAR)
        CAST(true AS INT)
        CAST(false AS INT)
        CAST(1 AS BOOLEAN)
        CAST(0 AS BOOLEAN)
        CAST(5 AS BOOLEAN)
        CAST(1 AS VARCHAR)
        CAST(-9223372036854775807 AS VARCHAR)
        CAST(32767 AS SMALLINT)
        CAST(32768 AS SMALLINT)
        CAST(-32769 AS SMALLINT)
        CAST(2147483647 AS INT)
        CAST(2147483648 AS INT)
        CAST(-2147483649 AS INT)
        CAST(7 AS DOUBLE)
        CAST(7 AS DECIMAL(10,2))
        CAST(123456789 AS DECIMAL(10,2))
        CAST(1.4 AS BIGINT)
        CAST(1.5 AS BIGINT)
        CAST(2.5 AS BIGINT)
        CAST(-1.5 AS BIGINT)
        CAST(-2.5 AS BIGINT)
        CAST(0.5 AS INT)
        CAST(9223372036854775807.4 AS BIGINT)
        CAST(9223372036854775807.5 AS BIGINT)
        CAST(99999.5 AS SMALLINT)
        CAST(1.50 AS VARCHAR)
        CAST(-0.10 AS VARCHAR)
        CAST(1.50 AS DOUBLE)
        CAST(1.999 AS DECIMAL(10,2))
        CAST(1.5 AS DECIMAL(10,4))
        CAST(1.50 AS DECIMAL(10,0))
        CAST(CAST(1.5 AS DOUBLE) AS BIGINT)
        CAST(CAST(2.5 AS DOUBLE) AS BIGINT)
        CAST(CAST(-1.5 AS DOUBLE) AS BIGINT)
        CAST(CAST(1e30 AS DOUBLE) AS BIGINT)                  @err invalid_cast
        CAST(CAST('NaN' AS DOUBLE) AS BIGINT)                 @err invalid_cast
        CAST(CAST('Infinity' AS DOUBLE) AS BIGINT)            @err invalid_cast
        CAST(CAST(1.5 AS DOUBLE) AS VARCHAR)
        CAST(CAST(0.1 AS DOUBLE) AS VARCHAR)
        CAST(CAST(-2.5 AS DOUBLE) AS VARCHAR)
        CAST(CAST(1 AS DOUBLE) AS VARCHAR)
        CAST(CAST(2.345 AS DOUBLE) AS DECIMAL(10,2))
        CAST(CAST(0.1 AS DOUBLE) AS DECIMAL(10,5))
        CAST(CAST(1e20 AS DOUBLE) AS DECIMAL(10,2))           @err invalid_cast
        CAST(CAST('NaN' AS DOUBLE) AS DECIMAL(10,2))          @err invalid_cast
        CAST(DATE '2026-01-31' AS VARCHAR)
        CAST(DATE '2026-01-31' AS TIMESTAMP)
        CAST(TIMESTAMP '2026-01-31 23:59:59.9' AS DATE)
        CAST(TIMESTAMP '1969-12-31 23:59:59.9' AS DATE)
        CAST(TIMESTAMP '2026-01-31 12:34:56.5' AS TIME)
        CAST(TIMESTAMP '2026-01-31 12:34:56' AS VARCHAR)      @want "2026-01-31T12:34:56Z"
        CAST(TIMESTAMP '2026-01-31 12:34:56.7' AS VARCHAR)    @want "2026-01-31T12:34:56.700Z"
        CAST(TIME '12:34:56' AS VARCHAR)
        CAST(INTERVAL '1' DAY AS VARCHAR)                     @want "P1D"
        CAST(INTERVAL '90' MINUTE AS VARCHAR)                 @want "PT1H30M"
        CAST(TIME '12:34:56' AS INTERVAL)
        CAST(NULL AS BIGINT)
        CAST(NULL AS VARCHAR)
        CAST('abc' AS BYTES)                                  @pg 'abc'::bytea
        CAST(1.50 AS DECIMAL)                                 @loose
        CAST(12 AS TEXT)
        CAST(12 AS STRING)
        CAST('7' AS INTEGER)
        CAST('2.50' AS NUMERIC(5,1))
        '12'::BIGINT
        '12'::BIGINT + 1
        1.5::INT
        '2026-01-31'::DATE
        '1.5'::DOUBLE * 2
        '1.5'::DECIMAL(5,2)
        -1::INT
        '3'::INT::VARCHAR || 'x'
        CAST(CAST(1.5 AS VARCHAR) AS DECIMAL(5,3))
    """)
    t.eval("""
        TRY_CAST('12' AS BIGINT)
        TRY_CAST('abc' AS BIGINT)
        TRY_CAST('' AS BIGINT)
        TRY_CAST('1.5' AS BIGINT)
        TRY_CAST('9223372036854775808' AS BIGINT)
        TRY_CAST(40000 AS SMALLINT)
        TRY_CAST(2147483648 AS INT)
        TRY_CAST('1.5' AS DOUBLE)
        TRY_CAST('x' AS DOUBLE)
        TRY_CAST('1.555' AS DECIMAL(10,2))
        TRY_CAST('123456789' AS DECIMAL(10,2))
        TRY_CAST('2026-02-30' AS DATE)
        TRY_CAST('2026-02-28' AS DATE)
        TRY_CAST('noon' AS TIME)
        TRY_CAST('2026-01-01 10:00:00' AS TIMESTAMP)
        TRY_CAST('later' AS TIMESTAMP)
        TRY_CAST('maybe' AS BOOLEAN)
        TRY_CAST('true' AS BOOLEAN)
        TRY_CAST(NULL AS BIGINT)
        TRY_CAST('a day' AS INTERVAL)
        TRY_CAST(1 / 0 AS BIGINT)                             @err division_by_zero
        COALESCE(TRY_CAST('x' AS BIGINT), 0)                  @want 0
    """)
    t.input("c", "id BIGINT, s VARCHAR, d DECIMAL(8,3), f DOUBLE, i BIGINT, ts TIMESTAMP, b BOOLEAN", """
        {"id":1,"s":"12","d":1.500,"f":2.5,"i":1,"ts":"2026-01-31T12:34:56Z","b":true}
        {"id":2,"s":"-7","d":-2.500,"f":-2.5,"i":-32768,"ts":"1969-12-31T23:59:59.5Z","b":false}
        {"id":3,"s":null,"d":null,"f":null,"i":null,"ts":null,"b":null}
        {"id":4,"s":"0","d":0.005,"f":0.1,"i":0,"ts":"2024-02-29T00:00:00.000001Z","b":true}
    """)
    t.eval("""
        CAST(s AS BIGINT)
        CAST(s AS DECIMAL(6,1))
        CAST(s AS DOUBLE)
        s::INT + 1                                            @pg s::bigint + 1
        CAST(d AS BIGINT)
        CAST(d AS DECIMAL(8,1))
        CAST(d AS DECIMAL(8,2))
        CAST(d AS VARCHAR)
        CAST(d AS DOUBLE)
        CAST(f AS BIGINT)
        CAST(f AS DECIMAL(6,2))
        CAST(f AS VARCHAR)
        CAST(i AS SMALLINT)
        CAST(i AS VARCHAR)
        CAST(i AS DECIMAL(12,2))
        CAST(ts AS DATE)
        CAST(ts AS TIME)
        CAST(b AS INT)
        CAST(b AS VARCHAR)
        TRY_CAST(s AS SMALLINT)
    """, over="c")
    t.query("TRY_CAST beside a failing CAST", "SET on_error = 'skip';\nSELECT id, TRY_CAST(s AS DATE) AS a, CAST(i AS SMALLINT) AS b, CAST(d AS DECIMAL(3,2)) AS c FROM c WHERE CAST(s AS BIGINT) >= 0",
            rows="""
        {"id":1,"a":null,"b":1,"c":1.50}
        {"id":4,"a":null,"b":0,"c":0.01}
    """)
    t.query("a failing CAST names the value or the type", "SELECT CAST('abc' || s AS BIGINT) AS a FROM c", record_error="invalid_cast")
    t.query("a date is no number", "SELECT CAST(ts AS BIGINT) AS a FROM c", error="")
    t.query("a boolean is no date", "SELECT CAST(b AS DATE) AS a FROM c", error="")
    t.query("an unknown type is named", "SELECT CAST(s AS NOSUCHTYPE) AS a FROM c", error="NOSUCHTYPE")
    t.query("more than 28 digits", "SELECT CAST(s AS DECIMAL(40,2)) AS a FROM c", error="28")
    return t

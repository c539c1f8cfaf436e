"""Integer, decimal and double arithmetic."""


def topic(Topic):
    t = Topic("arithmetic", "Arithmetic: result types and scales, rounding, overflow, division by zero")
    t.eval("""
        1 + 1
        7 / 2
        -7 / 2
        7 / -2
        -7 / -2
        7 % 3
        -7 % 3
        7 % -3
        -7 % -3
        2 * 3 + 4 * 5
        2 + 3 * 4 - 6 / 4
        (2 + 3) * 4
        - (3 - 5)
        - - 5
        +5
        10 - 3 - 2
        100 / 10 / 5
        0 / 5
        0 % 5
        9223372036854775807
        -9223372036854775807 - 1
        9223372036854775806 + 1
        3037000499 * 3037000499
        7 / 0
        7 % 0
        0 / 0
        9223372036854775807 + 1
        -9223372036854775807 - 2
        9223372036854775807 * 2
        4611686018427387904 * 2
        -4611686018427387904 * 2
        (-9223372036854775807 - 1) / -1
        - (-9223372036854775807 - 1)
        (-9223372036854775807 - 1) % -1
        abs(-9223372036854775807 - 1)
        2147483647 + 1                    @want 2147483648
        2147483647 * 2                    @want 4294967294
        65536 * 65536                     @want 4294967296
        CAST(32767 AS SMALLINT) + CAST(1 AS SMALLINT)   @want 32768
        CAST(2147483647 AS INT) + CAST(1 AS INT)        @want 2147483648
        - CAST(-32768 AS SMALLINT)                      @want 32768
    """)
    t.eval("""
        1.50
        100.50
        0.1 + 0.2
        1.5 + 1
        1.50 + 1
        1.50 - 0.5
        1.50 * 2
        1.50 * 2.0
        1.25 * 1.25
        0.10 * 0.10
        -1.5 * 3.00
        - 1.50
        5.5 % 2
        -5.5 % 2
        5.5 % -2
        7.25 % 0.5
        1.5 - 1.5
        0.1 + 0.2 = 0.3
        1.10 = 1.1
        1.50 = 1.5
        2.0 = 2
        100.50 = 100.5
        12345678901234567890.12 + 0.01
        99999999999999999999999999.99 - 0.99
        1.5 / 0
        1.5 / 0.0
        1.5 % 0
        0.0 / 0
        1.0 / 3                           @py div("1.0", "3")
        2.0 / 3                           @py div("2.0", "3")
        -2.0 / 3                          @py div("-2.0", "3")
        2 / 3.0                           @py div("2", "3.0")
        7 / 2.0                           @py div("7", "2.0")
        1.00 / 3.000                      @py div("1.00", "3.000")
        10.50 / 4                         @py div("10.50", "4")
        10.50 / 0.25                      @py div("10.50", "0.25")
        1 / 8.0                           @py div("1", "8.0")
        0.0000005 / 1.0                   @py div("0.0000005", "1.0")
        1.5 / 1000000                     @py div("1.5", "1000000")
        1.0 / 16000000                    @py div("1.0", "16000000")
        -1.0 / 16000000                   @py div("-1.0", "16000000")
        1.00 / 16                         @py div("1.00", "16")
        2.5 / 2.5                         @py div("2.5", "2.5")
        100.50 / 3 * 3                    @py scaled(Decimal(div("100.50", "3")) * 3, 8)
        99999999999999.99 * 99999999999999.99           @err overflow
        9999999999999999999999999999 + 1                @err overflow
        999999999999999999999999999.0 * 100             @err overflow
        99999999999999999999999999.99 + 0.01            @err overflow
        1234567890123.4 * 1234567890123.45              @py scaled(Decimal("1234567890123.4") * Decimal("1234567890123.45"), 3)
        12345678901234.5 * 1234567890123.45             @err overflow
        9223372036854775807 + 1.0                       @py "9223372036854775808.0"
        9223372036854775807 * 1.00                      @py "9223372036854775807.00"
    """)
    t.eval("""
        CAST(1.25 AS DECIMAL(10,1))
        CAST(-1.25 AS DECIMAL(10,1))
        CAST(1.15 AS DECIMAL(10,1))
        CAST(0.005 AS DECIMAL(10,2))
        CAST(-0.005 AS DECIMAL(10,2))
        CAST(0.0049999 AS DECIMAL(10,2))
        CAST(2.345 AS DECIMAL(10,2))
        CAST(1 AS DECIMAL(10,2))
        CAST(1 AS DECIMAL(10,2)) + CAST(1 AS DECIMAL(10,3))
        CAST(1.5 AS DECIMAL(10,2)) * CAST(1.5 AS DECIMAL(10,2))
        CAST(99999.99 AS DECIMAL(5,2))
        CAST(999.995 AS DECIMAL(5,2))
        CAST(1.5 AS DECIMAL(10,2)) / CAST(3 AS DECIMAL(10,3))    @py div("1.50", "3.000")
    """)
    t.eval("""
        CAST(1 AS DOUBLE) / 3
        CAST(1.5 AS DOUBLE) + 1
        CAST(0.1 AS DOUBLE) + CAST(0.2 AS DOUBLE)
        CAST(1.5 AS DOUBLE) * 2.5
        CAST(1.5 AS DOUBLE) + 2.5
        CAST(7 AS DOUBLE) / 2
        CAST(-7 AS DOUBLE) / 2
        1e3                               @want ~1000
        1.5e0                             @want ~1.5
        1e-3                              @want ~0.001
        2.5e-2 * 4                        @want ~0.1
        1e3 + 1                           @want ~1001
        CAST(1e300 AS DOUBLE) * 1e300
        CAST(1 AS DOUBLE) / 0
        CAST(0 AS DOUBLE) / 0
        CAST('NaN' AS DOUBLE)
        CAST('Infinity' AS DOUBLE)
        CAST('-Infinity' AS DOUBLE)
        CAST('Infinity' AS DOUBLE) - 1
        CAST('NaN' AS DOUBLE) = CAST('NaN' AS DOUBLE)
        CAST('NaN' AS DOUBLE) > CAST('Infinity' AS DOUBLE)
        CAST(0.5 AS DOUBLE) = 0.5
        CAST(0.1 AS DOUBLE) = 0.1
        CAST(0.1 AS REAL)
        CAST(16777217 AS REAL)
        CAST(1 AS REAL) / 4
        CAST(0.1 AS REAL) + CAST(0.2 AS DOUBLE)
        - CAST(0 AS DOUBLE)
    """)
    t.eval("""
        5 & 3
        5 | 3
        5 # 3
        ~5
        1 << 10
        1024 >> 3
        -8 >> 1
        2 ^ 10
    """)
    t.input("n", "i BIGINT, j BIGINT, d DECIMAL(10,2), e DECIMAL(12,4), f DOUBLE, s SMALLINT", """
        {"i":1,"j":2,"d":1.50,"e":0.2500,"f":0.5,"s":3}
        {"i":-7,"j":2,"d":-100.50,"e":3.0000,"f":-2.25,"s":-3}
        {"i":null,"j":5,"d":null,"e":1.0001,"f":null,"s":null}
        {"i":9223372036854775000,"j":-1,"d":99999999.99,"e":99999999.9999,"f":1e15,"s":32767}
        {"i":0,"j":3,"d":0.00,"e":-0.0001,"f":0,"s":0}
    """)
    t.eval("""
        i + j
        i - j
        i / j
        i % j
        -i                                @pg -i
        j * j
        s * s                             @pg s::bigint * s
        s + 1                             @pg s::bigint + 1
        d + e
        d - e
        d * e
        d + i
        d * 2
        d % e
        d = 100.50
        d = -100.50
        d > e
        d > 1
        f + i
        f * d
        f + e
        f / 4
        f > d
        i > d
        abs(i - j)
        -d
        round(d, 1)
        round(e, 2)
        CAST(d AS BIGINT)
        CAST(e AS DECIMAL(10,1))
        CAST(d AS DOUBLE)
        CAST(f AS DECIMAL(20,3))
    """, over="n")
    t.eval("""
        d / e                             @py "[" + ",".join([div("1.50","0.2500"), div("-100.50","3.0000"), "null", div("99999999.99","99999999.9999"), div("0.00","-0.0001")]) + "]"
        e / j                             @py "[" + ",".join([div("0.2500","2"), div("3.0000","2"), div("1.0001","5"), div("99999999.9999","-1"), div("-0.0001","3")]) + "]"
        j / e                             @py "[" + ",".join([div("2","0.2500"), div("2","3.0000"), div("5","1.0001"), div("-1","99999999.9999"), div("3","-0.0001")]) + "]"
    """, over="n")
    t.query("overflow in one row is that row's error", "SELECT i * 2 AS r FROM n", record_error="overflow")
    t.query("division by zero in one row is that row's error", "SELECT 7 / i AS r FROM n", record_error="division_by_zero")
    t.query("rows beside a failed one go on", "SET on_error = 'skip';\nSELECT j, 7 / i AS r FROM n", rows="""
        {"j":2,"r":7}
        {"j":2,"r":-1}
        {"j":5,"r":null}
        {"j":-1,"r":0}
    """)
    t.query("a guard keeps the division away", "SELECT j, CASE WHEN i <> 0 THEN 7 / i ELSE -1 END AS r FROM n", pg=True)
    t.query("AND stops before the division", "SELECT j FROM n WHERE i <> 0 AND 7 / i > 0", rows='{"j":2}')
    t.query("OR stops before the division", "SELECT j FROM n WHERE i = 0 OR 7 / i > 0", rows="""
        {"j":2}
        {"j":3}
    """)
    t.query("a price with two places matches", "SELECT d FROM n WHERE d = -100.50", pg=True)
    t.query("a price without the last zero matches", "SELECT d FROM n WHERE d = -100.5", pg=True)
    return t

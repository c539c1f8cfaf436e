"""Dates, times, timestamps, intervals."""


def topic(Topic):
    t = Topic("temporal", "Date, time, timestamp and interval arithmetic and functions")
    t.eval("""
        DATE '2026-01-31' + 1
        DATE '2026-01-31' - 31
        DATE '2026-03-01' - DATE '2026-02-01'
        DATE '2026-01-01' - DATE '2026-12-31'
        DATE '2026-01-31' + INTERVAL '1' DAY
        DATE '2026-01-31' + INTERVAL '1' MONTH
        DATE '2024-01-31' + INTERVAL '1' MONTH
        DATE '2026-03-31' - INTERVAL '1' MONTH
        DATE '2024-02-29' + INTERVAL '1' YEAR
        DATE '2026-01-31' + INTERVAL '36' HOUR
        DATE '2026-01-31' + TIME '10:30:00'
        TIMESTAMP '2026-01-01 00:00:00' + INTERVAL '5' SECOND
        TIMESTAMP '2026-01-01 00:00:00' - INTERVAL '5' SECOND
        TIMESTAMP '2026-01-31 10:00:00' + INTERVAL '1' MONTH
        TIMESTAMP '2026-01-31 10:00:00' + INTERVAL '13' MONTH
        TIMESTAMP '2026-03-31 10:00:00' - INTERVAL '1' MONTH
        TIMESTAMP '2026-01-01 00:00:00' + INTERVAL '1.5' SECOND
        TIMESTAMP '2026-01-01 00:00:00' + INTERVAL '1 month 2 days 3 hours'
        INTERVAL '1' HOUR + TIMESTAMP '2026-01-01 00:00:00'
        TIMESTAMP '2026-01-02 00:00:00' - TIMESTAMP '2026-01-01 00:00:00'
        TIMESTAMP '2026-01-02 12:00:00' - TIMESTAMP '2026-01-01 00:00:00'
        TIMESTAMP '2026-01-01 00:00:00' - TIMESTAMP '2026-01-02 12:00:00'
        TIMESTAMP '2026-03-01 00:00:00' - TIMESTAMP '2026-02-01 00:00:00.25'
        TIMESTAMP '2026-01-01 00:00:00' - DATE '2025-12-31'
        TIME '10:00:00' + INTERVAL '90' MINUTE
        TIME '23:30:00' + INTERVAL '1' HOUR
        TIME '00:30:00' - INTERVAL '1' HOUR
        TIME '12:00:00' - TIME '10:30:00'
        INTERVAL '1' DAY + INTERVAL '2' HOUR
        INTERVAL '1' DAY - INTERVAL '36' HOUR
        INTERVAL '1' HOUR * 3
        3 * INTERVAL '1' HOUR
        INTERVAL '1' DAY * 2
        INTERVAL '1' HOUR * 1.5
        INTERVAL '1' HOUR / 2
        INTERVAL '3' DAY / 2
        - INTERVAL '1' DAY
        INTERVAL '1' MONTH + INTERVAL '15' DAY
        INTERVAL '25' HOUR
        INTERVAL '1' HOUR > INTERVAL '59' MINUTE
        INTERVAL '1 day -1 hour'
    """)
    fields = ["year", "month", "day", "hour", "minute", "second", "quarter", "week", "dow", "isodow", "doy", "epoch", "decade", "century", "isoyear",
              "millisecond", "microsecond"]
    t.eval("\n".join(f"extract({f} FROM TIMESTAMP '2026-07-04 13:45:06.789')" for f in fields))
    t.eval("\n".join(f"extract({f} FROM DATE '2024-12-30')" for f in ["year", "month", "day", "quarter", "week", "dow", "isodow", "doy", "isoyear", "epoch"]))
    t.eval("""
        extract(hour FROM TIME '13:45:06.5')
        extract(second FROM TIME '13:45:06.5')
        extract(epoch FROM TIMESTAMP '1970-01-01 00:00:01')
        extract(epoch FROM TIMESTAMP '1969-12-31 23:59:59.5')
        extract(day FROM INTERVAL '3 days 04:00:00')
        extract(hour FROM INTERVAL '3 days 04:00:00')
        extract(epoch FROM INTERVAL '1' DAY)
        extract(year FROM INTERVAL '14' MONTH)
        extract(month FROM INTERVAL '14' MONTH)
        extract(dow FROM DATE '2026-01-04')
        extract(isodow FROM DATE '2026-01-04')
        extract(week FROM DATE '2026-01-01')
        extract(week FROM DATE '2027-01-01')
        extract(YEAR FROM NULL::TIMESTAMP)
        date_part('year', TIMESTAMP '2026-07-04 13:45:06')
        date_part('second', TIMESTAMP '2026-07-04 13:45:06.5')
        date_part('dow', DATE '2026-07-04')
    """)
    t.eval("\n".join(f"date_trunc('{f}', TIMESTAMP '2026-08-19 13:45:06.789123')" for f in
                     ["microseconds", "milliseconds", "second", "minute", "hour", "day", "week", "month", "quarter", "year", "decade", "century"]))
    t.eval("""
        date_trunc('day', TIMESTAMP '1969-12-31 23:59:59.999')
        date_trunc('hour', TIMESTAMP '1969-12-31 23:59:59.999')
        date_trunc('week', TIMESTAMP '2026-01-01 00:00:00')
        date_trunc('week', TIMESTAMP '2026-01-05 00:00:00')
        date_trunc('MONTH', TIMESTAMP '2026-08-19 13:45:06')
        date_trunc('month', NULL::TIMESTAMP)
        date_trunc('hour', INTERVAL '3 days 04:30:00')
        date_bin(INTERVAL '15' MINUTE, TIMESTAMP '2026-02-11 15:44:17', TIMESTAMP '2001-01-01 00:00:00')
        date_bin(INTERVAL '15' MINUTE, TIMESTAMP '2026-02-11 15:44:17', TIMESTAMP '2001-01-01 00:02:30')
        date_bin(INTERVAL '1' DAY, TIMESTAMP '1969-12-31 15:44:17', TIMESTAMP '1970-01-01 00:00:00')
        date_bin(INTERVAL '5' SECOND, TIMESTAMP '2026-01-01 00:00:07.5', TIMESTAMP '1970-01-01 00:00:00')
        make_date(2026, 2, 28)
        make_date(2026, 2, 29)                                @err invalid_argument
        make_time(12, 34, 56.5)
        make_timestamp(2026, 1, 2, 3, 4, 5.678)
        make_interval(0, 1, 0, 2, 3)
        age(TIMESTAMP '2026-03-15 00:00:00', TIMESTAMP '2025-01-10 00:00:00')
        age(TIMESTAMP '2026-03-01 12:00:00', TIMESTAMP '2026-02-28 00:00:00')
        age(TIMESTAMP '2025-01-10 00:00:00', TIMESTAMP '2026-03-15 00:00:00')
        age(DATE '2026-01-01', DATE '2026-01-01')
        to_timestamp(0)
        to_timestamp(1767225600)
        to_timestamp(1767225600.5)
        to_timestamp(-0.5)
        to_timestamp('2026-01-31 12:34:56', 'YYYY-MM-DD HH24:MI:SS')
        to_timestamp('31.01.2026', 'DD.MM.YYYY')
        to_date('20260131', 'YYYYMMDD')
        to_date('31/01/2026', 'DD/MM/YYYY')
        to_char(TIMESTAMP '2026-01-31 13:04:05', 'YYYY-MM-DD HH24:MI:SS')
        to_char(TIMESTAMP '2026-01-31 13:04:05.678', 'HH12:MI:SS.MS')
        to_char(TIMESTAMP '2026-01-31 13:04:05.678901', 'SS.US')
        to_char(TIMESTAMP '2026-01-31 13:04:05', 'FMDD Mon YYYY')
        to_char(TIMESTAMP '2026-01-31 13:04:05', 'Day, DD Month YYYY')
        to_char(TIMESTAMP '2026-01-31 13:04:05', 'FMDay, FMDD FMMonth YYYY')
        to_char(TIMESTAMP '2026-01-31 13:04:05', 'DY MON')
        to_char(TIMESTAMP '2026-01-31 13:04:05', 'YY-MM-DD HH:MI AM')
        to_char(TIMESTAMP '2026-01-31 13:04:05', 'Q IW IYYY DDD D ID')
        to_char(TIMESTAMP '2026-01-31 13:04:05', '"week" WW')
        to_char(DATE '2026-01-31', 'YYYY/MM/DD')
        justify_hours(INTERVAL '27' HOUR)
        justify_days(INTERVAL '35' DAY)
        justify_interval(INTERVAL '1 month -1 hour')
        isfinite(DATE '2026-01-01')
    """)
    t.input("d", "id BIGINT, ts TIMESTAMP, d DATE, tm TIME, n BIGINT", """
        {"id":1,"ts":"2026-01-31T12:34:56Z","d":"2026-01-31","tm":"12:34:56","n":1}
        {"id":2,"ts":"2024-02-29T23:59:59.999999Z","d":"2024-02-29","tm":"23:59:59.999999","n":-1}
        {"id":3,"ts":"1969-12-31T23:59:59.5Z","d":"1969-12-31","tm":"00:00:00","n":30}
        {"id":4,"ts":null,"d":null,"tm":null,"n":null}
        {"id":5,"ts":"1970-01-01T00:00:00Z","d":"1970-01-01","tm":"06:00:00.250","n":365}
        {"id":6,"ts":"2026-12-31T00:00:00.001Z","d":"2000-01-01","tm":"18:30:00","n":0}
    """)
    t.eval("""
        ts
        d
        tm
        ts + INTERVAL '1' HOUR
        ts - INTERVAL '1' MONTH
        ts + INTERVAL '1' SECOND * n
        ts - TIMESTAMP '2026-01-01 00:00:00'
        d + 1
        d + n::INT
        d + INTERVAL '1' MONTH
        d - DATE '1970-01-01'
        d + tm
        tm + INTERVAL '6' HOUR
        ts > TIMESTAMP '2026-01-01 00:00:00'
        ts = d
        ts::DATE = d
        ts::TIME
        d BETWEEN '2024-01-01' AND '2026-01-31'
        extract(year FROM ts)
        extract(month FROM d)
        extract(dow FROM d)
        extract(doy FROM ts)
        extract(week FROM d)
        extract(second FROM ts)
        extract(epoch FROM ts)
        date_trunc('month', ts)
        date_trunc('week', ts)
        date_trunc('minute', ts)
        date_trunc('day', d)                                  @pg date_trunc('day', d::timestamp)
        date_bin(INTERVAL '10' MINUTE, ts, TIMESTAMP '1970-01-01 00:00:00')
        age(TIMESTAMP '2026-12-31 00:00:00', ts)
        to_char(ts, 'YYYY-MM-DD"T"HH24:MI:SS.US')
        to_char(d, 'FMMonth DD, YYYY')
        GREATEST(ts, TIMESTAMP '2000-01-01 00:00:00')
        COALESCE(ts, TIMESTAMP '2000-01-01 00:00:00')
        CASE WHEN extract(hour FROM ts) >= 12 THEN 'pm' ELSE 'am' END
    """, over="d")
    t.query("a month of time", "SELECT id FROM d WHERE ts >= '2026-01-01' AND ts < TIMESTAMP '2026-01-01 00:00:00' + INTERVAL '1' MONTH", rows='{"id":1}')
    t.query("a timestamp is no interval", "SELECT ts + ts AS x FROM d", error="")
    t.query("an unknown field is named", "SELECT extract(fortnight FROM ts) AS x FROM d", error="fortnight")
    return t

-- Flights per hour and airport, with their delays: counts of a stream by event time. The file is in the order of
-- `time_hour`, so an hour is over as soon as a later one begins.

CREATE STREAM flights (WATERMARK FOR time_hour AS time_hour) WITH (path = 'examples/data/flights.csv');

CREATE STREAM hourly WITH (path = '${OUT:-target/flights_per_hour.csv}');

INSERT INTO hourly
SELECT window_start AS hour, origin,
       count(*)                                  AS flights,
       count(*) FILTER (WHERE dep_delay >= 15)   AS late,
       count(*) FILTER (WHERE dep_time IS NULL)  AS cancelled,
       sum(dep_delay)                            AS minutes,
       max(dep_delay)                            AS worst
FROM TUMBLE(flights, time_hour, INTERVAL '1' HOUR)
GROUP BY window_start, window_end, origin;

-- The hours in which most flights of an airport were late, as a clause instead of a table function.
SELECT to_char(window_start, 'Mon DD HH24:MI') AS hour, origin, count(*) AS flights,
       repeat('█', count(*) FILTER (WHERE dep_delay >= 15)::INT) AS late
FROM flights
GROUP BY origin
WINDOW TUMBLING (1h)
HAVING count(*) FILTER (WHERE dep_delay >= 15) >= 16;

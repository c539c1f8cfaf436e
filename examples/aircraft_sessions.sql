-- The working days of each aircraft: departures from New York less than ten hours apart belong together. Sessions are
-- per key, here the tail number.

CREATE STREAM flights (WATERMARK FOR time_hour AS time_hour) WITH (path = 'examples/data/flights.csv');

CREATE STREAM days WITH (path = '${OUT:-target/aircraft_sessions.csv}');

INSERT INTO days
SELECT tailnum, window_start AS first, window_end - INTERVAL '10' HOUR AS last,
       count(*) AS flights, sum(distance) AS miles
FROM SESSION(flights, time_hour, INTERVAL '10' HOUR PARTITION BY tailnum)
GROUP BY window_start, window_end, tailnum;

-- The busiest of them, drawn. The window may be a value in GROUP BY as well.
SELECT tailnum, to_char(window_start, 'Mon DD HH24:MI') AS first, string_agg(dest, ' → ') AS route
FROM (SELECT tailnum, dest, time_hour FROM flights WHERE tailnum <> 'NA')
GROUP BY tailnum, SESSION(time_hour, INTERVAL '10' HOUR)
HAVING count(*) >= 5;

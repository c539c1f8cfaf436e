-- How late an airport is running: for each flight the mean departure delay of its airport over the last six hours. A frame over
-- event time: over a stream that goes on, the same query tells each row as soon as the watermark has passed it.

CREATE STREAM flights (WATERMARK FOR time_hour AS time_hour) WITH (path = 'examples/data/flights.csv');

CREATE STREAM moving WITH (path = '${OUT:-target/moving_delay.csv}');

INSERT INTO moving
SELECT time_hour, origin, carrier, flight, dep_delay,
       sum(dep_delay) OVER lately              AS minutes,
       count(dep_delay) OVER lately            AS flown,
       round(avg(dep_delay) OVER lately)::INT  AS mean
FROM flights
WINDOW lately AS (PARTITION BY origin ORDER BY time_hour RANGE BETWEEN INTERVAL '6' HOUR PRECEDING AND CURRENT ROW);

-- The hours in which an airport ran latest.
SELECT to_char(time_hour, 'Mon DD HH24:MI') AS hour, origin, max(mean) AS mean
FROM (SELECT time_hour, origin, round(avg(dep_delay) OVER (PARTITION BY origin ORDER BY time_hour RANGE INTERVAL '6' HOUR PRECEDING)) AS mean
      FROM flights)
GROUP BY time_hour, origin
ORDER BY max(mean) DESC, time_hour, origin
LIMIT 6;

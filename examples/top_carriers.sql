-- The three carriers with most flights of each day: groups of a window, ranked as soon as the day is over. Days are those of
-- UTC, as the epoch tells them.

CREATE STREAM flights (WATERMARK FOR time_hour AS time_hour) WITH (path = 'examples/data/flights.csv');

CREATE STREAM top_carriers WITH (path = '${OUT:-target/top_carriers.csv}');

CREATE VIEW daily AS
SELECT window_start, window_end, carrier, count(*) AS flights,
       row_number() OVER (PARTITION BY window_start, window_end ORDER BY count(*) DESC, carrier) AS place
FROM TUMBLE(flights, time_hour, INTERVAL '1' DAY)
GROUP BY window_start, window_end, carrier;

INSERT INTO top_carriers
SELECT window_start AS day, place, carrier, flights FROM daily WHERE place <= 3;

-- The first days, drawn.
SELECT to_char(window_start, 'Mon DD') AS day, place, carrier, repeat('█', (flights / 10)::INT) AS flights
FROM daily
WHERE place <= 3
LIMIT 6;

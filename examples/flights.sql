-- The big delays of January 2013 at New York's airports: one scan of the file feeds a table for the
-- eye and a file for the next program.

CREATE STREAM flights WITH (connector = 'file', path = 'examples/data/flights.csv');

CREATE STREAM late_flights WITH (
  connector = 'file', path = '${OUT:-late_flights.jsonl}', format = 'json'
);

-- Everything that left an hour late or more, reshaped.
INSERT INTO late_flights
SELECT time_hour AS scheduled, carrier || ' ' || flight AS flight, origin, dest, dep_delay, arr_delay,
       round(distance * 1.609344, 1) AS km
FROM flights
WHERE dep_delay >= 60;

-- The worst of them, drawn.
SELECT to_char(time_hour, 'Mon DD HH24:MI') AS scheduled,
       carrier || ' ' || flight             AS flight,
       origin || ' → ' || dest              AS route,
       dep_delay                            AS minutes,
       repeat('█', dep_delay / 45)          AS late,
       CASE WHEN arr_delay IS NULL      THEN 'diverted'
            WHEN arr_delay < dep_delay  THEN 'made up ' || (dep_delay - arr_delay) || ' min'
            ELSE 'lost ' || (arr_delay - dep_delay) || ' more' END AS en_route
FROM flights
WHERE dep_delay >= 330;

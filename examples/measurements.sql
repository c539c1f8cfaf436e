-- The One Billion Row Challenge: least, mean and greatest temperature of each station.
--
--   millstream generate measurements --rows 100000000 --out measurements.txt
--   millstream run examples/measurements.sql
--
-- Over 10 million rows it took 1.15 times the CPU time of DuckDB on one thread: benches/README.md.

CREATE STREAM measurements (station VARCHAR, temperature DECIMAL(3,1))
  WITH (connector = 'file', path = 'measurements.txt', format = 'csv', delimiter = ';', header = 'false');

SELECT station, min(temperature) AS min, round(avg(temperature), 1) AS mean, max(temperature) AS max
FROM measurements
GROUP BY station
ORDER BY station;

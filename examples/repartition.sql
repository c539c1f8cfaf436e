-- Both halves of docs/scale-out.md in one query: REPARTITION BY splits it, and each process runs the two parts as two jobs.
SET job_name = 'split';
SET mode = 'transactional';
CREATE STREAM flights (carrier VARCHAR, flight INT, dest VARCHAR, dep_delay INT)
  WITH (connector = 'kafka', bootstrap_servers = '127.0.0.1:9092', topic = 'flights', format = 'json', group_id = 'split');
CREATE STREAM worst
  WITH (connector = 'kafka', bootstrap_servers = '127.0.0.1:9092', topic = 'worst', format = 'json', changelog = 'upsert',
    key_columns = 'dest', partitions = 6);
INSERT INTO worst SELECT dest, count(*) AS flights, max(dep_delay) AS worst FROM flights WHERE dep_delay IS NOT NULL
  REPARTITION BY dest THROUGH 'split_by_dest' WITH (partitions = 12) GROUP BY dest;

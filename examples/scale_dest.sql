-- The second half of docs/scale-out.md: what is known of each destination, kept by the instance that has its partition.
SET job_name = 'dest';
SET mode = 'transactional';
CREATE STREAM by_dest (dest VARCHAR, dep_delay INT)
  WITH (connector = 'kafka', bootstrap_servers = '127.0.0.1:9092', topic = 'by_dest', format = 'json', group_id = 'dest',
    partition_by = 'dest');
CREATE STREAM dests
  WITH (connector = 'kafka', bootstrap_servers = '127.0.0.1:9092', topic = 'dests', format = 'json', changelog = 'upsert',
    key_columns = 'dest');
INSERT INTO dests SELECT dest, count(*) AS flights, max(dep_delay) AS worst FROM by_dest GROUP BY dest;

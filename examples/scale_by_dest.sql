-- The first half of docs/scale-out.md: flights are brought to the partition of their destination. Keeps no state.
SET job_name = 'by_dest';
SET mode = 'transactional';
CREATE STREAM flights (carrier VARCHAR, flight INT, dest VARCHAR, dep_delay INT)
  WITH (connector = 'kafka', bootstrap_servers = '127.0.0.1:9092', topic = 'flights', format = 'json', group_id = 'by_dest');
CREATE STREAM by_dest
  WITH (connector = 'kafka', bootstrap_servers = '127.0.0.1:9092', topic = 'by_dest', format = 'json', partition_by = 'dest');
INSERT INTO by_dest SELECT carrier, flight, dest, dep_delay FROM flights WHERE dep_delay IS NOT NULL;

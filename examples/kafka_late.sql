-- From topic to topic: flights that left an hour late or more.
CREATE STREAM flights (carrier VARCHAR, flight INT, dep_delay INT)
  WITH (connector = 'kafka', bootstrap_servers = '127.0.0.1:9092', topic = 'flights', format = 'json', group_id = 'late',
    stop = 'latest');
CREATE STREAM late WITH (connector = 'kafka', bootstrap_servers = '127.0.0.1:9092', topic = 'late', format = 'json',
  key_columns = 'carrier');
INSERT INTO late SELECT carrier, flight, dep_delay FROM flights WHERE dep_delay >= 60;

-- Flights into a topic, keyed by carrier: see "Kafka" in the README.
CREATE STREAM to_kafka WITH (connector = 'kafka', bootstrap_servers = '127.0.0.1:9092', topic = 'flights', format = 'json',
  key_columns = 'carrier');
INSERT INTO to_kafka SELECT carrier, flight, origin, dest, dep_delay FROM 'examples/data/flights.csv';

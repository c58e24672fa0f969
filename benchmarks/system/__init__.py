"""The whole system under load, on the real Kafka and PostgreSQL that `make servers` brings."""

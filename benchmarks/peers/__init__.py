"""Other clients, for comparison: FastStream and confluent-kafka, each untraced and with the tracing made for it."""

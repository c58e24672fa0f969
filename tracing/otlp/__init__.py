"""Export over OTLP: spans become bytes when they end, wait in a queue, and are sent in batches."""

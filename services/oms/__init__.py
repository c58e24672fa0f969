"""The order management service: the order API and the saga's orchestrator."""

"""The stock: reserves and releases what orders need, and answers the orchestrator."""

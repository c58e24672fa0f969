"""The audit service: keeps every event of orders and sagas, byte for byte."""

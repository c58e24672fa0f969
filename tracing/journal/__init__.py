"""The span journal: a write-ahead log, so that a killed process leaves no trace with a gap."""

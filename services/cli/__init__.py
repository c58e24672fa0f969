"""The `sagatrace` command."""

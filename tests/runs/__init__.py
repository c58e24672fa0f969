"""A run of the tests as a whole: how long it may take, and how much of what makes its own input is made."""

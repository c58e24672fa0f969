"""A run of the tests as a whole: how it is divided, how long it may take, and how much of what takes long is run."""

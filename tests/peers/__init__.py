"""`make peers`: the tests of contrib's instrumentation for aiokafka, without and with ours in its place.

`fetching` fetches the suite, `suite` runs it with `plugin` inside, and `differences` compares the outcomes with
`expected.toml`. Nothing of a suite is kept in the repository.
"""

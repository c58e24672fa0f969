"""The real servers that tests run on: built or fetched once (`make servers`), started on free ports once a test run.

`recipes` says how each is built and `building` builds it; `installed` finds what there is; `process` runs one so that
it ends with the test run, however that ends; each server has a file with its configuration; `fixtures` hands them to
tests, and `shared` to all processes of a run.
"""

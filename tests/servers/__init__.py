"""The real servers that tests run on: built or fetched once (`make servers`), started on free ports once a test run.

`recipes` says how each is made and `building` makes it; `installed` finds what there is; `process` runs one so that it
ends with the test run, however that ends; one file for each server knows its configuration; `fixtures` gives them to
tests.
"""

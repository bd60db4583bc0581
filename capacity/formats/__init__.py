"""Formats: readers of other tools' files, one module here for each format, and one test for each.

A format is a module of this folder with three names; the registry finds it by itself:

`NAME`: the tool that writes such files, for messages and help, such as `vllm bench serve --save-detailed`.
`recognises(file) -> bool`: whether a `capacity.formats.document.Document` is one, by what it holds and never by its
name. It is asked of every file, so it must be quick, must not fail, and must be true of no other format. `READERS`:
what can be read out of it, by `capacity.formats.registry.Kind`; `request_log.log_readers` gives those of a log of
single requests. A reader takes the document, checks units and sizes,
skips keys and columns that it does not need, and raises an InputError of one line that names the file, the place in
it, and what to do.

A format whose files may cover several models also has `chosen(document, model)`, the part of one; one whose files may
hold totals without single requests has `has_requests(document)`.

Its test has `EXAMPLES`, files by name that the readers take, which `tests/formats/test_hostile_formats.py` damages.
Modules that are no format hold what several of them need: `document` and `table` to read, `buckets` for histograms,
and the nouns `load_test` and `running_plan`.
"""

"""What glimpse is measured by: a script a question, run from the repository as `python -m bench.index.batch_speed`.

The folders are the product's rooms, and two more: commands/ times whole commands as a person meets them, gpu/ is all
that a card is asked in one run. Scripts named `*_speed` are what `make bench` runs. Their figures are told in
docs/benchmarks.md; none of this is in the wheel.
"""

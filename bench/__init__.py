"""Benchmarks and soak runs: measured side by side in one run, never as timed tests. `make bench` and `make soak` start here."""

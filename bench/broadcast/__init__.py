"""Broadcasts measured: exactly one notice each through kills, unserved recipients against the sinks' word, pause and cancel under load.

`python -m bench.broadcast` runs all of it; tests/acceptance/test_broadcast_bench.py the same engine at small sizes.
"""

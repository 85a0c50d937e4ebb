"""The pure core: evidence, service rules, service time, deadlines and retry.

No I/O, no clock, no random in here: times, ids and jitter are arguments. Everything above may call it; it imports
only `noticesvc.errors`.
"""

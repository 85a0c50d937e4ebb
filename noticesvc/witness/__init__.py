"""The stand-alone witness: cosigns checkpoints of logs that only grow (C2SP tlog-witness). Knows nothing of notices.

Another department runs it with `noticesvc ledger witness`; of this program it needs the ledger's formats alone.
"""

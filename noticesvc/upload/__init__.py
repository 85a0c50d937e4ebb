"""From the bytes of an upload, as spreadsheets and programs write it, to numbered rows or line-numbered faults. Pure; constant memory.

`lines` cuts bytes into physical lines, `charset` finds what they are written in, `csv_rows` and `json_rows` make rows. Everything
is pushed: bytes in, however they are cut, rows out as soon as they are whole; what comes out depends on the bytes alone.
"""

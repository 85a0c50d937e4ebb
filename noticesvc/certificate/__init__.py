"""The certificate 通知送达记录证明: a verified proof bundle told to people, as a PDF that carries the bundle inside and is signed.

Called by operations.certificates. `story` says what stands in it, `reasons` why a result is what it is, `words` in which words,
`pdf` makes the file (certificate.typ is its form), `fonts` where the glyphs come from, `signing` signs it.
`coverage` and coverage.typ are a report beside it: what came of a broadcast.
"""

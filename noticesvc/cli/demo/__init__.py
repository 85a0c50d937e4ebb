"""`noticesvc demo`, what `make demo` runs: one notice to three people, from acceptance to a proof that is verified offline.

`command` is the verb, `house` the demo's folder and its service process, `story` what happens over HTTP, `screen` what is
shown of it; `agreement-update.md` is the notice.
"""

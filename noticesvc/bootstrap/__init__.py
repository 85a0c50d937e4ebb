"""The only place that wires things together: settings become an open installation, and an installation a running process.

Called by the command line. `foundation` makes a new installation, `installation` opens one, `plugins` finds providers,
`components` lists what runs beside the API, `serving` runs it all until a signal.
"""

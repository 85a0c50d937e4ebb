"""The HTTP API: ASGI routes and wire models, and the single mapping from errors to problems (RFC 9457).

Routes parse, call one operation, and write what it returned. They hold no SQL and no rule of law.
"""

"""The local exchange: Dhan's REST, feed and order updates on loopback, for `--demo` and for tests.

Independent of core.dhan on purpose: an error in our decoder must not hide behind the same error in this encoder.
"""

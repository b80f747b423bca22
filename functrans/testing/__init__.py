"""Checks of derivatives, of primitives and of passes, for the package's own tests and for its users'."""

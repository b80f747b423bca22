"""Structured operations: calls, and functions that carry rules of the user's."""

"""Helpers without any knowledge of arrays or traces."""

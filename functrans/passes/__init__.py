"""Passes: jaxpr to jaxpr, meaning preserved."""

"""Interpreters of the jaxpr language: forward mode, linearisation, transposition and batching.

They know the rule slots of primitives, never a primitive itself.
"""

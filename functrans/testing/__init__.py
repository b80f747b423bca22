"""Checks of the library by itself. Nothing in the package imports this folder."""

"""The user's transformations, one a file."""

"""``numpy_code``: NumPy programs that fill arrays in place, transformed as they stand."""

"""Special functions: one primitive each, with a value, a derivative and mostly a decomposition.

``functrans.lax`` re-exports those that are public, and ``functrans.scipy.special`` has all of them under SciPy's names.
"""

"""The domain: types, comparison, decision, quality and error rates. NumPy and the standard library only."""

"""Indexes: nearest templates of a gallery. Disposable projections of the store, rebuilt from it at will."""

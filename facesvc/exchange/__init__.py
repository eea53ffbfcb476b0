"""Galleries as files: out of one store and into another, and what other systems' stores hold for us."""

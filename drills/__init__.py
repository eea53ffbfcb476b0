"""Drills: each plays an attack or a mishap against the real service and says what came of it, in one line.

A drill is a module with ``run(folder: Path) -> str``: the line to print; it raises AssertionError where the service
fails it. ``python -m drills [names]`` runs them.
"""

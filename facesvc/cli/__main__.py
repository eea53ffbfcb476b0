"""``python -m facesvc.cli``: the same as ``facesvc``."""

from facesvc.cli import main

main()

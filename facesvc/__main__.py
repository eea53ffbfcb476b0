"""``python -m facesvc``: the same as the command ``facesvc``."""

from facesvc.cli import main

main()

"""``python -m api`` is the command ``loupe``."""

from api.cli import main

main()

"""``python -m mailrouter`` is the ``mailrouter`` command."""

from mailrouter.cli import main

main()

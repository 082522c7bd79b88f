"""``python -m wherry`` is the ``wherry`` command."""

from wherry.cli.main import main

raise SystemExit(main())

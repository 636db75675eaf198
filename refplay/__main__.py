"""`python -m refplay` is `refplay`."""

from refplay.cli import main

raise SystemExit(main())

"""`python -m pytest_modelroute.cli`: the command where its script is not on the path."""

from __future__ import annotations

import sys

from pytest_modelroute.cli import main

sys.exit(main())

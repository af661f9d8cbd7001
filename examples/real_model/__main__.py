"""`python -m examples.real_model`; see story.py."""

import sys

from examples.real_model.story import main

sys.exit(main())

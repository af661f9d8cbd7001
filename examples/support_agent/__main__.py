"""`python -m examples.support_agent`; see story.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from story import main

sys.exit(main())

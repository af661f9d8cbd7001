"""What the tests of the laws share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Leave the defects to the run on the wheel where coverage is measured.

    What finds a defect searches for it and makes it small, which takes twice as long when it is measured; the same
    lines are covered by the routers that keep the laws and by the trials made by hand.
    """
    if "COVERAGE_PROCESS_START" in os.environ:
        here = os.path.dirname(__file__)  # noqa: PTH120 - compared as text
        items[:] = [item for item in items if "defect" not in item.name.partition("[")[0] or here not in str(item.path)]

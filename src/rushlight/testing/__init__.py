"""What users need to test their own events, projections and reactions.

``given(events).then(projection(Sales) == {…})`` folds events in memory, without any server. `Faults` breaks what runs
on a machine. ``pytest_plugins = ["rushlight.testing.fixtures"]`` gives real servers to tests; only that needs pytest.
"""

from rushlight.testing.faults import Faults
from rushlight.testing.folding import Given, given, projection, sealed

__all__ = ["Faults", "Given", "given", "projection", "sealed"]

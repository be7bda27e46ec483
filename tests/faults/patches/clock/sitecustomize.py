"""The processes' wall clock is off by as many seconds as a file says, and may step while they run."""

import ctypes
import gc
import os
import time
from datetime import datetime, timedelta
from typing import Any

_file = os.environ["TEST_CLOCK_FILE"]
_time, _now = time.time, datetime.now


def _off() -> float:
    with open(_file, encoding="ascii") as file:  # noqa: PTH123 - imported before anything else
        return float(file.read() or 0)


def _shifted(cls: Any, tz: Any = None) -> datetime:
    return _now(tz) + timedelta(seconds=_off())


time.time = lambda: _time() + _off()
time.time_ns = lambda: int(time.time() * 1e9)
# The type is immutable from Python; its dictionary is not.
(_names,) = (found for found in gc.get_referents(datetime.__dict__) if isinstance(found, dict))
_names["now"] = classmethod(_shifted)
ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime))

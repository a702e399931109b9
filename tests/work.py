"""What worker processes do in tests: in a module that imports little, since each of them imports it."""

import os
import time

from darkaction.core.errors import UserError
from darkaction.core.parallel import in_worker, worker_number


def number_of_worker(_: int) -> tuple[int, bool]:
    time.sleep(0.3)
    return worker_number(), in_worker()


def square(value: int) -> int:
    if value == 3:
        raise UserError("not 3")
    return value * value


def die_at_3(value: int) -> int:
    if value == 3:
        os._exit(11)
    return value * value

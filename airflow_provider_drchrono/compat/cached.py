"""A cached property as Python 3.12 has it, for Python 3.11, whose own one can bring a triggerer to a standstill.

There, one lock guards a property of all instances of a class for as long as the value of any is being worked out. A
thread that reads a connection waits for the triggerer's event loop. If the loop then comes to the same property of
another hook, both wait for ever.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property as cached_property
else:

    class cached_property:  # noqa: N801 - it stands in for that of functools
        """Works a value out when it is first asked for, and keeps it in the instance.

        Two threads may both work it out; the later one's value is kept.
        """

        def __init__(self, function: Any) -> None:
            self.function = function
            self.name = function.__name__
            self.__doc__ = function.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            value = instance.__dict__[self.name] = self.function(instance)
            return value

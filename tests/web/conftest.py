"""For tests of what people reach."""

from __future__ import annotations

import functools

from typer import testing

# The program's tree of commands is made anew for every call of a test's runner, which takes longer than most commands.
testing._get_command = functools.cache(testing._get_command)

"""What is said of a user's mistake."""

from collections.abc import Callable
from typing import Any

import pytest

from attnlag.errors import UserError


def refused(call: Callable[..., object], *arguments: Any, **options: Any) -> list[str]:
    """Return the problems for which a call refuses what it is given."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    return caught.value.problems

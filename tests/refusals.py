"""What the user is told when something is refused."""

from collections.abc import Callable

import pytest

from zeroshot_al.base.errors import InputError


def refusal(function: Callable, *args: object, **options: object) -> str:
    """Return the one sentence that the call is refused with."""
    with pytest.raises(InputError) as error:
        function(*args, **options)
    assert "\n" not in str(error.value)
    return str(error.value)

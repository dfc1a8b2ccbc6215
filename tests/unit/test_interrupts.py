import signal

import pytest

from zeroshot_al.interrupts import interrupts_deferred


def test_an_interrupt_is_raised_at_the_end_of_the_block():
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_deferred():
        signal.raise_signal(signal.SIGINT)
        done.append("all of it")
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_in_the_block_is_told_and_the_handler_put_back():
    with pytest.raises(ValueError, match="the error"), interrupts_deferred():
        raise ValueError("the error")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

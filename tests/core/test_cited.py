"""Citations of an old answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.core.cited import Cited, pack, unpack


@given(st.lists(st.builds(Cited, st.integers(0, 65_535), st.uuids(), st.uuids()), max_size=4))
def test_what_is_packed_comes_back(cited: list[Cited]) -> None:
    """In order; nothing else is accepted."""
    assert unpack(pack(cited)) == tuple(cited)
    with pytest.raises(ValueError, match="whole"):
        unpack(pack(cited) + b"x")

"""Reading files whole, and of bounded size."""

from __future__ import annotations

from pathlib import Path

import pytest

from eqprop_core.files import USUAL, read_text


@pytest.mark.parametrize("size", [0, 1, USUAL - 1, USUAL, USUAL + 1, 3 * USUAL])
def test_a_file_is_read_whole_up_to_the_limit_and_refused_beyond_it(size: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    for limit in {size, size + 1, 5 * USUAL}:
        assert read_text(path, limit) == "x" * size
    if size:
        with pytest.raises(OSError, match="is too large"):
            read_text(str(path), size - 1)

"""Sizes: valid and invalid texts, and that a shown one can be parsed again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.types import sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [("1B", 1), ("64KiB", 65536), (" 1.5 GB ", 1_500_000_000), ("1GB", 10**9), ("2MiB", 2 << 20), ("1TB", 10**12),
     (10**9, 10**9)],
)  # fmt: skip
def test_a_number_and_a_unit_are_a_size(text, size):
    assert sizes.parse(text) == size


@pytest.mark.parametrize(
    "nonsense", ["", "GB", "1", "1gb", "1G", "-1GB", "1e9B", "1GBs", "٣MB", 1.5, True, None, ["1GB"]]
)
def test_anything_else_is_refused_with_what_is_expected(nonsense):
    with pytest.raises(ValueError, match='expected a size such as "500MB"'):
        sizes.parse(nonsense)


@pytest.mark.parametrize("text", ["0B", "0.5B", "0GB", "1.1TB", f"{'9' * 4000}B", 0, -5])
def test_nothing_and_more_than_a_terabyte_are_refused(text):
    with pytest.raises(ValueError, match='expected a size from "1B" to "1TB"'):
        sizes.parse(text)


@given(st.integers(1, sizes.MOST))
def test_what_is_written_is_read_as_the_same(size):
    assert sizes.parse(sizes.show(size)) == size


@pytest.mark.parametrize("text", ["1B", "999KB", "1GB", "64KiB", "1GiB", "1TB"])
def test_a_size_is_written_in_the_largest_unit_that_divides_it(text):
    assert sizes.show(sizes.parse(text)) == text

"""Arrays that recur are written once, and come back as they were; what a damaged table says is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbbench.record.packed import pack, unpack

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=30,
)


@given(st.dictionaries(st.text(max_size=3).filter(lambda name: name != "table"), VALUES, max_size=3))
def test_what_is_packed_comes_back(top):
    packed = json.loads(json.dumps(pack(top)))
    assert json.dumps(unpack(packed)) == json.dumps(top)  # 1, 1.0 and True are not the same


def test_what_recurs_is_written_once():
    rows = [["line", "a.py", 7, 1], ["line", "a.py", 8, 2]]
    packed = pack({"one": rows, "two": rows, "three": [rows, rows[1:]]})
    assert packed == {
        "one": [2], "two": [2], "three": [4],
        "table": [*rows, {"of": [0, 1]}, {"of": [1]}, {"of": [2, 1]}],
    }  # fmt: skip
    found = unpack(packed)
    assert found["one"] is found["two"] is found["three"][0]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ([[[0]]], "no earlier row"), ([["a"], {"of": [-1]}], "no earlier row"),
        ([["a"], [["0"]]], "no earlier row"), ([["a"], [[0, 0]]], "too many"),
        ([["a"], *({"of": [n, 0]} for n in range(40))], "more than"),
        ([["a"], {"of": [0.0]}], "no earlier row"),
    ],
    ids=range(6),
)  # fmt: skip
def test_a_damaged_table_is_refused(table, reason):
    with pytest.raises(ValueError, match=reason):
        unpack({"table": table, "top": [len(table) - 1]})

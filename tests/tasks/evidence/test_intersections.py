"""Crossings of features."""

import numpy as np
import pytest

from tasks.evidence.intersections import cross
from tasks.evidence.suppress import find_groups
from tasks.params import UserError

PEOPLE = {
    "sex": ["f", "m", "f", "m"],
    "age": ["old", "old", "young", "young"],
    "zone": ["x", "x", "x", "y"],
}


def test_each_crossing_holds_everybody_once() -> None:
    found = cross(find_groups(PEOPLE), 3)
    names = ["sex", "age", "zone", "sex x age", "sex x zone", "age x zone", "sex x age x zone"]
    assert list(found.parents) == names
    assert found.parents["sex x age x zone"] == ("sex", "age", "zone")
    assert found.single() == ("sex", "age", "zone")
    groups = found.groups
    assert groups.codes.shape == (4, 7)
    size = groups.tally(np.zeros(4, dtype=np.int64), 1)[:, 0]
    for name in names:
        assert size[groups.of(name)].sum() == 4
    labels = [groups.labels[n] for n in groups.column("sex x zone")]
    assert labels == ["f, x", "m, x", "f, x", "m, y"]
    # Nobody is f and y: a group all the same.
    assert size[groups.labels.index("f, y")] == 0
    assert found.singles().labels == find_groups(PEOPLE).labels
    assert found.singles().codes.tolist() == find_groups(PEOPLE).codes.tolist()


def test_one_means_no_crossing() -> None:
    assert list(cross(find_groups(PEOPLE), 1).parents) == ["sex", "age", "zone"]


def test_control_features_are_crossed_with_each_other_feature_alone() -> None:
    found = cross(find_groups(PEOPLE), 2, ("zone",))
    assert list(found.parents) == ["sex", "age", "zone", "sex x age", "sex x zone", "age x zone"]
    assert found.parents["age x zone"] == ("age", "zone")
    assert "sex x age x zone" not in cross(find_groups(PEOPLE), 3, ("zone",)).parents


def test_a_feature_may_not_have_the_name_of_a_crossing() -> None:
    with pytest.raises(UserError, match="'sex x age' is the name of a crossing"):
        cross(find_groups({**PEOPLE, "sex x age": ["q"] * 4}), 2)

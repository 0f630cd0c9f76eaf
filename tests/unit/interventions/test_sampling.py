"""The documents and layers in which interventions are made."""

from attnlag.interventions import sampling


def test_documents_are_taken_from_the_groups_in_turn():
    groups = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "c1": "c", "c2": "c"}
    assert sampling.chosen_documents(groups, 3) == ["a1", "b1", "c1"]
    assert sampling.chosen_documents(groups, 5) == ["a1", "a2", "b1", "c1", "c2"]
    assert sampling.chosen_documents(groups, "all") == list(groups)
    assert sampling.chosen_documents(groups, 99) == list(groups)


def test_layers_are_spread_over_depth():
    assert sampling.chosen_layers(3, 30) == [9, 19, 29]
    assert sampling.chosen_layers(99, 4) == [0, 1, 2, 3] == sampling.chosen_layers("all", 4)
    assert sampling.chosen_sources(1, 2) == [0]
    assert sampling.chosen_sources(2, 30) == [9, 19]

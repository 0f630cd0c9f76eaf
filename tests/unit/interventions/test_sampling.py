"""The documents and layers in which interventions are made."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from designs import tokens_table

from attnlag.interventions import sampling


def test_documents_are_taken_from_the_groups_in_turn(tmp_path):
    names = ["a1", "a2", "a3", "b1", "c1", "c2"]
    corpus, tokens = tmp_path / "corpus.parquet", tmp_path / "tokens.parquet"
    groups = pa.array([name[0] for name in names]).dictionary_encode()
    pq.write_table(pa.table({"document": names, "group": groups}), corpus)
    windows = {(name, window): [1, 2, 3] for name in names for window in range(3)}
    pq.write_table(tokens_table(windows), tokens)

    def chosen(wanted):
        """Return the documents whose first five tokens, in two windows, are taken."""
        found = sampling.beginnings(tokens, corpus, wanted, 5)
        documents = list(dict.fromkeys(document for document, _ in found))
        assert {key: ids.tolist() for key, ids in found.items()} == {
            (document, window): [1, 2, 3][: 3 - window]
            for document in documents
            for window in range(2)
        }
        return documents

    assert chosen(3) == ["a1", "b1", "c1"]
    assert chosen(5) == ["a1", "a2", "b1", "c1", "c2"]
    assert chosen("all") == chosen(99) == names


def test_layers_are_spread_over_depth():
    assert sampling.selected_layers(3, 30) == [9, 19, 29]
    assert sampling.selected_layers("all", 4) == [0, 1, 2, 3]
    assert sampling.selected_sources(1, 2) == [0]
    assert sampling.selected_sources(2, 30) == [9, 19]


@pytest.mark.parametrize("number", [3, 99])
def test_a_number_of_targets_have_a_layer_before_them_and_sources_one_after_them(number):
    assert sampling.selected_layers(number, 4) == [1, 2, 3]
    assert sampling.selected_sources(number, 4) == [0, 1, 2]
    assert sampling.selected_layers(number, 1) == [0] == sampling.selected_sources(number, 1)


def test_parts_of_speech_are_those_of_the_first_tokens_of_each_window(tmp_path):
    keys = {"document": list("aaabb"), "window": [0, 0, 1, 0, 0], "position": [0, 1, 0, 0, 1]}
    path = tmp_path / "token_properties.parquet"
    table = pa.table(keys | {"upos": ["NOUN", "VERB", "DET", "ADJ", "PUNCT"]})
    documents = table["document"].dictionary_encode()
    pq.write_table(table.set_column(0, "document", documents), path)
    sequences = {("a", 1): np.array([5]), ("b", 0): np.array([7])}
    assert sampling.tags_of(path, sequences) == {("a", 1): ["DET"], ("b", 0): ["ADJ"]}

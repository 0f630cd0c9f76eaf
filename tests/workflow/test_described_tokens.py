"""The properties of each token and its predictions, through the real workflow."""

import numpy as np
import pyarrow.parquet as pq
import torch
from transformers import AutoModelForCausalLM

RESULTS = "results/tiny/small"
KEYS = ["document", "window", "position", "token_id"]


def rows(project, path):
    return pq.read_table(project.folder / RESULTS / path).to_pandas()


def test_properties_and_predictions_have_the_rows_of_the_norms(finished):
    finished.write_config(extraction={"surprisal": True}, tokens={"max_length": 40})
    finished.run(f"{RESULTS}/attention/figures/norms_by_surprisal.png")
    norms = rows(finished, "attention/norms/0000.parquet")
    kinds = rows(finished, "token_properties/0000.parquet")
    said = rows(finished, "surprisal/0000.parquet")
    for table in (kinds, said):
        assert table[KEYS].astype(str).equals(norms[KEYS].astype(str))

    corpus = pq.read_table(finished.folder / "results/corpora/small.parquet").to_pandas()
    for document, of_document in kinds.groupby("document", sort=False, observed=True):
        (text,) = corpus.loc[corpus["document"] == document, "text"]
        assert "".join(of_document["text"]) == text
        assert of_document["byte_end"].max() == len(text.encode())
        # These texts are words between single spaces.
        assert of_document["word"].max() + 1 == len(text.split())
        assert of_document.loc[of_document["word_initial"], "word"].is_unique
    assert set(kinds["upos"]) == {"none"}
    assert not kinds["zipf_known"].any()
    assert norms["window"].max() > 0
    shares = kinds["token_id"].map(kinds["token_id"].value_counts(normalize=True))
    np.testing.assert_allclose(kinds["log_frequency"], np.log(shares), rtol=1e-12)

    # Summed over a window, surprisal is the loss that transformers gives, times its tokens.
    model = AutoModelForCausalLM.from_pretrained(finished.folder / "data/models/tiny").eval()
    for _, window in said.groupby(["document", "window"], sort=False, observed=True):
        assert window["surprisal"].isna().tolist() == [True] + [False] * (len(window) - 1)
        ids = torch.tensor(window["token_id"].to_numpy())[None].long()
        if ids.shape[1] > 1:
            with torch.inference_mode():
                loss = float(model(ids, labels=ids).loss)
            np.testing.assert_allclose(
                window["surprisal"].sum(), loss * (len(window) - 1), rtol=1e-5
            )

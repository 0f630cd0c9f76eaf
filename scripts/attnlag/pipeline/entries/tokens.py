"""Outputs about models, corpora and tokens: everything that is measured, before any regression."""

from attnlag.corpus.catalogue import of_file
from attnlag.pipeline.entries.output import (
    HEADS_FOLDER,
    KEYS,
    LAYERS,
    SITE_FOLDER,
    Output,
    of_vectors,
    vectors_of_random_weights,
    with_centred,
    with_geometry,
    with_heads,
    with_random_centred,
    with_random_geometry,
    with_random_heads,
    with_random_weights,
    with_surprisal,
)


def columns_of(file: str) -> dict[str, tuple[str, str]]:
    """Return the columns of a file of properties of tokens, with their units and meanings."""
    return {name: (entry.unit, entry.meaning) for name, entry in of_file(file).items()}


STREAM_UNITS = "units of the residual stream"

DISTANCES = {
    "layer": ("", "layer of the model, counted from 0"),
    "distance": ("tokens", "distance between the tokens, 1 to 16"),
    "documents": ("", "documents that have such a pair"),
    "pairs": ("", "Σ n over documents, n the pairs of a document"),
    "pairs_squared": ("", "Σ n²"),
    "total": ("", "Σ S, S the sum of the cosines of a document"),
    "total_squared": ("", "Σ S²"),
    "total_pairs": ("", "Σ S n"),
    "random_pairs": ("", "pairs of tokens of different documents"),
    "random_total": ("", "sum of their cosines"),
}

GEOMETRY = {
    **KEYS,
    f"{LAYERS}.parallel": (STREAM_UNITS, "part of the adjustment along the block's input; signed"),
    f"{LAYERS}.orthogonal": (STREAM_UNITS, "size of the part at right angles to it"),
    f"{LAYERS}.log_growth": ("", "log of the norm of input + adjustment over that of the input"),
    f"{LAYERS}.angle": ("radians", "angle between the input and input + adjustment"),
    f"{LAYERS}.cosine_previous": (
        "",
        "cosine with the adjustment to the token before; NaN of a first token",
    ),
}

SUMS = {
    "layer": ("", "layer of the model, counted from 0"),
    "tokens": ("", "tokens that are summed over"),
    "sum": ("units of the residual stream", "the sum, as long as the model is wide"),
}
CENTRED = {
    **KEYS,
    f"{LAYERS}.cosine_previous_centred": (
        "",
        "the same after the layer's mean vector, over tokens that are not first ones, is taken "
        "from both",
    ),
}

OUTPUTS = [
    Output(
        "data/models/{model}/source.json",
        "the source of the model and the contents of its folder: the model in the form that "
        "transformers reads (`config.json`, safetensors, tokenizer)",
        {
            "name": ("", "name of the model in the configuration"),
            "source": ("", "kind of source: `hub`, `path`, `package` or `random`"),
            "revision": ("", "the commit or version that was found"),
            "digest": ("", "SHA-256 over all files of the model"),
            "files": ("", "size in bytes and SHA-256 of each file"),
            "layers": ("", "number of layers"),
            "width": ("", "width of the residual stream"),
            "context_length": (
                "tokens",
                "longest sequence that the model is made for; null: no limit",
            ),
            "vocabulary": ("", "number of tokens in the embedding"),
            "parameters": ("", "number of parameters"),
            "tokenizer_is_in_json": (
                "",
                "whether tokenizer.json alone gives the tokens that transformers gives",
            ),
            "model_type": ("", "the model's type in transformers"),
            "license": ("", "the licence that the source states; null: none"),
            "repository": ("", "the repository; `hub` only"),
            "package": ("", "the package; `package` only"),
            "version": ("", "its version; `package` only"),
            "file": ("", "the file inside the package; `package` only"),
            "quantization": ("", "the type that most weights are stored in; quantised GGUF only"),
            "bits": ("bits", "bits of a weight of this type; quantised GGUF only"),
            "parts": ("", "packages, versions and files of its further parts, if it has any"),
            "of": ("", "the model whose twin it is; `random` only"),
            "seed": ("", "seed of the weights; `random` only"),
        },
    ),
    Output(
        "data/models/{model}/architecture.txt",
        "the model's number of parameters and its tree of modules",
    ),
    Output(
        "results/corpora/{corpus}.parquet",
        "the documents, one per row, in the order of the files",
        {
            "document": ("", "id of the document, unique in the corpus"),
            "text": ("", "its text"),
            "group": ("", "its genre or source"),
        },
    ),
    Output(
        "results/{model}/{corpus}/tokens/{shard}.parquet",
        "the sequences that the model sees, one per row: a document, or a window of a long one",
        {
            "document": KEYS["document"],
            "window": KEYS["window"],
            "first_position": ("tokens", "where the window begins in the document's tokens"),
            "input_ids": ("", "the tokens' numbers in the vocabulary"),
            "char_start": ("characters", "where each token begins in the document's text"),
            "char_end": ("characters", "where it ends"),
            "special_in_text": ("", "places in the text that look like control tokens"),
        },
    ),
    Output(
        "results/{model}/{corpus}/token_summary.html",
        "the counts of `token_summary.csv` as a page to sort and filter",
        wanted=True,
    ),
    Output(
        "results/{model}/{corpus}/token_summary.csv",
        "number of characters per token: a row for the corpus, each group and each document",
        {
            "level": ("", "`corpus`, `group` or `document`"),
            "name": ("", "`all`, the group, or the document's id"),
            "group": ("", "the group"),
            "documents": ("", "number of documents"),
            "sequences": ("", "number of sequences"),
            "characters": ("characters", "characters of the tokens, without truncated text"),
            "tokens": ("tokens", "tokens of the text, without begin-of-sequence tokens"),
            "special_in_text": ("", "places in the text that look like control tokens"),
            "characters_per_token": ("characters per token", "the ratio of the two"),
        },
    ),
    Output(
        "results/{model}/{corpus}/token_counts.parquet",
        "how often each token occurs in the corpus",
        {
            "token_id": KEYS["token_id"],
            "count": ("", "how often it occurs"),
        },
    ),
    Output(
        "results/{model}/{corpus}/token_properties/{shard}.parquet",
        "properties of each token: a row per token, in the order of the norms",
        {
            **KEYS,
            **columns_of("token_properties"),
        },
        wanted=True,
    ),
    Output(
        "results/{model}/{corpus}/{site}/activations/{shard}.parquet",
        "the adjustments, a row per token; with `keep: vectors` only",
        {
            **KEYS,
            LAYERS: (
                "units of the residual stream",
                "the vector that the sublayer of this layer adds, as long as the model is wide",
            ),
        },
        when=of_vectors,
    ),
    Output(
        "results/{model}/{corpus}/{site}/norms/{shard}.parquet",
        "norms of the adjustments, a row per token",
        {
            **KEYS,
            LAYERS: ("units of the residual stream", "L2 norm of the vector; not its logarithm"),
        },
    ),
    Output(
        "results/{model}/{corpus}/stream/{shard}.parquet",
        "norms of the residual stream that each block receives, a row per token, in the order of "
        "the norms",
        {
            **KEYS,
            LAYERS: ("units of the residual stream", "L2 norm of the block's input"),
        },
    ),
    Output(
        "results/{model}/{corpus}/surprisal/{shard}.parquet",
        "surprisal and entropies of the model's predictions, a row per token, in the order of the "
        "norms; only with `surprisal: true`",
        {
            **KEYS,
            **columns_of("surprisal"),
        },
        when=with_surprisal,
        wanted=True,
    ),
    Output(
        f"{SITE_FOLDER}/geometry/{{shard}}.parquet",
        "directions of adjustments, a row per token, in the order of the norms. The metadata "
        "`attnlag.random_pairs` have the means over random pairs of tokens",
        GEOMETRY,
        when=with_geometry,
    ),
    Output(
        f"{SITE_FOLDER}/geometry/random_weights.parquet",
        "the same for the architecture with random weights",
        GEOMETRY,
        when=with_random_geometry,
    ),
    Output(
        f"{SITE_FOLDER}/sums/{{shard}}.parquet",
        "sums of the vectors over all tokens but first ones, for their means: a row per layer",
        SUMS,
        when=of_vectors,
    ),
    Output(
        f"{SITE_FOLDER}/sums/all.parquet",
        "the same over all shards",
        SUMS,
        when=with_centred,
    ),
    Output(
        f"{SITE_FOLDER}/centred/{{shard}}.parquet",
        "cosines of neighbours without the layer's mean vector, a row per token",
        CENTRED,
        when=with_centred,
    ),
    Output(
        f"{SITE_FOLDER}/centred/random_weights.parquet",
        "the same for the architecture with random weights",
        CENTRED,
        when=with_random_centred,
    ),
    Output(
        f"{SITE_FOLDER}/distances/{{shard}}.parquet",
        "sums of these cosines over the documents of a shard: a row per layer and distance",
        DISTANCES,
        when=with_centred,
    ),
    Output(
        f"{SITE_FOLDER}/distances/random_weights.parquet",
        "the same for the architecture with random weights",
        DISTANCES,
        when=with_random_centred,
    ),
    Output(
        f"{HEADS_FOLDER}/{{shard}}.parquet",
        "norms of the vectors of attention heads, a row per token; without layers where a model's "
        "heads are not found. The metadata `attnlag.heads` state the error of their sum, or why "
        "there are none",
        {**KEYS, LAYERS: (STREAM_UNITS, "norm of what each head adds, in the order of the heads")},
        when=with_heads,
    ),
    Output(
        f"{HEADS_FOLDER}/random_weights.parquet",
        "the same for the architecture with random weights",
        {**KEYS, LAYERS: (STREAM_UNITS, "norm of what each head adds, in the order of the heads")},
        when=with_random_heads,
    ),
    Output(
        "results/{model}/{corpus}/attention/sinks/{shard}.parquet",
        "attention to the first token, a row for each of the first 64 tokens of 16 sequences; "
        "without layers where a model gives no weights of attention. The metadata `attnlag.sinks` "
        "state how many tokens there are, or why there are none",
        {**KEYS, LAYERS: ("", "weight of the sequence's first token in each head")},
        when=with_heads,
    ),
    Output(
        "results/{model}/{corpus}/{site}/random_weights.parquet",
        "norms of the same architecture with random weights, over the first documents of each "
        "group: a row per token",
        {**KEYS, LAYERS: ("units of the residual stream", "L2 norm of the vector")},
        when=with_random_weights,
    ),
    Output(
        "results/{model}/{corpus}/{site}/random_weights_{draw}.parquet",
        "the same for a further draw of the weights, over the first of these documents",
        {**KEYS, LAYERS: ("units of the residual stream", "L2 norm of the vector")},
    ),
    Output(
        "results/{model}/{corpus}/{site}/random_weights_vectors.parquet",
        "adjustment vectors of the same tokens",
        {**KEYS, LAYERS: ("", "the adjustment vector of this layer with random weights")},
        when=vectors_of_random_weights,
    ),
    Output(
        "results/{model}/{corpus}/stream/random_weights.parquet",
        "norms of the residual stream that each of its blocks receives: a row per token",
        {**KEYS, LAYERS: ("units of the residual stream", "L2 norm of the block's input")},
        when=with_random_weights,
    ),
    Output(
        "results/{model}/{corpus}/stream/random_weights_{draw}.parquet",
        "the same for a further draw of the weights",
        {**KEYS, LAYERS: ("units of the residual stream", "L2 norm of the block's input")},
    ),
]

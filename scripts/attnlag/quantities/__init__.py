"""What is measured of each token, from the norms of adjustments to what these say.

A norm comes out of a model in five steps: the program ``extract_activations`` loads the model and
names the files; ``model.decoder`` finds the modules whose outputs are verified to be adjustments;
``model.hooks`` taps them in a pass; ``extraction`` runs the passes; and ``norms`` has what it makes
of a layer's vectors. By default a pass stores these, and ``compute_norms`` makes their norms.
"""

"""What is measured of each token, from the norms of adjustments to what these say.

Vectors come out of a model in five steps. The program ``extract_activations`` loads the model and
names the files; ``model.decoder`` tries layouts and takes the
modules whose outputs are proved to be adjustments; ``model.hooks`` taps them in a pass;
``computation`` has what a pass gives of a layer (`Seen`), the classes that reduce it (`Norms` and
others) and the rows of files; ``extraction`` runs the passes. By default a pass stores vectors, and
the program ``compute_norms`` reads them; where only norms are kept, `Norms` takes them in the pass.
``norms.l2_norms`` makes the number in both, but for passes on a GPU.

``catalogue`` lists sites and quantities: an entry names the class that computes it, and heads,
``geometry`` and ``surprisal`` have a module each. ``passes`` chooses which sequences run together,
and ``proofs`` says what must hold before anything is stored; neither makes a number. ``tracing``
runs single sequences, for ``sources`` and ``readout``. What else is measured comes from files.
"""

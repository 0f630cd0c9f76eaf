"""What is measured of each token, from the norms of adjustments to what these say.

A norm gets from a model into its file by these modules, in this order:

1. The program ``extract_activations`` names the files of a shard and calls the steps below.
2. ``model.loading`` loads the model.
3. ``model.decoder`` finds the modules whose outputs are checked to be adjustments.
4. ``extraction`` batches the sequences, runs the passes, and writes the files.
5. ``layer_pass`` gives what a pass shows of a layer as one record, a `LayerPass`.
6. ``model.hooks`` taps the modules during the pass.
7. ``norms`` has the norm of a vector. By default the pass stores vectors, of which the program
   ``compute_norms`` makes norms by the same function.
"""

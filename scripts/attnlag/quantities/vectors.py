"""The vectors that sublayers add to the stream."""

from typing import Any

from attnlag.quantities.computation import Computation, Seen


class Vectors(Computation):
    """The vectors of a site, in float32."""

    of_width = True

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.shape = (arguments[-1].width,)

    def layer(self, seen: Seen) -> Any:
        """Return the vectors of a layer."""
        return seen.site(self.site).float()

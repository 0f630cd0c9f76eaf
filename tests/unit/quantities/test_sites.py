"""The catalogue of sites."""

from attnlag.quantities import catalogue
from attnlag.quantities.catalogue import Site


def test_a_site_can_be_changed_if_it_is_a_part_of_a_block_or_the_sum_of_its_parts(monkeypatch):
    for site in (
        Site("difference", ("attention", "mlp"), "less", "the difference", lambda a, b: a - b),
        Site("twice", ("mlp",), "twice", "the double", lambda a: 2 * a),
    ):
        monkeypatch.setitem(catalogue.SITES, site.name, site)
    names = ["block", "difference", "twice", "mlp"]
    assert catalogue.changeable(names) == ["block", "twice", "mlp"]

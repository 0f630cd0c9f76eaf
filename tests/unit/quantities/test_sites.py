"""The catalogue of sites."""

from attnlag.quantities import sites


def test_a_site_can_be_changed_if_it_is_a_part_of_a_block_or_the_sum_of_its_parts(monkeypatch):
    both = ("attention", "mlp")
    monkeypatch.setitem(
        sites.SITES,
        "difference",
        sites.Site("difference", both, "difference", "the one less the other", lambda a, b: a - b),
    )
    monkeypatch.setitem(
        sites.SITES, "twice", sites.Site("twice", ("mlp",), "twice", "the double", lambda a: 2 * a)
    )
    names = ["block", "difference", "twice", "mlp"]
    assert sites.changeable(names) == ["block", "twice", "mlp"]

# What another configuration has left: asked by name, these list it and remove it.

from attnlag.pipeline import unasked


rule list_unasked:
    log:
        "logs/list_unasked.log",
    localrule: True
    run:
        unasked.report(map(str, unasked.unasked_places(CONFIG)), Path(log[0]))


rule remove_unasked:
    log:
        "logs/remove_unasked.log",
    localrule: True
    run:
        unasked.report((f"{place}: removed" for place in unasked.remove(CONFIG)), Path(log[0]))

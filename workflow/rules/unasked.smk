# What another configuration has left: asked by name, these list it and remove it.

from attnlag.pipeline import unasked


rule list_unasked:
    log:
        "logs/list_unasked.log",
    localrule: True
    conda:
        "../envs/attnlag.yaml"
    params:
        places=lambda wildcards: [*map(str, unasked.unasked_places(CONFIG))],
    shell:
        'for place in {params.places:q}; do echo "$place"; done | tee {log:q}'


rule remove_unasked:
    log:
        "logs/remove_unasked.log",
    localrule: True
    conda:
        "../envs/attnlag.yaml"
    params:
        places=lambda wildcards: [*map(str, unasked.unasked_places(CONFIG))],
    shell:
        "for place in {params.places:q}; do "
        'rm -r -- "$place"; echo "$place: removed"; done | tee {log:q}'

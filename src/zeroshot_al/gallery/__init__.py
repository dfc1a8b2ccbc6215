"""What the annotators get: the first picks as files for their tools, and a page to look at them.

`annotation` describes the picks, `exports` writes them in each tool's format. `covering_radii`,
`curve` and `pool_map` measure what the picks cover, `overview` gathers it, and `page` renders
gallery.html out of `templates/`, with coordinates from `charts`.
"""

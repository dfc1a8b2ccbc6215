"""What the annotators get: pages to label the picks in and to look at them, and files for tools.

`annotation` describes the picks, with the `guesses` of a model, and `exports` writes them in each
tool's format. `label_page` writes label.html. `covering_radii`, `curve` and `pool_map` measure what
the picks cover, `overview` gathers it, and `page` renders gallery.html, with coordinates from
`charts`. Pages are rendered out of `templates/`, with images by `thumbnails`.
"""

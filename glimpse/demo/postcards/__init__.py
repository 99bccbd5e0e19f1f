"""A small illustrated world for the demo: postcards with true captions.

`scenes` decides what a card shows and writes the cards down; `card` paints one from `scenery` and `subjects`, which
draw with a `pen`. Every picture is drawn from polygons, nothing is loaded; nothing here trains, indexes or serves.
"""

"""Sources as people have them: folders of images, tables, shards; what is taken of them, and what is left out."""

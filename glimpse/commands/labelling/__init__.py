"""Commands for labelling: images, and the labels to label them with."""

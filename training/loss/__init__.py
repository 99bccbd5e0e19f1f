"""What a training makes small: the losses, one of them over a batch, and its forces for who wants to see them."""

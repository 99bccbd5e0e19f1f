"""Fine-tuning a dual encoder on image-text pairs. Knows no index and no server."""

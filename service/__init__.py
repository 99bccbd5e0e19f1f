"""The REST service over an encoder and its collections. Never imports the trainer."""

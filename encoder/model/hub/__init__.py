"""Models and their text towers from a Hugging Face hub, and the words for why there are none. Runs no model."""

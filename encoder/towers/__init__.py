"""A model's two towers as ONNX files: made by torch once, run without it."""

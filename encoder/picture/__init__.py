"""An image file's bytes to a picture as a person sees it; `sandbox` is the door. Knows no model, imports no torch."""

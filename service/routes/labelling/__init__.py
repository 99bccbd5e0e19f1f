"""Routes of labelling: images against labels, label sets, and labelling runs."""

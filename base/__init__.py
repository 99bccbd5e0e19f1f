"""What every room stands on: errors, whole files, walking, reading ahead, charts, pages. Imports nothing of ours."""

"""Finding from the shell: what is asked, its answer, and what follows one. Parses no options."""

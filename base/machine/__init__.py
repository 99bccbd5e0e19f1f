"""What this machine has left for this process: processors and memory, as its control groups bound them."""

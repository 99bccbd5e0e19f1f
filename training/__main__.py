"""`torchrun --nproc-per-node N -m training ...`: the command `glimpse train ...`, in each of N processes."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    runpy.run_module("glimpse", run_name="__main__", alter_sys=False)  # by name: training imports no command line

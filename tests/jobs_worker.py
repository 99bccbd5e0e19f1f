"""The service that test_service_jobs_restart.py kills: a tiny model that takes its time.

python tests/jobs_worker.py DATA ROOTS PORT SECONDS_AN_IMAGE
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from service_world import settings_for, tiny_encoder

from service import app

if __name__ == "__main__":
    data, roots, port, seconds = sys.argv[1:]
    encoder = tiny_encoder(Path(data))
    encoder.batch_size = 4
    encoder._hold = lambda: time.sleep(float(seconds))
    made = app.create_app
    app.create_app = lambda settings: made(settings, encoder)
    app.serve(settings_for(Path(data), job_roots=roots, port=int(port), log_format="json"))

"""`glimpse` and `python -m glimpse`: runs the command line and turns errors into one line."""

from __future__ import annotations

import sys

from encoder.errors import GlimpseError, InputError


def main() -> None:
    """Run a command. Exits with 0 done, 1 failed, 2 wrong input, 130 interrupted."""
    from glimpse.cli import app

    try:
        app()
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted", 130))
    except GlimpseError as error:
        sys.exit(_fail(str(error), 2 if isinstance(error, InputError) else 1))
    except BrokenPipeError:  # `glimpse models | head`
        sys.stderr.close()
        sys.exit(1)


def _fail(message: str, code: int) -> int:
    print(f"glimpse: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
